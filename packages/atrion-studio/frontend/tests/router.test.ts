import assert from "node:assert/strict";
import { test } from "node:test";
import { format, parse, withOptions } from "../src/router.ts";

test("a link leads to the same view", () => {
  for (const id of ["GET /shop/{id}", "a?b#c&d=e", "payments", "ä 100%"]) {
    const link = format("route", id, { range: "300", none: undefined });
    assert.deepEqual(parse(link), { page: "route", route: id, options: { range: "300" } });
  }
});

test("what cannot be read is the overview", () => {
  assert.equal(parse("").page, "overview");
  assert.equal(parse("#/nothing").page, "overview");
  assert.equal(parse("#/route/%E0%A4%A").route, "%E0%A4%A");
});

test("options are changed one by one", () => {
  const view = parse("#/overview?search=pay&sort=name");
  assert.equal(withOptions(view, { sort: undefined, show: "broken" }), "#/overview?search=pay&show=broken");
});
