/* mock.mjs - a small node that speaks the console's part of the HTTP API, with a plant that moves.
 *
 *   node test/mock.mjs [--port N] [--points N] [--empty]     then open the printed address; user admin, password admin
 *
 * For looking at the page and for its pictures, without a built Millrace. It knows only the statements that the console
 * sends (any other is answered 400, so that a new statement is noticed). `--points` adds devices for the list's size. */
import { createHash, randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const option = (name, fallback) => { const i = process.argv.indexOf(name); return i < 0 ? fallback : process.argv[i + 1]; };
const dist = join(dirname(fileURLToPath(import.meta.url)), "..", "dist");
const TYPES = { html: "text/html; charset=utf-8", js: "text/javascript; charset=utf-8", css: "text/css; charset=utf-8", svg: "image/svg+xml" };
const sessions = new Set();

/* ---- the plant: each point is a function of time, so that history and live values agree ---- */

const noise = (seed, t) => {
  const h = createHash("md5").update(`${seed}:${Math.floor(t)}`).digest();
  return h.readUInt32LE(0) / 2 ** 31 - 1;
};
const DAY = 86400;
const written = new Map();
const cycle = (t, period, duty) => ((t % period) + period) % period < period * duty;
const round = (v, d) => Math.round(v * 10 ** d) / 10 ** d;
const outage = (t) => ((t % 5400) + 5400) % 5400 > 5220; // three minutes in ninety

const PLANT = [
  ["hall/climate", "hall", "plc-hall", [
    ["temperature", "double", "°C", "300001", "r", (t) => round(21.5 + 2.2 * Math.sin((2 * Math.PI * t) / DAY) + 0.4 * Math.sin(t / 310) + 0.05 * noise("ht", t), 1), "Air temperature, north side"],
    ["humidity", "double", "%", "300002", "r", (t) => round(46 - 6 * Math.sin((2 * Math.PI * t) / DAY) + 1.2 * Math.sin(t / 450) + 0.3 * noise("hh", t), 1), "Relative humidity"]]],
  ["line1/press01", "press", "line1-plc", [
    ["setpoint", "double", "°C", "1!400001", "rw", () => written.get("setpoint") ?? 180, "Platen set point", 20, 240],
    ["temperature", "double", "°C", "1!400002", "r", (t) => round(180 + 3.5 * Math.sin(t / 47) + 1.5 * Math.sin(t / 11) + 0.4 * noise("p1", t), 1), "Platen temperature"],
    ["pressure", "double", "bar", "1!400003", "r", (t) => round((cycle(t, 24, 0.55) ? 148 : 12) + 2.5 * noise("pp", t), 1), "Hydraulic pressure"],
    ["strokes", "bigint", "", "1!400004", "r", (t) => Math.floor((t - 1.79e9) / 24), "Stroke counter"],
    ["running", "bool", "", "1!100001", "r", (t) => cycle(t, 900, 0.85), "Main drive"],
    ["lamp", "bool", "", "1!000001", "rw", () => written.get("lamp") ?? false, "Beacon"],
    ["order", "text", "", "1!400100", "r", (t) => `A-${4700 + (Math.floor(t / 1800) % 90)}`, "Production order"]]],
  ["line1/press02", "press", "line1-plc", [
    ["temperature", "double", "°C", "2!400002", "r", (t) => round(174 + 4 * Math.sin(t / 61 + 2) + 0.5 * noise("p2", t), 1), "Platen temperature"],
    ["pressure", "double", "bar", "2!400003", "r", (t) => round((cycle(t + 9, 27, 0.5) ? 141 : 11) + 2 * noise("pq", t), 1), "Hydraulic pressure"],
    ["strokes", "bigint", "", "2!400004", "r", (t) => Math.floor((t - 1.79e9) / 27), "Stroke counter"],
    ["running", "bool", "", "2!100001", "r", (t) => cycle(t, 1300, 0.7), "Main drive"]]],
  ["line1/pump", "pump", "line1-plc", [
    ["flow", "double", "m³/h", "3!400001", "r", (t) => (noise("pf", t / 3) > 0.96 ? null : round(42.6 + 3 * Math.sin(t / 130) + 0.6 * noise("fl", t), 2)), "Cooling water"],
    ["speed", "double", "1/min", "3!400003", "r", (t) => Math.round(1450 + 20 * Math.sin(t / 130) + 4 * noise("sp", t)), "Motor speed"],
    ["power", "double", "kW", "3!400005", "r", (t) => round(7.4 + 0.6 * Math.sin(t / 130) + 0.1 * noise("pw", t), 2), "Electrical power"],
    ["vibration", "double", "mm/s", "3!400007", "r", (t) => round(1.9 + 0.3 * Math.abs(noise("vi", t)) + (noise("vx", t / 2) > 0.97 ? 2.6 : 0), 2), "RMS velocity, bearing 1"]]],
  ["furnace/zone1", "furnace", "furnace-rtu", [
    ["temperature", "double", "°C", "11!400001", "r", (t) => (outage(t) ? null : round(862 + 6 * Math.sin(t / 400) + 0.3 * noise("fz", t), 1)), "Thermocouple S"],
    ["setpoint", "double", "°C", "11!400002", "rw", () => written.get("zone1") ?? 865, "Zone set point", 0, 1100],
    ["heater", "double", "%", "11!400003", "r", (t) => (outage(t) ? null : round(58 - 9 * Math.sin(t / 400) + 2 * noise("fh", t), 1)), "Heater output"]]],
  ["utilities/meter", "energy", "meter-tcp", [
    ["active_power", "double", "kW", "300101", "r", () => null, "Main feed"],
    ["energy", "double", "kWh", "300103", "r", () => null, "Counter"]]],
];

const connections = [
  { name: "line1-plc", driver: "modbus", endpoint: "tcp://10.0.0.7:502", state: "connected", rtt_ms: 2.4, requests: 184213, errors: 3, bytes_in: 9482113, bytes_out: 2210556, last_error: "", last_error_frame: "", last_error_time: null },
  { name: "plc-hall", driver: "modbus", endpoint: "tcp://10.0.0.21:502", state: "connected", rtt_ms: 4.1, requests: 61404, errors: 0, bytes_in: 1412292, bytes_out: 736848, last_error: "", last_error_frame: "", last_error_time: null },
  { name: "furnace-rtu", driver: "modbus", endpoint: "rtu:///dev/ttyUSB0?baud=19200&parity=even", state: "connected", rtt_ms: 38.2, requests: 40211, errors: 57, bytes_in: 522743, bytes_out: 321688, last_error: "unit 11: registers 400001-400003: no answer after 3 tries of 500 ms", last_error_frame: "0b0300000003049d", last_error_time: Date.now() - 95000 },
  { name: "meter-tcp", driver: "modbus", endpoint: "tcp://10.0.0.44:502", state: "down", rtt_ms: null, requests: 812, errors: 812, bytes_in: 0, bytes_out: 9744, last_error: "connect to 10.0.0.44:502: connection refused (next try in 8 s)", last_error_frame: "", last_error_time: Date.now() - 4000 },
];

let plant = process.argv.includes("--empty") ? [] : PLANT.map(([path, table, connection, points]) => ({
  path: `acme/sz/plant1/${path}`, name: path.replace(/\//g, "."), table, connection,
  points: points.map(([point, type, unit, address, access, at, description, min, max]) => ({ point, type, unit, address, access, at, description, min, max })),
}));
if (plant.length === 0) connections.length = 0;
for (let i = 0; plant.length > 0 && plant.reduce((n, d) => n + d.points.length, 0) < Number(option("--points", 0)); i++)
  plant.push({
    path: `acme/sz/plant1/line2/cell${String(i).padStart(3, "0")}`, name: `line2.cell${String(i).padStart(3, "0")}`, table: "cell", connection: "line1-plc",
    points: Array.from({ length: 50 }, (_, k) => ({ point: `ch${k}`, type: "double", unit: k % 2 ? "V" : "A", address: `${i + 20}!40${String(k + 1).padStart(4, "0")}`, access: "r", at: (t) => round(10 + k + Math.sin(t / (7 + k) + i), 2), description: "" })),
  });

const created = { connections: [], tables: [], devices: [] };

/* ---- the statements ---- */

const POINT_COLUMNS = ["namespace", "device", "name", "table", "point", "type", "unit", "address", "access", "connection", "value", "number", "quality", "time", "min", "max", "description"];

function pointRow(d, p, now) {
  const value = p.at(now / 1000), down = d.connection === "meter-tcp";
  const quality = value !== null ? (p.point === "vibration" && value > 4 ? "UncertainEngineeringUnitsExceeded" : "Good") : down ? "BadNoCommunication" : p.point === "flow" ? "BadSensorFailure" : "BadTimeout";
  const time = down ? now - 3720e3 : p.access === "rw" ? now - 4 * 3600e3 : Math.floor(now / 1000) * 1000;
  return ["default", d.path, d.name, d.table, p.point, p.type, p.unit, p.address, p.access, d.connection, value === null ? null : String(value),
    typeof value === "number" ? value : typeof value === "boolean" ? Number(value) : null, quality, time, p.min ?? null, p.max ?? null, p.description];
}

function sysPoints(query) {
  const now = Date.now(), all = plant.flatMap((d) => d.points.map((p) => pointRow(d, p, now)));
  const names = query.includes("*") ? POINT_COLUMNS : [...query.matchAll(/"(\w+)"/g)].map((m) => m[1]);
  const at = names.map((n) => POINT_COLUMNS.indexOf(n));
  return { columns: names.map((name) => ({ name, type: "text" })), rows: all.map((r) => at.map((i) => r[i])) };
}

const SECONDS = { s: 1, m: 60, h: 3600 };

function history(query, [device, from, to]) {
  const m = /FROM "([^"]+)" WHERE device = \$1 AND time >= \$2 AND time < \$3 (ORDER BY time|WINDOW TUMBLE\((\d+)([smh])\))$/.exec(query);
  const d = m && plant.find((k) => k.path === device && k.table === m[1]);
  if (!d) return null;
  const start = Date.parse(from) / 1000, end = Math.min(Date.parse(to), Date.now()) / 1000;
  const asked = [...query.matchAll(/(quality|min|max|avg|last)?\(?"(\w+)"\)?/g)].slice(0, -1).map(([, f, name]) => [f, d.points.find((p) => p.point === name)]);
  const rows = [], width = m[3] ? Number(m[3]) * SECONDS[m[4]] : 1;
  const nightOff = (t) => width < 60 && t % 3600 > 1500 && t % 3600 < 1560; // a minute in which the node was off
  for (let t = Math.ceil(start / width) * width; t < end; t += width) {
    if (nightOff(t)) continue;
    const row = [t * 1000];
    for (const [f, p] of asked) {
      if (!m[3]) row.push(f ? (p.at(t) === null ? "BadTimeout" : "Good") : p.at(t));
      else {
        const parts = Array.from({ length: 8 }, (_, i) => p.at(t + (i * width) / 8)).filter((v) => v !== null);
        row.push(parts.length === 0 ? null : f === "last" ? parts[parts.length - 1] : f === "avg" ? parts.reduce((a, b) => a + b, 0) / parts.length : Math[f](...parts));
      }
    }
    rows.push(row);
  }
  return { columns: [{ name: "time", type: "timestamp" }], rows, stats: { rows: rows.length } };
}

