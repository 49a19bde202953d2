import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { ApiError, get } from "../api.ts";
import { Chart } from "../chart.tsx";
import { BandBar, CopyLink, Empty, Panel, Problem, SaveJson, Scroll } from "../components.tsx";
import { clock, number, rate, seconds, shifted, type History, type Meta, type Row } from "../model.ts";
import { format, withOptions, type View } from "../router.ts";
import { store, useFrame } from "../store.ts";

interface Then {
  resistance: number;
  mode: Row["mode"] | null;
  rates: { admitted: number | null; shed: number | null };
  in_flight: number | null;
}

interface Moment {
  at: number | null;
  routes: Record<string, Then>;
  /** It comes from the store, which keeps resistances and scars alone. */
  stored?: boolean;
}

const BEFORE: [string, string][] = [["60", "a minute"], ["300", "5 minutes"], ["3600", "an hour"]];

export function TimePage({ view }: { view: View }) {
  const [span, setSpan] = useState<{ from: number; to: number } | null>(null);
  const [moment, setMoment] = useState<Moment | null>(null);
  const [earlier, setEarlier] = useState<Moment | null>(null);
  const [error, fail] = useState("");
  const at = view.options["at"] === undefined ? null : Number(view.options["at"]);
  const before = Number(view.options["before"] ?? 300);

  useEffect(() => {
    const load = () =>
      get<Meta>("api/meta").then(({ history }) => {
        if (history.from !== null && history.to !== null) setSpan({ from: history.from, to: history.to });
        fail("");
      }).catch((reason: ApiError) => fail(reason.message));
    void load();
    const timer = setInterval(load, 2000);
    return () => clearInterval(timer);
  }, []);

  const asked = at ?? span?.to ?? null;
  useEffect(() => {
    if (asked === null) return undefined;
    let gone = false;
    const timer = setTimeout(() => {
      Promise.all([get<Moment>("api/moment", { at: asked }), get<Moment>("api/moment", { at: asked - before })])
        .then(([now, then]) => { if (!gone) { setMoment(now); setEarlier(then); fail(""); } })
        .catch((reason: ApiError) => { if (!gone) fail(reason.message); });
    }, 40);
    return () => { gone = true; clearTimeout(timer); };
  }, [asked, before]);

  if (error !== "") return <><h1>Time</h1><Problem text={error} /></>;
  if (span === null) {
    return <Empty title="No past yet"><p>The Studio remembers from its first request on. Wait a few seconds, or start it with the application: <code>AtrionStudio(atrion).start()</code>.</p></Empty>;
  }
  const to = Math.max(span.to, span.from + 1);
  const chosen = Math.min(Math.max(asked ?? to, span.from), to);
  const go = (instant: number | null) =>
    location.replace(withOptions(view, { at: instant === null ? undefined : String(Math.round(instant)) }));
  const routes = Object.entries(moment?.routes ?? {}).sort(
    (a, b) => b[1].resistance - a[1].resistance || (b[1].rates.shed ?? 0) - (a[1].rates.shed ?? 0) || a[0].localeCompare(b[0]));
  const known = earlier?.at != null && moment?.at != null && earlier.at < moment.at - 0.5 * before;
  const focus = view.route || routes[0]?.[0] || "";
  return (
    <>
      <div class="headline">
        <h1>{at === null ? "Now" : clock(chosen)} {at !== null && <span class="muted">{seconds(Math.max(to - chosen, 0))} ago</span>}</h1>
        <div class="tools"><CopyLink /><SaveJson name="atrion-moment" data={() => moment} /></div>
      </div>
      <Panel title="Scrub">
        <div class="scrub">
          <button type="button" onClick={() => go(Math.max(chosen - 10, span.from))} >‹ 10 s<span class="hidden"> back</span></button>
          <label>
            <span class="hidden">Moment</span>
            <input
              type="range" min={Math.floor(span.from)} max={Math.ceil(to)} step="1" value={at === null ? Math.ceil(to) : Math.round(chosen)}
              aria-valuetext={clock(chosen)}
              onInput={(event) => go(Number(event.currentTarget.value))}
            />
          </label>
          <button type="button" onClick={() => go(Math.min(chosen + 10, to))} >10 s<span class="hidden"> on</span> ›</button>
          <button type="button" class={at === null ? "" : "primary"} disabled={at === null} onClick={() => go(null)}>Now</button>
        </div>
        <p class="ends muted"><span>{clock(span.from)}</span><span>{clock(span.to)}</span></p>
      </Panel>
      <Past route={focus} span={span} at={at === null ? undefined : chosen} before={before} />
      <Panel
        title={at === null ? "All routes now" : `All routes at ${clock(chosen)}`}
        tools={
          <label class="select">Compare with{" "}
            <select value={String(before)} onChange={(event) => location.replace(withOptions(view, { before: event.currentTarget.value }))}>
              {BEFORE.map(([value, label]) => <option key={value} value={value}>{label} before</option>)}
            </select>
          </label>
        }
      >
        {moment?.stored && <p class="muted small">From the store, which keeps resistance and scars alone: as they were last written until then.</p>}
        {!known && <p class="muted small">The past does not reach back {seconds(before)} before this moment yet.</p>}
        <Scroll label="Routes">
          <table>
            <thead><tr><th scope="col">Route</th><th scope="col">Bands</th><th scope="col" class="num">Resistance</th><th scope="col" class="num">Change</th><th scope="col" class="num">Admitted</th><th scope="col" class="num">Refused</th><th scope="col" class="num">In flight</th></tr></thead>
            <tbody>
              {routes.slice(0, 100).map(([id, row]) => {
                const old = known ? earlier?.routes[id] : undefined;
                const difference = old === undefined ? null : row.resistance - old.resistance;
                return (
                  <tr key={id} class={id === focus ? "chosen" : ""}>
                    <th scope="row"><a href={format("time", id, view.options)}>{id}</a></th>
                    <td class="bandcell"><BandBar row={row} /></td>
                    <td class="num">{number(row.resistance, 1)} Ω</td>
                    <td class={`num ${difference !== null && difference > 1 ? "bad" : ""}`}>
                      {difference === null ? "–" : `${difference > 0.05 ? "▲ +" : difference < -0.05 ? "▼ " : ""}${number(difference, 1)}`}
                    </td>
                    <td class="num">{rate(row.rates.admitted)}</td>
                    <td class={`num ${(row.rates.shed ?? 0) > 0 ? "bad" : ""}`}>{rate(row.rates.shed)}</td>
                    <td class="num">{number(row.in_flight)}</td>
                  </tr>
                );
              })}
            </tbody>
          </table>
        </Scroll>
      </Panel>
    </>
  );
}

