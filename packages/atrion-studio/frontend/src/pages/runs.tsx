// What a simulation came to: for What if and for the Lab.

import { Chart } from "../chart.tsx";
import { Panel, Scroll } from "../components.tsx";
import { number, seconds } from "../model.ts";

export interface Run {
  scenario: string;
  about: string;
  controller: string;
  seed: number;
  seconds: number;
  capacity: number;
  at: number[];
  series: Record<string, (number | null)[]>;
  summary: {
    goodput_per_capacity: number;
    offered_per_capacity: number;
    rejected_share: number;
    p50_seconds: number;
    p99_seconds: number;
    break_transitions: number;
    tiers: Record<string, { offered: number; success: number }>;
  };
}

export function Compared({ runs, names }: { runs: Run[]; names: string[] }) {
  const tiers = [...new Set(runs.flatMap((run) => Object.keys(run.summary.tiers)))].reverse();
  const most = Math.max(...runs.flatMap((run) => (run.series["offered"] ?? []).map((value) => value ?? 0)));
  const percent = (value: number | undefined) => (value === undefined ? "–" : `${number(100 * value, 1)}%`);
  const lines: [string, (run: Run) => string][] = [
    ["Answered in time, of the capacity", (run) => percent(run.summary.goodput_per_capacity)],
    ["Offered, of the capacity", (run) => percent(run.summary.offered_per_capacity)],
    ["Refused, of all attempts", (run) => percent(run.summary.rejected_share)],
    ["Latency, median", (run) => seconds(run.summary.p50_seconds)],
    ["Latency, 99th percentile", (run) => seconds(run.summary.p99_seconds)],
    ["Breaker opened", (run) => `${run.summary.break_transitions} times`],
  ];
  return (
    <>
      <Panel title="Side by side">
        <Scroll label="Measures">
          <table>
            <thead><tr><th scope="col">Measure</th>{names.map((name) => <th scope="col" class="num" key={name}>{name}</th>)}</tr></thead>
            <tbody>
              {lines.map(([label, show]) => (
                <tr key={label}><th scope="row">{label}</th>{runs.map((run, index) => <td class="num" key={index}>{show(run)}</td>)}</tr>
              ))}
              {tiers.map((tier) => (
                <tr key={tier}>
                  <th scope="row">{tier} in time</th>
                  {runs.map((run, index) => <td class="num" key={index}>{percent(run.summary.tiers[tier]?.success)}</td>)}
                </tr>
              ))}
            </tbody>
          </table>
        </Scroll>
      </Panel>
      <div class="columns">
        {runs.map((run, index) => (
          <Panel title={names[index] ?? run.controller} key={index}>
            <Chart
              title="Requests" unit="per second" at={run.at} relative top={most}
              series={[
                { label: "offered", colour: "muted", values: run.series["offered"] ?? [], dashed: true },
                { label: "in time", colour: "green", values: run.series["good"] ?? [] },
                { label: "late", colour: "amber", values: run.series["late"] ?? [] },
                { label: "refused", colour: "red", values: run.series["rejected"] ?? [] },
              ]}
            />
            {(run.series["resistance"] ?? []).some((value) => value !== null) && (
              <Chart title="Resistance" unit="Ω" at={run.at} relative bands top={70} height={160}
                series={[{ label: "resistance", colour: "accent", values: run.series["resistance"] ?? [] }]} />
            )}
          </Panel>
        ))}
      </div>
    </>
  );
}
