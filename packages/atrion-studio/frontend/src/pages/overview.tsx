import type { VNode } from "preact";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { BandBar, CopyLink, Empty, SaveJson, Spark, StateBadge, Tile } from "../components.tsx";
import {
  clears, clock, headline, number, ordered, rate, seconds, split, stateOf, totals,
  type Filter, type Frame, type Row, type SortKey,
} from "../model.ts";
import { format, withOptions, type View } from "../router.ts";
import { store, useFrame } from "../store.ts";

const WIDE = 76;
const NARROW = 112;
const SETTLE = 2000;

const FILTERS: [Filter, string][] = [
  ["all", "All"],
  ["refusing", "Refusing"],
  ["broken", "Breaker open"],
  ["flowing", "Flowing"],
];

export function Overview({ view }: { view: View }) {
  const frame = useFrame();
  const search = view.options["search"] ?? "";
  // The address follows what is typed, and is followed only where it was changed otherwise.
  const [typed, type] = useState(search);
  useEffect(() => { if (document.activeElement?.id !== "search") type(search); }, [search]);
  const filter = (view.options["show"] ?? "all") as Filter;
  const sort = (view.options["sort"] ?? "worst") as SortKey;
  const ids = useOrder(frame, search, filter, sort);
  if (frame === null) return <p class="loading">Waiting for the first numbers…</p>;
  const sum = totals(frame.routes);
  const shadow = Object.values(frame.routes).some((row) => !row.enforced);
  const change = (changes: Record<string, string | undefined>) => location.replace(withOptions(view, changes));
  return (
    <>
      <div class="headline">
        <h1 class={sum.refusing > 0 ? "bad" : ""}>{headline(sum)}</h1>
        <div class="tools">
          <CopyLink />
          <SaveJson name="atrion-overview" data={() => store.frame} />
        </div>
      </div>
      {shadow && <p class="hint">Some routes are in shadow mode: what they “would refuse” is let through.</p>}
      <div class="tiles">
        <Tile label="Admitted" value={rate(sum.admitted)} />
        <Tile label="Refused" value={rate(sum.shed)} {...(sum.shed > 0 ? { tone: "refusing" as const } : {})} />
        <Tile label="Open breakers" value={number(sum.broken)} {...(sum.broken > 0 ? { tone: "broken" as const } : {})} />
        <Tile label="In flight" value={number(sum.inFlight)} />
        <Tile label="Routes" value={number(sum.routes)} />
      </div>
      <form class="filters" role="search" onSubmit={(event) => event.preventDefault()}>
        <label>
          <span class="hidden">Search routes</span>
          <input
            type="search"
            id="search"
            placeholder="Search routes ( / )"
            value={typed}
            onInput={(event) => {
              type(event.currentTarget.value);
              change({ search: event.currentTarget.value || undefined });
            }}
          />
        </label>
        <div class="choice" role="group" aria-label="Show">
          {FILTERS.map(([name, label]) => (
            <button
              type="button"
              key={name}
              aria-pressed={filter === name}
              onClick={() => change({ show: name === "all" ? undefined : name })}
            >
              {label}
            </button>
          ))}
        </div>
        <label class="select">
          Sort by{" "}
          <select value={sort} onChange={(event) => change({ sort: event.currentTarget.value })}>
            <option value="worst">worst first</option>
            <option value="resistance">resistance</option>
            <option value="refused">refused</option>
            <option value="traffic">traffic</option>
            <option value="name">name</option>
          </select>
        </label>
      </form>
      {ids.length === 0 ? (
        sum.routes === 0 ? (
          <Empty title="No route has been asked yet">
            <p>Routes appear with their first request. Guard one with <code>@atrion.protect("name")</code>, or add the middleware, and send a request.</p>
          </Empty>
        ) : (
          <Empty title="No route matches">
            <p><button type="button" onClick={() => { type(""); change({ search: undefined, show: undefined }); }}>Show all {sum.routes}</button></p>
          </Empty>
        )
      ) : (
        <List ids={ids} routes={frame.routes} />
      )}
    </>
  );
}

/** The order of the rows: at once when something was chosen, else every two seconds, and never under the pointer. */
function useOrder(frame: Frame | null, search: string, filter: Filter, sort: SortKey): string[] {
  const [held, hold] = useState<{ ids: string[]; at: number; key: string }>({ ids: [], at: 0, key: "" });
  const key = `${search}|${filter}|${sort}`;
  const routes = frame?.routes;
  useEffect(() => {
    if (routes === undefined) return;
    const now = performance.now();
    const pointed = document.querySelector(".rows:hover, .rows:focus-within") !== null;
    const rest = now - held.at < SETTLE || pointed;
    if (held.key === key && rest && held.ids.length > 0) return;
    hold({ ids: ordered(routes, { search, filter, sort }), at: now, key });
  }, [routes, key]);
  return useMemo(() => held.ids.filter((id) => routes !== undefined && id in routes), [held, routes]);
}

