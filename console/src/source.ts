/* source.ts - where live values come from. The rest of the console reads the signals below and does not know how they
 * are filled: by asking v1/sql for sys.points once a second. The WebSocket v1/live would not do: it carries rows that are
 * stored, and a point with a deadband or `store: change` is read, and grows older or bad, without a row.
 *
 * The full list of points is read at the start, every CATALOGUE_MS, and whenever the answer names a point that is not
 * known; in between only the six columns that move. No request is sent while the tab is hidden, and never two at once:
 * on a slow line the pause grows with the answer's time. */
import { signal } from "@preact/signals";
import { ApiError, sql, type SqlResult } from "./api";
import { noteServerTime, serverNow } from "./clock";
import { decimalsNeeded, gradeOf, parseTime, type Grade } from "./format";

export interface Point {
  key: string;
  namespace: string;
  device: string;
  name: string; // the Device's metadata.name: what a write is addressed to
  table: string;
  point: string;
  type: string;
  unit: string;
  address: string;
  access: string;
  connection: string;
  description: string;
  min: number | null;
  max: number | null;
  value: string | null;
  number: number | null;
  quality: string | null;
  grade: Grade;
  timeMs: number | null;
  decimals: number; // most decimals this point has needed
  changes: number; // counts changed values: the table flashes on it
  recent: number[]; // the last RECENT_MAX polled numbers, NaN where bad
}

export interface Connection {
  name: string; driver: string; endpoint: string; state: string; rttMs: number | null;
  requests: number; errors: number; bytesIn: number; bytesOut: number;
  lastError: string; lastErrorFrame: string; lastErrorMs: number | null;
}

export const points = signal<readonly Point[]>([]); // a new array when points come or go
export const connections = signal<readonly Connection[]>([]);
export const tick = signal(0); // counts answers: values inside `points` have moved
export const loaded = signal(false);
export const failure = signal<{ message: string; sinceMs: number } | null>(null);

const POLL_MS = 1000;
const CATALOGUE_MS = 30000;
const RECENT_MAX = 60;
const COLUMNS = ["namespace", "device", "table", "point", "value", "number", "quality", "time"];
const VALUES_SQL = `SELECT ${COLUMNS.map((c) => `"${c}"`).join(", ")} FROM sys.points`;

const byKey = new Map<string, Point>();
let catalogueAt = -Infinity;
let timer: ReturnType<typeof setTimeout> | null = null;
let running = false;
let busy = false;
let generation = 0; // a stopped source drops answers still under way

type Row = Record<string, unknown>;

function rowsOf(result: SqlResult): Row[] {
  const names = result.columns.map((c) => c.name);
  return result.rows.map((cells) => Object.fromEntries(names.map((name, i) => [name, cells[i]])));
}

const text = (v: unknown): string => (v === null || v === undefined ? "" : String(v));
const numberOf = (v: unknown): number | null => (v === null || v === undefined || v === "" || !Number.isFinite(Number(v)) ? null : Number(v));
const keyOf = (r: Row): string => [r.namespace, r.device, r.table, r.point].map(text).join("\n");

function newPoint(r: Row): Point {
  return {
    key: keyOf(r), namespace: text(r.namespace), device: text(r.device), name: text(r.name), table: text(r.table), point: text(r.point),
    type: text(r.type), unit: text(r.unit), address: text(r.address), access: text(r.access), connection: text(r.connection),
    description: text(r.description), min: numberOf(r.min), max: numberOf(r.max),
    value: null, number: null, quality: null, grade: "none", timeMs: null, decimals: 0, changes: 0, recent: [],
  };
}

/* Moves one point to what the row says. */
function move(p: Point, r: Row): void {
  const value = r.value === null || r.value === undefined ? null : String(r.value);
  if (value !== p.value && p.timeMs !== null) p.changes++;
  p.value = value;
  p.number = value === null ? null : numberOf(r.number);
  p.quality = r.quality === null || r.quality === undefined ? null : String(r.quality);
  p.grade = gradeOf(p.quality);
  p.timeMs = parseTime(r.time);
  if (p.number !== null) p.decimals = Math.max(p.decimals, decimalsNeeded(p.number));
  p.recent.push(p.number === null ? (value === "true" ? 1 : value === "false" ? 0 : NaN) : p.number);
  if (p.recent.length > RECENT_MAX) p.recent.shift();
  if (p.timeMs !== null) noteServerTime(p.timeMs);
}

