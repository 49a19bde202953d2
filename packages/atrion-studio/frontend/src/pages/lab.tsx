import { useEffect, useState } from "preact/hooks";
import { ApiError, get, post } from "../api.ts";
import { CopyLink, Empty, Panel, Problem, SaveJson } from "../components.tsx";
import type { Meta } from "../model.ts";
import { withOptions, type View } from "../router.ts";
import { Compared, type Run } from "./runs.tsx";

interface Catalogue {
  scenarios: Record<string, string>;
  controllers: Record<string, string>;
}

const EXAMPLE = `name = "mine"
seconds = 60

[servers.api]
workers = 16
service = { law = "lognormal", mean = 0.05, sigma = 0.5 }

[[traffic]]
to = "api"
arrivals = { law = "profile", points = [[0, 160], [20, 960], [40, 160]] }
deadline = 0.5
`;

export function LabPage({ view, meta }: { view: View; meta: Meta | null }) {
  const [catalogue, set] = useState<Catalogue | null>(null);
  const [runs, setRuns] = useState<Run[] | null>(null);
  const [error, fail] = useState("");
  const [busy, wait] = useState(false);
  const [text, setText] = useState(EXAMPLE);
  const scenario = view.options["scenario"] ?? "flash-crowd";
  const left = view.options["a"] ?? "atrion";
  const right = view.options["b"] ?? "none";
  const seed = Number(view.options["seed"] ?? 1);
  const own = scenario === "own";
  useEffect(() => {
    get<Catalogue>("api/lab").then(set).catch((reason: ApiError) => fail(reason.message));
  }, []);
  if (meta !== null && !meta.lab) {
    return <Empty title="The lab is not installed here"><p><code>pip install "atrion-studio[lab]"</code> brings it, and with it over forty scenarios.</p></Empty>;
  }
  const change = (changes: Record<string, string | undefined>) => location.replace(withOptions(view, changes));
  const play = (event: SubmitEvent) => {
    event.preventDefault();
    wait(true);
    fail("");
    const what = own ? { toml: text } : { scenario };
    post<{ runs: Run[] }>("api/lab", { runs: [left, right].map((controller) => ({ ...what, controller, seed })) })
      .then((answer) => setRuns(answer.runs))
      .catch((reason: ApiError) => { setRuns(null); fail(reason.message); })
      .finally(() => wait(false));
  };
  const controllers = Object.entries(catalogue?.controllers ?? { atrion: "", none: "" });
  return (
    <>
      <div class="headline">
        <h1>Lab</h1>
        <div class="tools"><CopyLink />{runs !== null && <SaveJson name="atrion-lab" data={() => runs} />}</div>
      </div>
      <p class="lead">A scenario played on virtual time against the real engine, with two controllers side by side.</p>
      <Panel title="Experiment">
        <form class="question" onSubmit={play}>
          <label>Scenario
            <select value={scenario} onChange={(event) => change({ scenario: event.currentTarget.value })}>
              <option value="own">a text of my own</option>
              {Object.keys(catalogue?.scenarios ?? { [scenario]: "" }).map((name) => <option key={name} value={name}>{name}</option>)}
            </select>
          </label>
          {[["a", left, "Left"], ["b", right, "Right"]].map(([key = "", value = "", label = ""]) => (
            <label key={key}>{label}
              <select value={value} onChange={(event) => change({ [key]: event.currentTarget.value })}>
                {controllers.map(([name]) => <option key={name} value={name}>{name}</option>)}
              </select>
            </label>
          ))}
          <label>Seed <input type="number" min="0" step="1" value={seed} onInput={(event) => change({ seed: event.currentTarget.value })} /></label>
          <button class="primary" type="submit" disabled={busy}>{busy ? "Playing…" : "Play"}</button>
          {own && (
            <label class="full">TOML
              <textarea rows={14} spellcheck={false} value={text} onInput={(event) => setText(event.currentTarget.value)} />
            </label>
          )}
        </form>
        <p class="muted" role="status">{busy ? "Both runs are played, one after the other; a minute of virtual time takes about a second." : catalogue?.scenarios[scenario] ?? ""}</p>
      </Panel>
      {error !== "" && <Problem text={error} />}
      {runs !== null && <Compared runs={runs} names={runs.map((run, index) => (runs[0]?.controller === runs[1]?.controller ? `${run.controller} (${index === 0 ? "left" : "right"})` : run.controller))} />}
    </>
  );
}
