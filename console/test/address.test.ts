/* Claims about Modbus addresses, types and byte orders. */
import { expect, test } from "vitest";
import { checkAddress, columnTypeOf, nextAddress, ordersOf, parseAddress, registersOf, typeTraits } from "../src/address";

test("an address is unit, area, 1-based number and bit", () => {
  expect(parseAddress("1!400001")).toEqual({ unit: 1, area: 4, number: 1, bit: null });
  expect(parseAddress("365536.15")).toEqual({ unit: null, area: 3, number: 65536, bit: 15 });
  expect(parseAddress(" 000010 ")).toEqual({ unit: null, area: 0, number: 10, bit: null });
});

test("a wrong address is answered with the right spelling", () => {
  expect(parseAddress("40001")).toEqual({ key: "addr.five", params: { fixed: "400001" } });
  expect(parseAddress("2!30010")).toEqual({ key: "addr.five", params: { fixed: "2!300010" } });
  expect(parseAddress("7")).toEqual({ key: "addr.five", params: { fixed: "400007" } });
  expect(parseAddress("400000")).toEqual({ key: "addr.zero", params: { fixed: "400001" } });
  expect(parseAddress("465537")).toEqual({ key: "addr.range", params: { last: "465536" } });
  expect(parseAddress("200001")).toEqual({ key: "addr.area" });
  expect(parseAddress("256!400001")).toEqual({ key: "addr.unit" });
  expect(parseAddress("400001.16")).toEqual({ key: "addr.bit" });
  expect(parseAddress("000001.1")).toEqual({ key: "addr.bitArea" });
  for (const text of ["4000011", "x", "1!!400001", "400001.", "-1", "1!"]) expect(parseAddress(text)).toEqual({ key: "addr.form" });
});

test("address, type and access must fit each other", () => {
  expect(checkAddress("400001", "int16", "rw")).toBe(null);
  expect(checkAddress("000001", "bit", "rw")).toBe(null);
  expect(checkAddress("400001.3", "bit", "r")).toBe(null);
  expect(checkAddress("000001", "int16", "r")).toMatchObject({ key: "addr.bitType" });
  expect(checkAddress("400001.3", "int16", "r")).toMatchObject({ key: "addr.bitType" });
  expect(checkAddress("400001", "bit", "r")).toEqual({ key: "addr.needsBit", params: { fixed: "400001.0" } });
  expect(checkAddress("300001", "int16", "rw")).toMatchObject({ key: "err.access" });
  expect(checkAddress("100001", "bit", "rw")).toMatchObject({ key: "err.access" });
  expect(checkAddress("465536", "float", "r")).toMatchObject({ key: "addr.end" });
  expect(checkAddress("", "int16", "r")).toMatchObject({ key: "err.required" });
});

test("types have sizes, orders and column types", () => {
  expect(registersOf("string(9)")).toBe(5);
  expect(ordersOf("float")).toEqual(["ABCD", "CDAB", "BADC", "DCBA"]);
  expect(ordersOf("int16")).toEqual(["AB", "BA"]);
  expect(ordersOf("bit")).toEqual([]);
  expect(ordersOf("uint64")[0]).toBe("ABCDEFGH");
  expect(typeTraits("string(0)")).toBe(null);
  expect(typeTraits("constructor")).toBe(null);
  expect(columnTypeOf("int16", 1)).toBe("bigint");
  expect(columnTypeOf("int16", 0.1)).toBe("double");
  expect(columnTypeOf("uint64", 1)).toBe("ubigint");
  expect(columnTypeOf("string(8)", 1)).toBe("text");
});

test("the next row of the form starts behind the last", () => {
  expect(nextAddress("1!400001", "int16")).toBe("1!400002");
  expect(nextAddress("400001", "double")).toBe("400005");
  expect(nextAddress("400001.3", "bit")).toBe("400001.4");
  expect(nextAddress("400001.15", "bit")).toBe("400002.0");
  expect(nextAddress("465536", "int16")).toBe("");
  expect(nextAddress("bad", "int16")).toBe("");
});
