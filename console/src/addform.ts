/* addform.ts - the "Add Modbus device" form as data: what was typed, what is wrong with it, which documents it makes.
 *
 * Pure; tested in test/addform.test.ts. Errors are kept by field path ("device.path", "points.2.address"), the same
 * paths to which fieldOfCause() maps what the server objects to, so both appear beside the same control. */
import { checkAddress, columnTypeOf, ordersOf, typeTraits } from "./address";
import type { Document, Plural } from "./api";
import type { Message } from "./i18n";

export interface PointRow { column: string; address: string; type: string; order: string; scale: string; unit: string; access: "r" | "rw" }
export interface Form {
  useExisting: boolean;
  existing: string;
  connName: string; kind: string; host: string; port: string; serial: string; baud: string; parity: string; unit: string;
  path: string;
  deviceName: string; // empty: made from the path
  table: string; // empty: made from the path
  interval: string;
  points: PointRow[];
}

export const newRow = (): PointRow => ({ column: "", address: "", type: "int16", order: "", scale: "", unit: "", access: "r" });
export const newForm = (): Form => ({
  useExisting: false, existing: "", connName: "", kind: "tcp", host: "", port: "502", serial: "/dev/ttyUSB0", baud: "9600", parity: "none", unit: "1",
  path: "", deviceName: "", table: "", interval: "1s", points: [{ ...newRow(), address: "400001" }],
});

export const KINDS = ["tcp", "rtu+tcp", "ascii+tcp", "tls", "rtu"] as const;

/* A name as RFC 1123 wants it, from a path: "Line3/Press 07" -> "line3.press-07". */
export function slug(path: string, separator: "." | "-" = "."): string {
  return path.trim().toLowerCase().replace(/\/+/g, separator).replace(/[^a-z0-9.-]+/g, "-")
    .replace(/[-.]{2,}/g, "-").replace(/^[-.]+|[-.]+$/g, "").slice(0, 63).replace(/[-.]+$/, "");
}

export const deviceNameOf = (f: Form): string => f.deviceName.trim() || slug(f.path);
export const tableNameOf = (f: Form): string => f.table.trim() || slug(f.path.split("/").pop() ?? "", "-").replace(/\./g, "-");
export const connNameOf = (f: Form): string => f.connName.trim() || (f.kind === "rtu" ? slug(f.serial.replace("/dev/", "")) : f.host ? slug(`plc-${f.host}`, "-").replace(/\./g, "-") : "");

export function endpointOf(f: Form): string {
  if (f.kind === "rtu") return `rtu://${f.serial.trim()}?baud=${f.baud}&parity=${f.parity}`;
  const host = f.host.trim();
  return `${f.kind}://${host.includes(":") && !host.startsWith("[") ? `[${host}]` : host}:${f.port.trim()}`;
}

export type Errors = Record<string, Message>;
export interface KnownTable { name: string; columns: string[] }