function sql({ query, params }) {
  if (/ FROM sys\.points$/.test(query)) return sysPoints(query);
  if (query === "SELECT * FROM sys.connections") {
    for (const c of connections) if (c.state === "connected") { c.requests += 4; c.bytes_in += 260; c.bytes_out += 48; }
    const names = Object.keys(connections[0] ?? { name: "" });
    return { columns: names.map((name) => ({ name, type: "text" })), rows: connections.map((c) => names.map((n) => c[n])) };
  }
  return history(query, params);
}

/* ---- resources and writes ---- */

const status = (code, message, causes = []) => [code, { kind: "Status", status: "Failure", message, code, details: { causes } }];

function create(plural, doc) {
  const name = doc.metadata.name;
  if (created[plural].some((d) => d.metadata.name === name) || (plural === "connections" && connections.some((c) => c.name === name)))
    return status(409, `${plural} "${name}" already exists`);
  if (plural === "devices" && doc.spec.points.some((p) => p.address.endsWith("409999")))
    return status(422, "Device is invalid", [{ field: `spec.points[${doc.spec.points.findIndex((p) => p.address.endsWith("409999"))}].address`, message: "register 409999: the device does not have it" }]);
  created[plural].push(doc);
  if (plural === "connections") connections.push({ name, driver: "modbus", endpoint: doc.spec.endpoint, state: "connected", rtt_ms: 3.2, requests: 1, errors: 0, bytes_in: 0, bytes_out: 0, last_error: "", last_error_frame: "", last_error_time: null });
  if (plural === "devices") {
    const columns = created.tables.find((t) => t.metadata.name === doc.spec.table)?.spec.columns ?? [];
    plant.push({ path: `acme/sz/plant1/${doc.spec.path}`, name, table: doc.spec.table, connection: doc.spec.connection, points: doc.spec.points.map((p, i) => {
      const column = columns.find((c) => c.name === p.column);
      return { point: p.column, type: column?.type ?? "double", unit: column?.unit ?? "", address: p.address, access: p.access ?? "r", description: "",
        at: (t) => (column?.type === "bool" ? cycle(t, 9 + i, 0.5) : column?.type === "bigint" ? Math.round(1200 + 40 * Math.sin(t / 9 + i)) : round(50 + 8 * Math.sin(t / 13 + i) + 0.3 * noise(i, t), 1)) };
    }) });
  }
  return [201, doc];
}

