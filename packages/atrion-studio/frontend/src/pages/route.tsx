import { useEffect, useMemo, useState } from "preact/hooks";
import { ApiError, get, post } from "../api.ts";
import { Chart } from "../chart.tsx";
import { BandBar, CopyLink, Empty, Panel, Problem, SaveJson, Scroll, StateBadge, Tile } from "../components.tsx";
import {
  PARTS, TIERS, clears, clock, number, rate, seconds, split, stateOf,
  type Frame, type History, type Meta, type Row,
} from "../model.ts";
import { format, withOptions, type View } from "../router.ts";
import { store, useFrame } from "../store.ts";

export const RANGES: [string, string][] = [
  ["60", "1 min"],
  ["300", "5 min"],
  ["1800", "30 min"],
  ["7200", "2 h"],
];

/** The past of a route, fetched once and then carried on with the frames that come. */
export function useHistory(route: string, range: number): { history: History | null; error: string } {
  const [history, set] = useState<History | null>(null);
  const [error, fail] = useState("");
  useEffect(() => {
    let gone = false;
    set(null);
    const load = () =>
      get<History>("api/history", { route, seconds: range })
        .then((found) => { if (!gone) { set(found); fail(""); } })
        .catch((reason: ApiError) => { if (!gone) fail(reason.message); });
    void load();
    const timer = setInterval(() => {
      if (store.status === "live" && !document.hidden) void load();
    }, range <= 300 ? 1000 : 5000);
    return () => {
      gone = true;
      clearInterval(timer);
    };
  }, [route, range]);
  return { history, error };
}

export function RoutePage({ view, meta }: { view: View; meta: Meta | null }) {
  const frame = useFrame();
  const range = Number(view.options["range"] ?? 300);
  const { history, error } = useHistory(view.route, range);
  if (frame === null) return <p class="loading">Waiting for the first numbers…</p>;
  const row = frame.routes[view.route];
  if (row === undefined) {
    return (
      <Empty title="There is no such route now">
        <p><code>{view.route}</code> has not been asked since the process began, or was evicted.</p>
        <p><a href={format("overview")}>All routes</a></p>
      </Empty>
    );
  }
  return (
    <>
      <p class="crumb"><a href={format("overview")}>‹ All routes</a></p>
      <div class="headline">
        <h1>{view.route}</h1>
        <StateBadge state={stateOf(row)} />
        <div class="tools">
          <a class="button quiet" href={format("whatif", view.route)}>What if…</a>
          <CopyLink />
          <SaveJson name="atrion-route" data={() => ({ at: frame.at, route: view.route, now: row, history })} />
        </div>
      </div>
      <Why row={row} />
      <div class="tiles">
        <Tile label="Resistance" value={`${number(row.resistance, 1)} Ω`} note={row.reason?.replace("_", " ") ?? "nothing raises it"} />
        <Tile label="Admitted" value={rate(row.rates.admitted)} note={`${number(row.admitted)} so far`} />
        <Tile
          label={row.enforced ? "Refused" : "Would be refused"}
          value={rate(row.rates.shed)}
          note={`${number(row.enforced ? row.shed : row.would_shed)} so far`}
          {...(row.rates.shed > 0 ? { tone: "refusing" as const } : {})}
        />
        <Tile label="In flight" value={number(row.in_flight)} note={`limit ${number(row.limit)} of pool “${row.pool}”`} />
        <Tile label="Latency" value={row.latency > 0 ? seconds(row.latency) : "–"} note={row.slo.latency === null ? "nothing promised" : `promised ${seconds(row.slo.latency)}`} />
        <Tile label="Normal traffic" value={row.clears_in === 0 ? "Flows" : "Waits"} note={row.clears_in === 0 ? "now" : clears(row)} />
      </div>
      <div class="filters">
        <div class="choice" role="group" aria-label="Range">
          {RANGES.map(([value, label]) => (
            <button type="button" key={value} aria-pressed={String(range) === value} onClick={() => location.replace(withOptions(view, { range: value }))}>
              {label}
            </button>
          ))}
        </div>
      </div>
      {error !== "" && <Problem text={error} />}
      {history !== null && <Charts history={history} />}
      <div class="columns">
        <Decisions row={row} />
        <Panel title="This node and the cluster"><NodeAndCluster row={row} frame={frame} /></Panel>
      </div>
      {meta?.changes === true && <Change route={view.route} row={row} />}
    </>
  );
}