/** The height of a row: on a phone, its parts stand above each other. */
function useHeight(): number {
  const [narrow, set] = useState(() => matchMedia("(max-width: 720px)").matches);
  useEffect(() => {
    const query = matchMedia("(max-width: 720px)");
    const follow = () => set(query.matches);
    query.addEventListener("change", follow);
    return () => query.removeEventListener("change", follow);
  }, []);
  return narrow ? NARROW : WIDE;
}

interface Drawn {
  row: Row;
  top: number;
  sampled: number;
  node: VNode;
}

/** Only the rows that can be seen are in the page, so that thousands of routes stay smooth. */
function List({ ids, routes }: { ids: string[]; routes: Record<string, Row> }) {
  const ref = useRef<HTMLUListElement>(null);
  const [range, setRange] = useState<[number, number]>([0, 30]);
  const height = useHeight();
  // A row is drawn again only once it has changed: while one scrolls, most have not.
  const last = useRef(new Map<string, Drawn>());
  const drawn = new Map<string, Drawn>();
  const { sampled } = store;
  const draw = (id: string, row: Row, top: number) => {
    const known = last.current.get(id);
    const same = known !== undefined && known.row === row && known.top === top && known.sampled === sampled;
    const found = same ? known : { row, top, sampled, node: <RouteRow key={id} id={id} row={row} top={top} /> };
    drawn.set(id, found);
    return found.node;
  };
  useEffect(() => { last.current = drawn; });
  useEffect(() => {
    const measure = () => {
      const element = ref.current;
      if (element === null) return;
      const top = -element.getBoundingClientRect().top;
      const first = Math.max(Math.floor(top / height) - 6, 0);
      const last = Math.ceil((top + innerHeight) / height) + 6;
      setRange(([a, b]) => (a === first && b === last ? [a, b] : [first, last]));
    };
    measure();
    addEventListener("scroll", measure, { passive: true });
    addEventListener("resize", measure);
    return () => {
      removeEventListener("scroll", measure);
      removeEventListener("resize", measure);
    };
  }, [height]);
  return (
    <ul class="rows" ref={ref} style={{ height: `${ids.length * height}px` }} aria-label={`${ids.length} routes`}>
      {ids.slice(range[0], range[1]).map((id, index) => {
        const row = routes[id];
        return row === undefined ? null : draw(id, row, (range[0] + index) * height);
      })}
    </ul>
  );
}

function RouteRow({ id, row, top }: { id: string; row: Row; top: number }) {
  const state = stateOf(row);
  return (
    <li class={`row ${state}`} style={{ transform: `translateY(${top}px)` }}>
      <a href={format("route", id)} title={row.why ?? id}>
        <span class="name">
          <strong>{id}</strong>
          <span class="sub">
            <StateBadge state={state} />
            {row.since !== null && <span class="muted"> since {clock(row.since)}</span>}
          </span>
        </span>
        <span class="ohms">
          <BandBar row={row} />
          <span class="reading">
            <b>{number(row.resistance, 1)} Ω</b>
            <span class="muted reason">{row.reason === null ? "" : row.reason.replace("_", " ")}</span>
            <span class="muted ends">{state === "flowing" || state === "new" || row.clears_in === 0 ? "" : clears(row)}</span>
          </span>
        </span>
        <Spark values={store.trends.get(id) ?? []} label="Resistance over the last minute" />
        <span class="figures">
          <span><b>{rate(row.rates.admitted)}</b> <span class="muted">in</span></span>
          <span class={row.rates.shed > 0 ? "bad" : ""}><b>{rate(row.rates.shed)}</b> <span class="muted">refused</span></span>
        </span>
        <span class="figures narrow">
          <span><b>{number(row.in_flight)}</b> <span class="muted">of {number(row.limit)}</span></span>
          <span class="muted">{row.latency > 0 ? seconds(row.latency) : "–"}</span>
        </span>
        <TierDots row={row} />
      </a>
    </li>
  );
}

/** Admitted and refused by tier, as five small columns. */
function TierDots({ row }: { row: Row }) {
  const tiers = Object.entries(row.tiers);
  const words = tiers
    .filter(([, count]) => count.admitted + count.shed > 0)
    .map(([name, count]) => `${name}: ${split(count).flowed} admitted, ${split(count).refused} refused`);
  return (
    <span class="tiers" role="img" aria-label={words.join("; ") || "no decision counted yet"} title={words.join("\n")}>
      {tiers.map(([name, count]) => {
        const all = count.admitted + count.shed;
        const share = all > 0 ? split(count).refused / all : 0;
        return (
          <span key={name} class={`dot ${all === 0 ? "none" : ""}`}>
            <span class="fill" style={{ height: `${all === 0 ? 0 : 100 * share}%` }} />
            <i>{name.charAt(0).toUpperCase()}</i>
          </span>
        );
      })}
    </span>
  );
}