function write(device, { point, value, reason }) {
  const p = plant.find((d) => d.name === device)?.points.find((k) => k.point === point);
  if (!p || p.access !== "rw") return status(409, `device ${device}: point ${point} is not writable`);
  if (!reason) return status(400, "a reason is required");
  if (value === 181) return status(504, `device ${device}: register ${p.address}: no answer after 3 tries of 500 ms`);
  written.set(device === "furnace.zone1" ? "zone1" : point, value);
  return [200, { value, readBack: value, time: new Date().toISOString() }];
}

/* ---- HTTP ---- */

function answer(method, url, body, cookie) {
  if (method === "POST" && url === "/v1/login") {
    if (body.user !== "admin" || body.password !== "admin") return [401, { error: { code: "login", message: "user or password is wrong" } }];
    const token = randomBytes(16).toString("hex");
    sessions.add(token);
    return [200, { token, user: "admin", role: "admin" }, { "Set-Cookie": `millrace=${token}; HttpOnly; SameSite=Strict; Path=/` }];
  }
  if (!sessions.has(/millrace=(\w+)/.exec(cookie ?? "")?.[1])) return [401, { error: { code: "login", message: "log in first" } }];
  if (url === "/v1/about") return [200, { version: "0.1.0", tier: "edge", node: { name: "gw7", path: "acme/sz/plant1" }, modules: [] }];
  if (url === "/v1/logout") { sessions.clear(); return [204, null]; }
  if (url === "/v1/sql?time=ms") { const r = sql(body); return r ? [200, r] : [400, { error: { code: "syntax", message: `unknown statement: ${body.query}`, position: 1 } }]; }
  const m = /^\/apis\/millrace\.io\/v1\/namespaces\/default\/(connections|tables|devices)(?:\/([^/]+)\/write)?$/.exec(url);
  if (m && m[2]) return write(decodeURIComponent(m[2]), body);
  if (m) return method === "GET" ? [200, { items: created[m[1]] }] : create(m[1], body);
  return [404, { error: { code: "path", message: `no such path: ${url}` } }];
}

const CSP = "default-src 'self'; style-src 'self'";
const server = createServer((req, res) => {
  const name = req.url === "/" ? "index.html" : req.url.slice(1);
  if (req.method === "GET" && ["index.html", "app.js", "app.css", "icon.svg"].includes(name)) {
    res.writeHead(200, { "Content-Type": TYPES[name.split(".").pop()], "Content-Security-Policy": CSP });
    res.end(readFileSync(join(dist, name)));
    return;
  }
  let text = "";
  req.on("data", (chunk) => { text += chunk; });
  req.on("end", () => {
    const [code, body, headers] = answer(req.method, req.url, text ? JSON.parse(text) : null, req.headers.cookie);
    res.writeHead(code, { "Content-Type": "application/json", ...headers });
    res.end(body === null ? "" : JSON.stringify(body));
  });
});
server.listen(Number(option("--port", 0)), "127.0.0.1", () => console.log(`http://127.0.0.1:${server.address().port}/`));
