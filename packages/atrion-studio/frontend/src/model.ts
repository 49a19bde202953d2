// What the backend sends, and what follows from it for a person.

export type Mode = "bootstrap" | "operational" | "circuit_breaker";
export type TierName = "bulk" | "low" | "normal" | "high" | "critical";
export type PartName =
  | "base"
  | "latency"
  | "errors"
  | "saturation"
  | "momentum"
  | "scar"
  | "cluster"
  | "queue";

export interface TierCount {
  /** In shadow mode, what would be shed is among the admitted. */
  admitted: number;
  shed: number;
  would_shed: number;
}

export interface Row {
  resistance: number;
  mode: Mode;
  reason: string | null;
  parts: Record<PartName, number>;
  in_flight: number;
  pool_in_flight: number;
  limit: number;
  latency: number;
  admitted: number;
  shed: number;
  would_shed: number;
  enforced: boolean;
  pool: string;
  pool_reason: string;
  gamma: number;
  slo: { latency: number | null; error_rate: number };
  clears_in: number | null;
  /** Empty where nobody counts by tier. */
  tiers: Partial<Record<TierName, TierCount>>;
  rates: { admitted: number; shed: number };
  since: number | null;
  refused: TierName[];
  refused_in_part: TierName[];
  why: string | null;
  nodes?: Record<string, { resistance: number; mode: Mode; scar: number; in_flight: number }>;
}

export interface NodeState {
  node: string;
  age: number;
  routes: number;
}

export interface Cluster {
  node: string | null;
  provider: string;
  healthy: boolean;
  failures: number;
  dropped_rows: number;
  nodes: NodeState[];
  licence?: { state: string; detail: string; read_only: boolean };
  scene?: string;
  chosen?: string;
}

export interface Frame {
  at: number;
  routes: Record<string, Row>;
  cluster: Cluster;
}

/** A frame as it comes: a small one has only the routes that have changed since the full one of its key. */
export interface Received extends Frame {
  key: number;
  full: boolean;
}

/** A full frame with what a small one changes; null where the small one adds to another. */
export function joined(full: Received, small: Received): Frame | null {
  if (small.key !== full.key) return null;
  return { ...small, routes: { ...full.routes, ...small.routes } };
}

export interface Meta {
  title: string;
  version: string;
  changes: boolean;
  tick: number;
  lab: boolean;
  scenes: Record<string, string>;
  history: {
    bytes_per_route: number;
    max_routes: number;
    steps: [number, number][];
    from: number | null;
    to: number | null;
    /** Since when the store remembers resistances and scars; null where it does not. */
    stored_from: number | null;
  };
}

export interface Transition {
  at: number;
  route: string;
  before: Mode;
  after: Mode;
  resistance: number;
}

export interface History {
  route: string;
  step: number;
  at: number[];
  columns: Record<string, (number | null)[]>;
  transitions: Transition[];
}

export const TIERS: readonly { name: TierName; from: number; to: number }[] = [
  { name: "bulk", from: 20, to: 30 },
  { name: "low", from: 32, to: 42 },
  { name: "normal", from: 44, to: 54 },
  { name: "high", from: 56, to: 66 },
  { name: "critical", from: 92, to: 102 },
];
export const SCALE = 110;

export const PARTS: readonly { name: PartName; label: string; about: string }[] = [
  { name: "base", label: "base", about: "what every route has" },
  { name: "queue", label: "queue", about: "calls in flight beyond the limit" },
  { name: "latency", label: "latency", about: "answers later than promised" },
  { name: "errors", label: "errors", about: "calls that fail" },
  { name: "saturation", label: "saturation", about: "as the application reports it" },
  { name: "momentum", label: "momentum", about: "it is getting worse" },
  { name: "scar", label: "scar", about: "what this node remembers" },
  { name: "cluster", label: "cluster", about: "what other nodes report" },
];

export type State = "broken" | "refusing" | "shadow" | "raised" | "new" | "flowing";

/** What a route does to its requests at this instant; words and marks go with it everywhere. */
export const STATES: Record<State, { mark: string; word: string }> = {
  broken: { mark: "✕", word: "Breaker open" },
  refusing: { mark: "▲", word: "Refusing" },
  shadow: { mark: "◇", word: "Would refuse" },
  raised: { mark: "△", word: "Raised" },
  new: { mark: "○", word: "New" },
  flowing: { mark: "●", word: "Flowing" },
};

export function stateOf(row: Row): State {
  const broken = row.mode === "circuit_breaker";
  const refuses = row.rates.shed > 0 || row.since !== null;
  if ((refuses || broken) && !row.enforced) return "shadow";
  if (broken) return "broken";
  if (refuses) return "refusing";
  // It would refuse the lower tiers, and none of them has asked of late.
  if (row.refused.length + row.refused_in_part.length > 0) return "raised";
  return row.mode === "bootstrap" ? "new" : "flowing";
}

const SEVERITY: Record<State, number> = { broken: 4, refusing: 3, shadow: 2, raised: 1, new: 0, flowing: 0 };