/** One route over the whole past, with what it was like so long before beneath. */
function Past({ route, span, at, before }: { route: string; span: { from: number; to: number }; at: number | undefined; before: number }) {
  const [history, set] = useState<History | null>(null);
  const range = Math.max(Math.ceil((Date.now() / 1000 - span.from) / 60) * 60, 60);
  const busy = useRef(false);
  const tick = Math.floor((useFrame()?.at ?? 0) / 2);
  useEffect(() => set(null), [route]);
  useEffect(() => {
    if (route === "" || busy.current || store.status === "paused" && history !== null) return;
    busy.current = true;
    get<History>("api/history", { route, seconds: range })
      .then((found) => set(found))
      .catch(() => undefined)
      .finally(() => { busy.current = false; });
  }, [route, range, tick]);
  const earlier = useMemo(() => (history === null ? [] : shifted(history, "resistance", before)), [history, before]);
  if (history === null || history.at.length < 2) return null;
  return (
    <Panel>
      <Chart
        title={`Resistance of ${route}`} unit="Ω" at={history.at} bands top={70} height={240} marker={at} transitions={history.transitions}
        series={[
          { label: "then", colour: "accent", values: history.columns["resistance"] ?? [] },
          { label: `${seconds(before)} before`, colour: "muted", values: earlier, dashed: true },
        ]}
      />
    </Panel>
  );
}