const NAME = /^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$/;
const RESERVED = new Set(["time", "device", "quality", "received"]);
const SEGMENT_BAD = /[+#"\u0000-\u001f]/;
const DURATION = /^(\d+)(ms|s|m|h)$/;
const DURATION_MS: Record<string, number> = { ms: 1, s: 1000, m: 60e3, h: 3600e3 };

const whole = (text: string, low: number, high: number): boolean => /^\d+$/.test(text.trim()) && Number(text) >= low && Number(text) <= high;
const nameError = (name: string): Message | null => (name === "" ? { key: "err.required" } : NAME.test(name) ? null : { key: "err.name" });

function connectionErrors(f: Form, put: (field: string, m: Message | null) => void): void {
  if (f.useExisting) {
    put("existing", f.existing ? null : { key: "err.required" });
    return;
  }
  put("connName", nameError(connNameOf(f)));
  put("unit", whole(f.unit, 0, 255) ? null : { key: "err.unit" });
  if (f.kind === "rtu") put("serial", /^\/\S+$/.test(f.serial.trim()) ? null : { key: "err.serial" });
  else {
    put("host", f.host.trim() === "" ? { key: "err.required" } : /^[A-Za-z0-9_.:[\]-]+$/.test(f.host.trim()) ? null : { key: "err.host" });
    put("port", whole(f.port, 1, 65535) ? null : { key: "err.port" });
  }
}

export function intervalOk(text: string): boolean {
  const m = DURATION.exec(text.trim());
  return m !== null && Number(m[1]) * DURATION_MS[m[2]] >= 10;
}

function pointErrors(row: PointRow, at: string, seen: Set<string>, table: KnownTable | undefined, put: (field: string, m: Message | null) => void): void {
  const column = row.column.trim();
  if (column === "") put(`${at}.column`, { key: "err.required" });
  else if (SEGMENT_BAD.test(column) || /[/@]/.test(column) || RESERVED.has(column.toLowerCase())) put(`${at}.column`, { key: "err.column" });
  else if (seen.has(column)) put(`${at}.column`, { key: "err.columnTwice" });
  else if (table && !table.columns.includes(column)) put(`${at}.column`, { key: "err.columnUnknown", params: { table: table.name } });
  seen.add(column);
  put(`${at}.type`, typeTraits(row.type) ? null : { key: "err.type" });
  put(`${at}.address`, checkAddress(row.address, row.type, row.access));
  const orders = ordersOf(row.type);
  put(`${at}.order`, row.order === "" || orders.includes(row.order) ? null : { key: "err.order", params: { orders: orders.join(", ") || "–" } });
  put(`${at}.scale`, row.scale.trim() === "" || (Number.isFinite(Number(row.scale)) && Number(row.scale) !== 0) ? null : { key: "err.scale" });
}

export function checkForm(f: Form, tables: readonly KnownTable[]): Errors {
  const errors: Errors = {};
  const put = (field: string, m: Message | null): void => { if (m) errors[field] = m; };
  connectionErrors(f, put);
  const path = f.path.trim();
  put("path", path === "" ? { key: "err.required" } : path.split("/").some((s) => s.trim() === "" || SEGMENT_BAD.test(s)) ? { key: "err.path" } : null);
  put("deviceName", nameError(deviceNameOf(f)));
  put("table", nameError(tableNameOf(f)));
  put("interval", intervalOk(f.interval) ? null : { key: "err.interval" });
  if (f.points.length === 0) errors.points = { key: "err.points" };
  const seen = new Set<string>(), table = tables.find((k) => k.name === tableNameOf(f));
  f.points.forEach((row, i) => pointErrors(row, `points.${i}`, seen, table, put));
  return errors;
}

export interface Step { plural: Plural; doc: Document }

const document = (kind: string, name: string, spec: Record<string, unknown>): Document => ({ apiVersion: "millrace.io/v1", kind, metadata: { name }, spec });

function pointSpec(row: PointRow): Record<string, unknown> {
  const scale = row.scale.trim() === "" ? 1 : Number(row.scale);
  return {
    column: row.column.trim(), address: row.address.trim(), type: row.type,
    ...(row.order ? { order: row.order } : {}),
    ...(scale !== 1 ? { scale } : {}),
    ...(row.access === "rw" ? { access: "rw" } : {}),
  };
}

/* The documents to create, in the order in which they refer to each other. `f` has passed checkForm(). */
export function documentsOf(f: Form, tables: readonly KnownTable[]): Step[] {
  const steps: Step[] = [], connection = f.useExisting ? f.existing : connNameOf(f), table = tableNameOf(f);
  if (!f.useExisting)
    steps.push({ plural: "connections", doc: document("Connection", connection, { driver: "modbus", endpoint: endpointOf(f), options: { unit: Number(f.unit) } }) });
  if (!tables.some((k) => k.name === table)) {
    const columns = f.points.map((r) => ({
      name: r.column.trim(), type: columnTypeOf(r.type, r.scale.trim() === "" ? 1 : Number(r.scale)), ...(r.unit.trim() ? { unit: r.unit.trim() } : {}),
    }));
    steps.push({ plural: "tables", doc: document("Table", table, { columns }) });
  }
  steps.push({
    plural: "devices",
    doc: document("Device", deviceNameOf(f), { path: f.path.trim(), table, connection, interval: f.interval.trim(), points: f.points.map(pointSpec) }),
  });
  return steps;
}

/* The control beside which a server's cause belongs: "spec.points[2].address" of a device -> "points.2.address".
 * An unknown field gives "" and is shown above the buttons. */
export function fieldOfCause(plural: Plural, field: string): string {
  const m = /^(?:spec\.)?(points|columns)\[(\d+)\](?:\.(\w+))?/.exec(field);
  if (m) {
    const inner = m[1] === "columns" ? ({ name: "column", type: "type", unit: "unit" } as Record<string, string>)[m[3] ?? "name"] ?? "column" : m[3] ?? "column";
    return `points.${m[2]}.${inner}`;
  }
  const CONTROLS: Record<Plural, Record<string, string>> = {
    connections: { "metadata.name": "connName", "spec.endpoint": "host", "spec.options.unit": "unit", "spec.driver": "kind" },
    tables: { "metadata.name": "table", "spec.name": "table", "spec.columns": "points" },
    devices: { "metadata.name": "deviceName", "spec.path": "path", "spec.table": "table", "spec.connection": "existing", "spec.interval": "interval", "spec.points": "points" },
  };
  return CONTROLS[plural][field] ?? "";
}
