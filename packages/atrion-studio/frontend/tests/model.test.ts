import assert from "node:assert/strict";
import { test } from "node:test";
import { clears, headline, joined, number, ordered, rate, seconds, shifted, split, stateOf, totals, type Row } from "../src/model.ts";

function row(changes: Partial<Row> = {}): Row {
  const none = { admitted: 0, shed: 0, would_shed: 0 };
  return {
    resistance: 10, mode: "operational", reason: null,
    parts: { base: 10, latency: 0, errors: 0, saturation: 0, momentum: 0, scar: 0, cluster: 0, queue: 0 },
    in_flight: 2, pool_in_flight: 2, limit: 20, latency: 0.05, admitted: 5, shed: 0, would_shed: 0, enforced: true,
    pool: "shared", pool_reason: "", gamma: 0.3, slo: { latency: null, error_rate: 0.65 }, clears_in: 0,
    tiers: { bulk: none, low: none, normal: none, high: none, critical: none },
    rates: { admitted: 10, shed: 0 }, since: null, refused: [], refused_in_part: [], why: null,
    ...changes,
  };
}

const refusing = row({ since: 1, refused: ["bulk"], resistance: 31, rates: { admitted: 5, shed: 4 } });
const broken = row({ mode: "circuit_breaker", resistance: 130, refused: ["bulk", "low", "normal", "high", "critical"] });

test("a route's state is what it does to requests", () => {
  assert.equal(stateOf(row()), "flowing");
  assert.equal(stateOf(row({ mode: "bootstrap" })), "new");
  assert.equal(stateOf(refusing), "refusing");
  assert.equal(stateOf(broken), "broken");
  assert.equal(stateOf({ ...broken, enforced: false }), "shadow");
  assert.equal(stateOf(row({ rates: { admitted: 1, shed: 2 } })), "refusing");
  assert.equal(stateOf(row({ refused: ["bulk"] })), "raised");
});

test("the worst comes first, and equals by name", () => {
  const routes = { "c calm": row(), "b refusing": refusing, "a calm": row(), "d broken": broken };
  const all = { search: "", filter: "all", sort: "worst" } as const;
  assert.deepEqual(ordered(routes, all), ["d broken", "b refusing", "a calm", "c calm"]);
  assert.deepEqual(ordered(routes, { ...all, search: " CALM" }), ["a calm", "c calm"]);
  assert.deepEqual(ordered(routes, { ...all, filter: "refusing" }), ["d broken", "b refusing"]);
  assert.deepEqual(ordered(routes, { ...all, filter: "broken" }), ["d broken"]);
  assert.deepEqual(ordered(routes, { ...all, filter: "flowing", sort: "name" }), ["a calm", "c calm"]);
  assert.deepEqual(ordered(routes, { ...all, sort: "traffic" }).slice(0, 2), ["a calm", "c calm"]);
});

test("three thousand routes are ordered within a frame", () => {
  const routes = Object.fromEntries(Array.from({ length: 3000 }, (_, index) => [`route ${index}`, row({ resistance: index % 90 })]));
  assert.equal(ordered(routes, { search: "", filter: "all", sort: "worst" }).length, 3000);
});

test("totals and the headline", () => {
  assert.equal(headline(totals({})), "No route yet");
  assert.equal(headline(totals({ a: row() })), "Every request flows");
  assert.equal(headline(totals({ a: refusing })), "1 route refuses requests");
  const sum = totals({ a: refusing, b: broken, c: row() });
  assert.deepEqual([sum.routes, sum.refusing, sum.broken, sum.shed], [3, 2, 1, 4]);
  assert.equal(headline(sum), "2 routes refuse requests");
});

test("numbers are short and have units", () => {
  assert.equal(number(1234.5, 1), "1,234.5");
  assert.equal(number(250000), "250k");
  assert.equal(number(NaN), "–");
  assert.equal(rate(3.14), "3.1/s");
  assert.equal(rate(250), "250/s");
  assert.equal(seconds(0.0451), "45 ms");
  assert.equal(seconds(12), "12 s");
  assert.equal(seconds(125), "2 min 5 s");
  assert.equal(seconds(7260), "2 h 1 min");
  assert.equal(seconds(300), "5 min");
});

test("what shadow mode let through counts as refused", () => {
  assert.deepEqual(split({ admitted: 9, shed: 1, would_shed: 4 }), { flowed: 5, refused: 5 });
});

test("when it ends", () => {
  assert.equal(clears(row()), "normal requests flow");
  assert.equal(clears(row({ clears_in: null })), "when the load fits again");
  assert.equal(clears(row({ clears_in: 12 })), "within 12 s once failures stop");
});

test("a small frame adds to the full one of its key, and to no other", () => {
  const cluster = { node: "n", provider: "", healthy: true, failures: 0, dropped_rows: 0, nodes: [] };
  const full = { key: 3, full: true, at: 1, cluster, routes: { a: row(), b: row() } };
  const small = { key: 3, full: false, at: 2, cluster, routes: { b: refusing } };
  assert.deepEqual(joined(full, small)?.routes, { a: row(), b: refusing });
  assert.equal(joined(full, small)?.at, 2);
  assert.equal(joined(full, { ...small, key: 4 }), null);
});

test("a comparison looks back in time, whatever the steps", () => {
  const history = { route: "a", step: 1, at: [0, 1800, 3600, 3601, 3602], columns: { resistance: [5, 6, 7, 8, null] }, transitions: [] };
  assert.deepEqual(shifted(history, "resistance", 1), [null, 5, 6, 7, 8]);
  assert.deepEqual(shifted(history, "resistance", 1800), [null, 5, 6, 6, 6]);
  assert.deepEqual(shifted(history, "nothing", 1), [null, null, null, null, null]);
});

test("what the store does not tell is a dash", () => {
  assert.equal(rate(null), "–");
  assert.equal(number(null), "–");
});
