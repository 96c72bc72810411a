/* Claims about the list's arithmetic: exactly the rows on the screen exist. */
import { expect, test } from "vitest";
import { offsetsOf, rowAt, scrollTo, visibleRows } from "../src/virtual";

const offsets = offsetsOf(Array.from({ length: 5000 }, (_, i) => (i % 50 === 0 ? 34 : 32)));

test("five thousand rows need no more than a screenful", () => {
  for (const top of [0, 1000, 80_000, offsets[5000] - 600]) {
    const { first, end } = visibleRows(offsets, top, 600, 6);
    expect(end - first).toBeLessThanOrEqual(600 / 32 + 2 + 12);
    expect(offsets[first]).toBeLessThanOrEqual(top);
    expect(offsets[end]).toBeGreaterThanOrEqual(Math.min(top + 600, offsets[5000]));
  }
});

test("the row under a point is found, beyond the ends the last and first", () => {
  expect(rowAt(offsets, -5)).toBe(0);
  expect(rowAt(offsets, 33.9)).toBe(0);
  expect(rowAt(offsets, 34)).toBe(1);
  expect(rowAt(offsets, 1e9)).toBe(4999);
});

test("an empty list shows nothing", () => {
  expect(visibleRows([0], 0, 600, 6)).toEqual({ first: 0, end: 0 });
  expect(rowAt([0], 10)).toBe(0);
});

test("a row is scrolled into view below the sticky heading, and only if it is not in view", () => {
  expect(scrollTo(offsets, 3, 0, 600, 34)).toBe(0);
  expect(scrollTo(offsets, 100, 0, 600, 34)).toBe(offsets[101] - 600);
  expect(scrollTo(offsets, 100, 80_000, 600, 34)).toBe(offsets[100] - 34);
});
