import { useState } from "preact/hooks";
import { ApiError, post } from "../api.ts";
import { Chart } from "../chart.tsx";
import { CopyLink, Empty, Panel, Problem, SaveJson } from "../components.tsx";
import { TIERS, ordered, type Meta } from "../model.ts";
import { format, type View } from "../router.ts";
import { useFrame } from "../store.ts";
import { Compared, type Run } from "./runs.tsx";

type Answer =
  | { kind: "computed"; at: number[]; resistance: (number | null)[][]; refused: (number | null)[][]; assumed: string }
  | { kind: "simulated"; runs: Run[]; assumed: string };

const NAMES: Record<string, (value: string) => string> = {
  gamma: (value) => `γ = ${value}`,
  latency: (value) => `Promise of ${value} s`,
  workers: (value) => `Pool of ${value}`,
  scale: (value) => `${value} times the traffic`,
  tier: (value) => `Every request ${value}`,
};

export function WhatIfPage({ view, meta }: { view: View; meta: Meta | null }) {
  const frame = useFrame();
  const [answer, setAnswer] = useState<Answer | null>(null);
  const [error, fail] = useState("");
  const [busy, wait] = useState(false);
  const [asked, setAsked] = useState("changed");
  if (frame === null) return <p class="loading">Waiting for the first numbers…</p>;
  const ids = ordered(frame.routes, { search: "", filter: "all", sort: "name" });
  const route = view.route || ordered(frame.routes, { search: "", filter: "all", sort: "worst" })[0] || "";
  const row = frame.routes[route];
  const lab = meta?.lab === true;

  const ask = (event: SubmitEvent) => {
    event.preventDefault();
    const form = new FormData(event.currentTarget as HTMLFormElement);
    const kind = String(form.get("kind"));
    const value = form.get(kind) === null ? "" : String(form.get(kind)).trim();
    if (value === "") {
      fail("Give a value for what is to be changed.");
      return;
    }
    const mix = row === undefined ? undefined : Object.fromEntries(
      Object.entries(row.tiers).map(([name, count]) => [name, count.admitted + count.shed]));
    wait(true);
    fail("");
    setAsked(NAMES[kind]?.(value) ?? value);
    post<Answer>("api/whatif", {
      route, seconds: Number(form.get("seconds")), mix, [kind]: kind === "tier" ? value : Number(value),
    })
      .then(setAnswer)
      .catch((reason: ApiError) => { setAnswer(null); fail(reason.message); })
      .finally(() => wait(false));
  };

  return (
    <>
      <div class="headline">
        <h1>What if…</h1>
        <div class="tools"><CopyLink />{answer !== null && <SaveJson name="atrion-what-if" data={() => answer} />}</div>
      </div>
      <p class="lead">The last minutes of a route again, with one thing changed: what would have been refused?</p>
      {ids.length === 0 ? <Empty title="No route has been asked yet"><p>There is nothing to play again.</p></Empty> : (
        <Panel title="Question">
          <form class="question" onSubmit={ask}>
            <label>Route
              <select value={route} onChange={(event) => { setAnswer(null); location.replace(format("whatif", event.currentTarget.value)); }}>
                {ids.map((id) => <option key={id} value={id}>{id}</option>)}
              </select>
            </label>
            <label>Of the last
              <select name="seconds" defaultValue="120">
                <option value="60">minute</option><option value="120">2 minutes</option><option value="300">5 minutes</option><option value="900">15 minutes</option>
              </select>
            </label>
            <fieldset>
              <legend>Change</legend>
              <Option name="gamma" label="γ" checked={!lab}><input name="gamma" type="number" min="0" max="1" step="0.05" defaultValue="0.8" aria-label="Value of γ" /></Option>
              <Option name="latency" label="promised latency, s" disabled={!lab}><input name="latency" type="number" min="0.001" step="any" defaultValue={String(row?.slo.latency ?? 0.5)} aria-label="Value of the promised latency" /></Option>
              <Option name="workers" label="pool, calls at once" disabled={!lab}><input name="workers" type="number" min="1" step="1" defaultValue="20" aria-label="Size of the pool" /></Option>
              <Option name="scale" label="traffic, times" checked={lab} disabled={!lab}><input name="scale" type="number" min="0.01" step="any" defaultValue="2" aria-label="Factor on the traffic" /></Option>
              <Option name="tier" label="every request is" disabled={!lab}>
                <select name="tier" aria-label="Tier">{[...TIERS].reverse().map((tier) => <option key={tier.name} value={tier.name}>{tier.name}</option>)}</select>
              </Option>
            </fieldset>
            <button class="primary" type="submit" disabled={busy}>{busy ? "Playing…" : "Play it again"}</button>
          </form>
          {!lab && <p class="hint">All but γ is played in the lab, which is not installed here: <code>pip install "atrion-studio[lab]"</code></p>}
        </Panel>
      )}
      {error !== "" && <Problem text={error} />}
      <div role="status">
        {answer !== null && <p class="lead">{answer.assumed}</p>}
      </div>
      {answer?.kind === "simulated" && <Compared runs={answer.runs} names={["As it was", asked]} />}
      {answer?.kind === "computed" && (
        <div class="columns">
          <Panel><Chart title="Resistance" unit="Ω" at={answer.at} bands top={70}
            series={[{ label: "as it was", colour: "muted", values: answer.resistance[0] ?? [], dashed: true }, { label: asked, colour: "accent", values: answer.resistance[1] ?? [] }]} /></Panel>
          <Panel><Chart title="Refused" unit="% of requests" at={answer.at} top={10}
            series={[
              { label: "as it was", colour: "muted", values: (answer.refused[0] ?? []).map((share) => (share === null ? null : 100 * share)), dashed: true },
              { label: asked, colour: "red", values: (answer.refused[1] ?? []).map((share) => (share === null ? null : 100 * share)) },
            ]} /></Panel>
        </div>
      )}
    </>
  );
}

function Option({ name, label, checked = false, disabled = false, children }: {
  name: string; label: string; checked?: boolean; disabled?: boolean; children: preact.ComponentChildren;
}) {
  return (
    <div class="option">
      <label><input type="radio" name="kind" value={name} defaultChecked={checked} disabled={disabled} /> {label}</label>
      {children}
    </div>
  );
}