function takeCatalogue(rows: Row[]): void {
  const list: Point[] = [];
  const old = new Map(byKey);
  byKey.clear();
  for (const r of rows) {
    const fresh = newPoint(r), known = old.get(fresh.key);
    if (known) {
      const { value, number, quality, grade, timeMs, decimals, changes, recent } = known;
      Object.assign(known, fresh, { value, number, quality, grade, timeMs, decimals, changes, recent });
    }
    const p = known ?? fresh;
    move(p, r);
    byKey.set(p.key, p);
    list.push(p);
  }
  // Devices in order of their path; points as their table has them.
  const order = new Map(list.map((p, i) => [p.key, i]));
  list.sort((a, b) => (a.device < b.device ? -1 : a.device > b.device ? 1 : order.get(a.key)! - order.get(b.key)!));
  points.value = list;
  catalogueAt = Date.now();
}

/* Gives false when the answer is not about the points we know. */
function takeValues(rows: Row[]): boolean {
  if (rows.length !== byKey.size) return false;
  for (const r of rows) {
    const p = byKey.get(keyOf(r));
    if (!p) return false;
    move(p, r);
  }
  return true;
}

function takeConnections(rows: Row[]): void {
  connections.value = rows.map((r) => ({
    name: text(r.name), driver: text(r.driver), endpoint: text(r.endpoint), state: text(r.state), rttMs: numberOf(r.rtt_ms),
    requests: numberOf(r.requests) ?? 0, errors: numberOf(r.errors) ?? 0, bytesIn: numberOf(r.bytes_in) ?? 0, bytesOut: numberOf(r.bytes_out) ?? 0,
    lastError: text(r.last_error), lastErrorFrame: text(r.last_error_frame), lastErrorMs: parseTime(r.last_error_time),
  }));
}

async function poll(): Promise<void> {
  const mine = generation;
  const full = Date.now() - catalogueAt > CATALOGUE_MS;
  const [values, lines] = await Promise.all([
    sql(full ? "SELECT * FROM sys.points" : VALUES_SQL),
    sql("SELECT * FROM sys.connections"),
  ]);
  if (mine !== generation) return;
  if (full) takeCatalogue(rowsOf(values));
  else if (!takeValues(rowsOf(values))) catalogueAt = -Infinity;
  takeConnections(rowsOf(lines));
}

async function turn(): Promise<void> {
  if (busy || !running) return;
  busy = true;
  const start = Date.now(), mine = generation;
  try {
    if (!document.hidden) await poll();
    if (mine === generation && !document.hidden) {
      failure.value = null;
      loaded.value = true;
    }
  } catch (e) {
    if (mine === generation && !(e instanceof ApiError && e.status === 401))
      failure.value = { message: e instanceof Error ? e.message : String(e), sinceMs: failure.value?.sinceMs ?? serverNow() };
  } finally {
    busy = false;
  }
  if (running && mine === generation) tick.value++;
  const spent = Date.now() - start;
  if (running && !document.hidden) schedule(Math.max(POLL_MS - spent, Math.min(3 * spent, 10 * POLL_MS), 50));
}

function schedule(delayMs: number): void {
  if (timer) clearTimeout(timer);
  timer = setTimeout(() => void turn(), delayMs);
}

const onVisible = (): void => { if (!document.hidden && running) schedule(0); };

export function start(): void {
  if (running) return;
  running = true;
  generation++;
  document.addEventListener("visibilitychange", onVisible);
  schedule(0);
}

/* Forgets everything: what a signed-out person sees must not be another's values. */
export function stop(): void {
  running = false;
  generation++;
  if (timer) clearTimeout(timer);
  document.removeEventListener("visibilitychange", onVisible);
  byKey.clear();
  catalogueAt = -Infinity;
  points.value = [];
  connections.value = [];
  loaded.value = false;
  failure.value = null;
}

/* Reads the list of points anew at once (a device was added). */
export function refresh(): void {
  catalogueAt = -Infinity;
  if (running) schedule(0);
}

export const pointByKey = (key: string): Point | undefined => byKey.get(key);
