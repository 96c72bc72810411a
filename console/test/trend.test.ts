/* Claims about trends: which statement is asked, and how its rows become curves. */
import { expect, test } from "vitest";
import { alignSeries, breakAfter, emptySeries, extractSeries, indexBefore, mergeTail, withBreaks } from "../src/trenddata";
import { durationLiteral, loadRange, planTrend, trendSql } from "../src/trendquery";

const MINUTE = 60e3, HOUR = 3600e3, DAY = 24 * HOUR;
const columns = [{ name: "temperature", type: "double" }, { name: "running", type: "bool" }];

test("short ranges read every row, long ones windows of fitting width", () => {
  expect(planTrend(0, 5 * MINUTE, 1000)).toEqual({ kind: "raw" });
  expect(planTrend(0, HOUR, 1000)).toEqual({ kind: "window", widthMs: 5000, literal: "5s" });
  expect(planTrend(0, DAY, 1000)).toEqual({ kind: "window", widthMs: 120_000, literal: "2m" });
  expect(planTrend(0, 7 * DAY, 1000)).toEqual({ kind: "window", widthMs: 900_000, literal: "15m" });
  expect(planTrend(0, DAY, MINUTE)).toEqual({ kind: "raw" });
  expect(planTrend(0, 5 * MINUTE, 10)).toMatchObject({ kind: "window", literal: "1s" });
});

test("no plan asks for more than two thousand rows or eight hundred windows", () => {
  for (let span = 1000; span < 400 * DAY; span *= 1.7) for (const spacing of [10, 100, 1000, MINUTE]) {
    const plan = planTrend(0, span, spacing);
    if (plan.kind === "raw") expect(span / spacing).toBeLessThanOrEqual(2000);
    else expect(span / plan.widthMs).toBeLessThanOrEqual(800);
  }
});

test("the statements are these", () => {
  expect(trendSql({ kind: "raw" }, "press", columns)).toBe(
    'SELECT time, "temperature", quality("temperature"), "running", quality("running") FROM "press" WHERE device = $1 AND time >= $2 AND time < $3 ORDER BY time');
  expect(trendSql({ kind: "window", widthMs: 30e3, literal: "30s" }, "press", columns)).toBe(
    'SELECT window_start, min("temperature"), max("temperature"), avg("temperature"), last("running") FROM "press" WHERE device = $1 AND time >= $2 AND time < $3 WINDOW TUMBLE(30s)');
});

test("names cannot end the quotation", () => {
  expect(trendSql({ kind: "raw" }, 'a"b', [{ name: 'x" --', type: "double" }])).toContain('SELECT time, "x"" --", quality("x"" --") FROM "a""b"');
});

test("durations are whole units", () => {
  expect([30, 60, 900, 3600, 86400].map(durationLiteral)).toEqual(["30s", "1m", "15m", "1h", "24h"]);
});

test("what is loaded covers the view in whole windows and not the future", () => {
  const [from, to] = loadRange(1_000_000, 2_000_000, { kind: "window", widthMs: 30_000, literal: "30s" }, 2_000_000);
  expect(from % 30_000).toBe(0);
  expect(to % 30_000).toBe(0);
  expect(from).toBeLessThanOrEqual(750_000);
  expect(to).toBeGreaterThanOrEqual(2_001_000);
  expect(to).toBeLessThan(2_040_000);
});

test("a bad value is a gap; a value that was not due is no sample", () => {
  const [temperature, running] = extractSeries({ kind: "raw" }, columns, [
    [1000, 20, "Good", true, "Good"], [2000, null, "BadTimeout", null, "GoodNoData"], [3000, 21, 0, false, "Good"],
  ]);
  expect(temperature.times).toEqual([1000, 2000, 3000]);
  expect(temperature.line).toEqual([20, null, 21]);
  expect(running.times).toEqual([1000, 3000]);
  expect(running.line).toEqual([1, 0]);
});

test("windows give average, band and, for states, the last", () => {
  const [temperature, running] = extractSeries({ kind: "window", widthMs: 5000, literal: "5s" }, columns, [[5000, null, null, null, true], [0, 18, 22, 20, false]]);
  expect(temperature).toMatchObject({ times: [0, 5000], line: [20, null], low: [18, null], high: [22, null] });
  expect(running).toMatchObject({ line: [0, 1], low: null });
});

test("the tail replaces what it covers and forgets what left the view", () => {
  const series = (times: number[], value: number) => ({ ...emptySeries(), times, line: times.map(() => value), quality: times.map(() => null) });
  const merged = mergeTail(series([1, 2, 3, 4], 1), series([3, 4, 5], 2), 3, 2);
  expect(merged.times).toEqual([2, 3, 4, 5]);
  expect(merged.line).toEqual([1, 2, 2, 2]);
});

test("a regular series breaks where the node was off; one stored on change never does", () => {
  const regular = [0, 1, 2, 3, 4, 5, 6, 7, 8, 60, 61].map((s) => s * 1000);
  expect(breakAfter(regular)).toBe(5000);
  expect(withBreaks({ ...emptySeries(), times: regular, line: regular.map(() => 1), quality: regular.map(() => null) }).line).toContain(null);
  expect(breakAfter([0, 1, 9, 10, 50, 51, 300, 301, 302].map((s) => s * 1000))).toBe(Infinity);
  expect(breakAfter([0, 1000])).toBe(Infinity);
});

test("several series share one axis of time: gaps stay null, alignment is undefined", () => {
  const a = { ...emptySeries(), times: [1000, 3000], line: [1, null], quality: [null, null] };
  const b = { ...emptySeries(), times: [2000, 3000], line: [5, 6], quality: [null, null] };
  expect(alignSeries([a, b])).toEqual([
    [1, 2, 3],
    [1, undefined, null], [undefined, undefined, undefined], [undefined, undefined, undefined],
    [undefined, 5, 6], [undefined, undefined, undefined], [undefined, undefined, undefined],
  ]);
});

test("the value at the cursor is the one that held then", () => {
  expect(indexBefore([10, 20, 30], 25)).toBe(1);
  expect(indexBefore([10, 20, 30], 5)).toBe(-1);
  expect(indexBefore([10, 20, 30], 30)).toBe(2);
});
