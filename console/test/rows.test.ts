/* Claims about filter, grouping, folding and the small curves of the table. */
import { expect, test } from "vitest";
import { buildRows, sparkPath } from "../src/rows";
import type { Point } from "../src/source";

const point = (device: string, name: string, more: Partial<Point> = {}): Point => ({
  key: `${device}.${name}`, namespace: "default", device, name: device, table: "t", point: name, type: "double", unit: "", address: "400001", access: "r",
  connection: "plc", description: "", min: null, max: null, value: "1", number: 1, quality: "Good", grade: "good", timeMs: 0, decimals: 0, changes: 0, recent: [], ...more,
});
const plant = [
  point("hall/climate", "temperature", { unit: "°C" }),
  point("line1/press", "temperature", { unit: "°C", quality: "BadNoCommunication", grade: "bad", value: null }),
  point("line1/press", "setpoint", { access: "rw" }),
];
const shown = (filter: string, mode: "all" | "bad" | "writable" = "all", folded: string[] = []): string[] =>
  buildRows(plant, filter, mode, new Set(folded)).map((r) => (r.kind === "group" ? `[${r.device} ${r.count}/${r.bad}]` : r.key));

test("points stand under their device, with how many are not good", () => {
  expect(shown("")).toEqual(["[hall/climate 1/0]", "hall/climate.temperature", "[line1/press 2/1]", "line1/press.temperature", "line1/press.setpoint"]);
});

test("every word of the filter must be found somewhere", () => {
  expect(shown("PRESS temp")).toEqual(["[line1/press 1/1]", "line1/press.temperature"]);
  expect(shown("press humidity")).toEqual([]);
});

test("quality is found in both languages and by its OPC UA name", () => {
  for (const word of ["无通信", "communication", "badnocomm"]) expect(shown(word)).toEqual(["[line1/press 1/1]", "line1/press.temperature"]);
});

test("the modes show what is not good, or what can be written", () => {
  expect(shown("", "bad")).toEqual(["[line1/press 1/1]", "line1/press.temperature"]);
  expect(shown("", "writable")).toEqual(["[line1/press 1/0]", "line1/press.setpoint"]);
});

test("a folded device keeps its heading and its counts", () => {
  expect(shown("", "all", ["line1/press"])).toEqual(["[hall/climate 1/0]", "hall/climate.temperature", "[line1/press 2/1]"]);
});

test("a bad value is a gap in the small curve, a steady one a line in the middle", () => {
  expect(sparkPath([1, 2, NaN, 3, 4], 40, 20, 5)).toMatch(/^M[^M]*L[^M]*M[^M]*L[^M]*$/);
  expect(sparkPath([5, 5], 40, 20, 2)).toBe("M0.0 10.0L40.0 10.0");
  expect(sparkPath([NaN, 1], 40, 20, 2)).toBe("");
});
