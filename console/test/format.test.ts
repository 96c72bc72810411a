/* Claims about what a person reads: values, ages, quality; and about what is accepted as a value to write. */
import { expect, test } from "vitest";
import { decimalsNeeded, formatAge, formatCount, formatNumber, formatValue, gradeOf, isNoData, parseTime, qualityText } from "../src/format";
import { checkValue, sameValue } from "../src/writecheck";

test("binary noise of scaled registers does not show", () => {
  expect(decimalsNeeded(0.1 + 0.2)).toBe(1);
  expect(formatNumber(23.400000000000002)).toBe("23.4");
  expect(formatNumber(1e-5)).toBe("0.00001");
});

test("a point keeps its decimals, so that 23.40 does not become 23.4", () => {
  expect(formatValue("double", "23.4", 23.4, 2)).toBe("23.40");
  expect(formatNumber(-0.04, 1)).toBe("0.0");
  expect(formatNumber(-5, 0)).toBe("\u22125");
});

test("very large and very small numbers are written in powers of ten", () => {
  expect(formatNumber(1.5e20)).toBe("1.500e+20");
  expect(formatNumber(-2e-9)).toBe("\u22122.000e-9");
});

test("whole numbers above 2^53 are shown as the server wrote them", () => {
  expect(formatValue("ubigint", "18446744073709551615", 18446744073709551615, 0)).toBe("18446744073709551615");
});

test("states, texts and missing values are told apart", () => {
  expect(formatValue("bool", "true", null, 0)).toEqual({ key: "value.on" });
  expect(formatValue("bool", "false", 0, 0)).toEqual({ key: "value.off" });
  expect(formatValue("text", "A-4711", null, 0)).toBe("A-4711");
  expect(formatValue("double", null, null, 0)).toEqual({ key: "value.none" });
});

test("an age is one number and one unit, rounded down", () => {
  expect(formatAge(-400)).toEqual({ key: "age.now" });
  expect(formatAge(3999)).toEqual({ key: "age.s", params: { n: 3 } });
  expect(formatAge(60_000)).toEqual({ key: "age.min", params: { n: 1 } });
  expect(formatAge(47 * 3600_000)).toEqual({ key: "age.h", params: { n: 47 } });
  expect(formatAge(49 * 3600_000)).toEqual({ key: "age.d", params: { n: 2 } });
  expect(formatAge(null)).toEqual({ key: "age.none" });
});

test("quality is graded by OPC UA severity, as name or number", () => {
  expect(gradeOf("Good")).toBe("good");
  expect(gradeOf(0)).toBe("good");
  expect(gradeOf("UncertainLastUsableValue")).toBe("uncertain");
  expect(gradeOf(0x40900000)).toBe("uncertain");
  expect(gradeOf("BadNoCommunication")).toBe("bad");
  expect(gradeOf("2150694912")).toBe("bad");
  expect(gradeOf("BadWaitingForInitialData")).toBe("none");
  expect(gradeOf(null)).toBe("none");
  expect(isNoData("GoodNoData") && isNoData(0x00a50000) && !isNoData("Good")).toBe(true);
});

test("a quality without a translation keeps its own words", () => {
  expect(qualityText("BadNoCommunication")).toEqual({ key: "quality.BadNoCommunication" });
  expect(qualityText("BadTooManyOperations")).toBe("Too Many Operations");
  expect(qualityText("2150694912")).toBe("0x80310000");
});

test("times come as milliseconds or RFC 3339 with up to nine digits", () => {
  expect(parseTime(5)).toBe(5);
  expect(parseTime("2026-01-02T03:04:05.123456789Z")).toBe(Date.UTC(2026, 0, 2, 3, 4, 5, 123));
  expect(parseTime("")).toBe(null);
  expect(parseTime("soon")).toBe(null);
});

test("counts are shortened", () => {
  expect(formatCount(9999)).toBe("9999");
  expect(formatCount(184213)).toBe("184.2 k");
  expect(formatCount(9482113)).toBe("9.5 M");
});

const target = (type: string, min: number | null = null, max: number | null = null) => ({ type, min, max });

test("a value to write is checked against type and range", () => {
  expect(checkValue(target("double", 0, 100), "42,5")).toEqual({ value: 42.5 });
  expect(checkValue(target("double", 0, 100), "101")).toMatchObject({ error: { key: "write.above" } });
  expect(checkValue(target("double", 0, 100), "-1")).toMatchObject({ error: { key: "write.below" } });
  expect(checkValue(target("double"), "4x")).toMatchObject({ error: { key: "write.needNumber" } });
  expect(checkValue(target("double"), " ")).toMatchObject({ error: { key: "write.needValue" } });
  expect(checkValue(target("bigint"), "1.5")).toMatchObject({ error: { key: "write.needInteger" } });
  expect(checkValue(target("bool"), "false")).toEqual({ value: false });
  expect(checkValue(target("text"), " a ")).toEqual({ value: " a " });
});

test("whole numbers beyond a double's reach are sent as text", () => {
  expect(checkValue(target("bigint"), "9007199254740993")).toEqual({ value: "9007199254740993" });
});

test("a read-back rounded to the register's resolution counts as the same", () => {
  expect(sameValue(45.04, 45.0)).toBe(true);
  expect(sameValue(45, 50)).toBe(false);
  expect(sameValue(true, 1)).toBe(true);
  expect(sameValue(true, "false")).toBe(false);
  expect(sameValue(5, null)).toBe(true);
});
