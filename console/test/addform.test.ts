/* Claims about the "Add Modbus device" form: what it accepts and which documents it makes. */
import { expect, test } from "vitest";
import { checkForm, documentsOf, endpointOf, fieldOfCause, intervalOk, newForm, newRow, slug, type Form } from "../src/addform";

const filled = (change: Partial<Form> = {}): Form => ({
  ...newForm(), host: "10.0.0.7", path: "line3/Press 07",
  points: [
    { ...newRow(), column: "temperature", address: "1!400001", scale: "0.1", unit: "°C" },
    { ...newRow(), column: "running", address: "1!000010", type: "bit", access: "rw" },
  ],
  ...change,
});

test("a filled form has no errors and makes connection, table and device, in this order", () => {
  const f = filled();
  expect(checkForm(f, [])).toEqual({});
  const steps = documentsOf(f, []);
  expect(steps.map((s) => s.plural)).toEqual(["connections", "tables", "devices"]);
  expect(steps[0].doc).toEqual({ apiVersion: "millrace.io/v1", kind: "Connection", metadata: { name: "plc-10-0-0-7" }, spec: { driver: "modbus", endpoint: "tcp://10.0.0.7:502", options: { unit: 1 } } });
  expect(steps[1].doc.spec).toEqual({ columns: [{ name: "temperature", type: "double", unit: "°C" }, { name: "running", type: "bool" }] });
  expect(steps[2].doc).toMatchObject({
    kind: "Device", metadata: { name: "line3.press-07" },
    spec: {
      path: "line3/Press 07", table: "press-07", connection: "plc-10-0-0-7", interval: "1s",
      points: [{ column: "temperature", address: "1!400001", type: "int16", scale: 0.1 }, { column: "running", address: "1!000010", type: "bit", access: "rw" }],
    },
  });
});

test("an existing connection and table are used, not made again", () => {
  const f = filled({ useExisting: true, existing: "line1", table: "press" });
  const tables = [{ name: "press", columns: ["temperature", "running"] }];
  expect(checkForm(f, tables)).toEqual({});
  expect(documentsOf(f, tables).map((s) => s.plural)).toEqual(["devices"]);
});

test("a column that an existing table lacks is named", () => {
  expect(checkForm(filled({ table: "press" }), [{ name: "press", columns: ["temperature"] }])).toEqual({
    "points.1.column": { key: "err.columnUnknown", params: { table: "press" } },
  });
});

test("each wrong field is named by its path", () => {
  const wrong = checkForm(filled({ host: "a b", connName: "x", port: "0", unit: "256", path: "a//b", deviceName: "Up", table: "T_1", interval: "5ms", points: [
    { ...newRow(), column: "time", address: "40001", type: "int17", scale: "0" }, { ...newRow(), column: "a", address: "400001", order: "ABCD" }, { ...newRow(), column: "a", address: "400001" },
  ] }), []);
  expect(Object.keys(wrong).sort()).toEqual(["deviceName", "host", "interval", "path", "points.0.address", "points.0.column", "points.0.scale", "points.0.type", "points.1.order", "points.2.column", "port", "table", "unit"]);
  expect(checkForm(filled({ points: [] }), [])).toMatchObject({ points: { key: "err.points" } });
});

test("endpoints are written as the server reads them", () => {
  expect(endpointOf(filled({ kind: "rtu+tcp", port: "4001" }))).toBe("rtu+tcp://10.0.0.7:4001");
  expect(endpointOf(filled({ host: "fe80::1" }))).toBe("tcp://[fe80::1]:502");
  expect(endpointOf(filled({ kind: "rtu", serial: "/dev/ttyS1", baud: "19200", parity: "even" }))).toBe("rtu:///dev/ttyS1?baud=19200&parity=even");
});

test("names are made from paths", () => {
  expect(slug("Line3/Press 07")).toBe("line3.press-07");
  expect(slug("  -a- ")).toBe("a");
  expect(slug("车间")).toBe("");
});

test("intervals are durations from 10 ms", () => {
  expect(["10ms", "1s", "5m", "1h"].every(intervalOk)).toBe(true);
  expect(["9ms", "1", "s", "1.5s", ""].some(intervalOk)).toBe(false);
});

test("what the server objects to appears beside its control", () => {
  expect(fieldOfCause("devices", "spec.points[2].address")).toBe("points.2.address");
  expect(fieldOfCause("tables", "spec.columns[1].name")).toBe("points.1.column");
  expect(fieldOfCause("connections", "spec.endpoint")).toBe("host");
  expect(fieldOfCause("devices", "spec.other")).toBe("");
});