export type SortKey = "worst" | "name" | "resistance" | "refused" | "traffic";
export type Filter = "all" | "refusing" | "broken" | "flowing";

function matches(state: State, filter: Filter): boolean {
  if (filter === "all") return true;
  if (filter === "broken") return state === "broken";
  if (filter === "refusing") return SEVERITY[state] > 1;
  return SEVERITY[state] <= 1;
}

function compare(sort: SortKey, a: [string, Row], b: [string, Row]): number {
  switch (sort) {
    case "name":
      return 0;
    case "resistance":
      return b[1].resistance - a[1].resistance;
    case "refused":
      return b[1].rates.shed - a[1].rates.shed;
    case "traffic":
      return b[1].rates.admitted + b[1].rates.shed - a[1].rates.admitted - a[1].rates.shed;
    case "worst":
      return (
        SEVERITY[stateOf(b[1])] - SEVERITY[stateOf(a[1])] ||
        b[1].rates.shed - a[1].rates.shed ||
        Math.round(b[1].resistance / 5) - Math.round(a[1].resistance / 5)
      );
  }
}

/** Ids of the routes that match, in order; equal ones by name, so that nothing jumps without a reason. */
export function ordered(
  routes: Record<string, Row>,
  options: { search: string; filter: Filter; sort: SortKey },
): string[] {
  const search = options.search.trim().toLowerCase();
  return Object.entries(routes)
    .filter(
      ([id, row]) =>
        (search === "" || id.toLowerCase().includes(search)) && matches(stateOf(row), options.filter),
    )
    .sort((a, b) => compare(options.sort, a, b) || a[0].localeCompare(b[0]))
    .map(([id]) => id);
}

/** What flowed, and what was refused or would have been. */
export function split(count: TierCount): { flowed: number; refused: number } {
  return { flowed: count.admitted - count.would_shed, refused: count.shed + count.would_shed };
}

export interface Totals {
  routes: number;
  refusing: number;
  broken: number;
  admitted: number;
  shed: number;
  inFlight: number;
}

export function totals(routes: Record<string, Row>): Totals {
  const sum: Totals = { routes: 0, refusing: 0, broken: 0, admitted: 0, shed: 0, inFlight: 0 };
  for (const row of Object.values(routes)) {
    const state = stateOf(row);
    sum.routes += 1;
    sum.refusing += SEVERITY[state] > 1 ? 1 : 0;
    sum.broken += state === "broken" ? 1 : 0;
    sum.admitted += row.rates.admitted;
    sum.shed += row.rates.shed;
    sum.inFlight += row.in_flight;
  }
  return sum;
}

export function headline(sum: Totals): string {
  if (sum.routes === 0) return "No route yet";
  if (sum.refusing === 0) return "Every request flows";
  const some = sum.refusing === 1 ? "1 route refuses" : `${sum.refusing} routes refuse`;
  return `${some} requests`;
}

// --- numbers for people ---------------------------------------------------------------------------------------

export function number(value: number | null, digits = 0): string {
  if (value === null || !Number.isFinite(value)) return "–";
  if (Math.abs(value) >= 100_000) return `${(value / 1000).toFixed(0)}k`;
  return value.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });
}

export function rate(value: number | null): string {
  if (value === null) return "–";
  return `${number(value, value > 0 && value < 10 ? 1 : 0)}/s`;
}

export function seconds(value: number): string {
  if (value < 1) return `${number(value * 1000)} ms`;
  if (value < 60) return `${number(value, value < 10 ? 1 : 0)} s`;
  const [large, small, unit, part] =
    value < 3600 ? [value / 60, value % 60, "min", "s"] : [value / 3600, (value % 3600) / 60, "h", "min"];
  const rest = Math.floor(small);
  return `${Math.floor(large)} ${unit}${rest > 0 ? ` ${rest} ${part}` : ""}`;
}

/** The time of day, with the date where that is not today. */
export function clock(at: number): string {
  const then = new Date(at * 1000);
  const time = then.toLocaleTimeString("en-GB");
  return then.toDateString() === new Date().toDateString()
    ? time
    : `${then.toLocaleDateString("en-GB", { day: "numeric", month: "short" })}, ${time}`;
}

/** What a column was `before` seconds before each point: the last value then or earlier, whatever the steps. */
export function shifted(history: History, column: string, before: number): (number | null)[] {
  const values = history.columns[column] ?? [];
  let place = -1;
  return history.at.map((at) => {
    while (place + 1 < history.at.length && (history.at[place + 1] ?? Infinity) <= at - before) place += 1;
    return place < 0 ? null : (values[place] ?? null);
  });
}

/** When normal requests flow again, in a few words. */
export function clears(row: Row): string {
  if (row.clears_in === 0) return "normal requests flow";
  if (row.clears_in === null) return "when the load fits again";
  return `within ${seconds(row.clears_in)} once failures stop`;
}

export function bytes(value: number): string {
  return value >= 1e6 ? `${number(value / 1e6, 1)} MB` : `${number(value / 1e3)} kB`;
}