function Why({ row }: { row: Row }) {
  return (
    <section class={`why ${stateOf(row)}`} aria-live="polite">
      <p>{row.why ?? "Every tier flows; nothing is refused."}</p>
      {row.since !== null && <p class="muted">Refusing since {clock(row.since)}.</p>}
      <BandBar row={row} tall />
    </section>
  );
}

function Charts({ history }: { history: History }) {
  const columns = history.columns;
  const column = (name: string) => columns[name] ?? [];
  const parts = useMemo(
    () => PARTS.map((part) => ({ label: part.label, colour: `part-${part.name}`, values: column(`part_${part.name}`) })),
    [history],
  );
  if (history.at.length < 2) {
    return (
      <Empty title="No past yet">
        <p>The charts begin with the first requests; a few seconds will do.</p>
      </Empty>
    );
  }
  return (
    <div class="charts">
      <Panel class="wide">
        <Chart title="What the resistance is made of" unit="Ω" at={history.at} series={parts} stacked bands top={70} height={280} transitions={history.transitions} />
      </Panel>
      <Panel>
        <Chart
          title="Throughput" unit="requests per second" at={history.at} transitions={history.transitions}
          series={[
            { label: "admitted", colour: "green", values: column("admitted") },
            { label: "refused", colour: "red", values: column("shed"), dashed: true },
          ]}
        />
      </Panel>
      <Panel>
        <Chart
          title="Calls in flight" unit="of this route" at={history.at}
          series={[
            { label: "in flight", colour: "accent", values: column("in_flight") },
            { label: "limit", colour: "muted", values: column("limit"), dashed: true },
          ]}
        />
      </Panel>
      <Panel>
        <Chart
          title="Mean latency" unit="ms" at={history.at}
          series={[{ label: "mean", colour: "blue", values: column("latency").map((value) => (value === null ? null : value * 1000)) }]}
        />
      </Panel>
      <Panel>
        <Chart
          title="Failures and what they leave" unit="Ω" at={history.at} transitions={history.transitions}
          series={[
            { label: "errors", colour: "part-errors", values: column("part_errors") },
            { label: "scar", colour: "part-scar", values: column("part_scar"), dashed: true },
          ]}
        />
      </Panel>
    </div>
  );
}

function Decisions({ row }: { row: Row }) {
  return (
    <Panel title="Decisions by tier">
      <Scroll label="Decisions by tier">
        <table>
          <thead>
            <tr><th scope="col">Tier</th><th scope="col">Voltage</th><th scope="col">Now</th><th scope="col" class="num">Admitted</th><th scope="col" class="num">Refused</th></tr>
          </thead>
          <tbody>
            {[...TIERS].reverse().map((tier) => {
              const whole = row.refused.includes(tier.name);
              const part = row.refused_in_part.includes(tier.name);
              const count = row.tiers[tier.name];
              return (
                <tr key={tier.name}>
                  <th scope="row">{tier.name}</th>
                  <td>{tier.from}–{tier.to} V</td>
                  <td class={whole || part ? "bad" : "good"}>{whole ? "✕ refused" : part ? "◐ in part" : "● flows"}</td>
                  <td class="num">{count === undefined ? "–" : number(split(count).flowed)}</td>
                  <td class="num">{count === undefined ? "–" : number(split(count).refused)}</td>
                </tr>
              );
            })}
          </tbody>
        </table>
      </Scroll>
      <p class="muted small">Counted since somebody first looked.</p>
    </Panel>
  );
}

function NodeAndCluster({ row, frame }: { row: Row; frame: Frame }) {
  const pull = row.parts.cluster;
  const others = row.gamma > 0 ? row.parts.scar + pull / row.gamma : null;
  const nodes = Object.entries(row.nodes ?? {});
  return (
    <>
      <dl class="facts">
        <div><dt>Own scar</dt><dd>{number(row.parts.scar, 1)} Ω</dd></div>
        <div><dt>The others’ scar</dt><dd>{others === null || Math.abs(pull) < 0.005 ? "no other opinion" : `${number(others, 1)} Ω`}</dd></div>
        <div><dt>γ, their share</dt><dd>{row.gamma}</dd></div>
        <div><dt>Blended</dt><dd>{number(row.parts.scar + pull, 1)} Ω</dd></div>
        <div><dt>Pool</dt><dd>{row.pool} <span class="muted">({row.pool_reason})</span></dd></div>
        <div><dt>Mode</dt><dd>{row.enforced ? "enforced" : "shadow: everything is let through"}</dd></div>
      </dl>
      {nodes.length > 1 && (
        <Scroll label="Nodes">
          <table>
            <thead><tr><th scope="col">Node</th><th scope="col">Mode</th><th scope="col" class="num">Resistance</th><th scope="col" class="num">Scar</th><th scope="col" class="num">In flight</th></tr></thead>
            <tbody>
              {nodes.map(([name, each]) => (
                <tr key={name}>
                  <th scope="row">{name}</th>
                  <td>{each.mode.replace("_", " ")}</td>
                  <td class="num">{number(each.resistance, 1)} Ω</td>
                  <td class="num">{number(each.scar, 1)} Ω</td>
                  <td class="num">{each.in_flight}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </Scroll>
      )}
      {frame.cluster.nodes.length <= 1 && <p class="muted small">There is no other node to compare with.</p>}
    </>
  );
}

function Change({ route, row }: { route: string; row: Row }) {
  const [said, say] = useState<{ text: string; bad: boolean } | null>(null);
  const change = (setting: string, value: unknown) =>
    post("api/changes", { route, setting, value })
      .then(() => say({ text: `${setting} was changed; the change is in the audit log.`, bad: false }))
      .catch((reason: ApiError) => say({ text: reason.message, bad: true }));
  const onSubmit = (setting: string) => (event: SubmitEvent) => {
    event.preventDefault();
    const text = String(new FormData(event.currentTarget as HTMLFormElement).get("value") ?? "").trim();
    void change(setting, text === "" ? null : Number(text));
  };
  return (
    <Panel title="Change">
      <div class="changes">
        <form onSubmit={onSubmit("gamma")}>
          <label>γ, 0 to 1 <input name="value" type="number" min="0" max="1" step="0.05" defaultValue={String(row.gamma)} /></label>
          <button type="submit">Set γ</button>
        </form>
        <form onSubmit={onSubmit("latency")}>
          <label>Promised latency, s <input name="value" type="number" min="0" step="any" defaultValue={row.slo.latency === null ? "" : String(row.slo.latency)} /></label>
          <button type="submit">Set promise</button>
        </form>
        <form onSubmit={onSubmit("error_rate")}>
          <label>Error rate, 0 to 1 <input name="value" type="number" min="0" max="1" step="any" defaultValue={String(row.slo.error_rate)} /></label>
          <button type="submit">Set error rate</button>
        </form>
        <div class="row-buttons">
          <button type="button" onClick={() => void change("enforce", !row.enforced)}>{row.enforced ? "Shadow mode: refuse nothing" : "Enforce: refuse again"}</button>
          <button type="button" class="danger" onClick={() => { if (confirm(`Forget what ${route} has learned?`)) void change("reset", null); }}>Reset what it has learned</button>
        </div>
      </div>
      <p role="status" class={said?.bad ? "bad" : "muted"}>{said?.text ?? "Every change leaves a line in the log atrion.studio.audit."}</p>
    </Panel>
  );
}
