/* trendquery.ts - which SQL answers "draw these columns from A to B". Pure; tested in test/trendquery.test.ts.
 *
 * Few points: every row. Many: one window per few pixels with min, max and average, so that a day of 1 s values costs
 * hundreds of rows, and a spike of one sample still shows in the band. */
import { isBool, isText } from "./format";

export type Plan = { kind: "raw" } | { kind: "window"; widthMs: number; literal: string };

const RAW_ROWS_MAX = 2000;
const WINDOWS_MAX = 800; // about one window a pixel of a panel PC's chart
const WIDTHS_S = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400, 604800];

export function durationLiteral(seconds: number): string {
  if (seconds % 3600 === 0) return `${seconds / 3600}h`;
  return seconds % 60 === 0 ? `${seconds / 60}m` : `${seconds}s`;
}

/* `spacingMs` is the shortest known distance between rows of the series shown. */
export function planTrend(fromMs: number, toMs: number, spacingMs: number): Plan {
  const span = Math.max(1, toMs - fromMs);
  if (span / Math.max(1, spacingMs) <= RAW_ROWS_MAX) return { kind: "raw" };
  const width = WIDTHS_S.find((w) => span / (w * 1000) <= WINDOWS_MAX) ?? WIDTHS_S[WIDTHS_S.length - 1];
  return { kind: "window", widthMs: width * 1000, literal: durationLiteral(width) };
}

export const quoteName = (name: string): string => `"${name.replace(/"/g, '""')}"`;

export interface Column { name: string; type: string }
export const plottable = (type: string): boolean => !isText(type) && type !== "timestamp" && !type.endsWith("[]");

/* How many answer columns stand behind each asked column; trenddata.ts reads by it. */
export const aggregatesOf = (type: string): readonly ("min" | "max" | "avg" | "last")[] =>
  isBool(type) ? ["last"] : ["min", "max", "avg"];

/* The statement for one device's columns of one table; $1 device path, $2 from (included), $3 to (excluded). */
export function trendSql(plan: Plan, table: string, columns: readonly Column[]): string {
  const where = `FROM ${quoteName(table)} WHERE device = $1 AND time >= $2 AND time < $3`;
  if (plan.kind === "raw") {
    const list = columns.map((c) => `${quoteName(c.name)}, quality(${quoteName(c.name)})`).join(", ");
    return `SELECT time, ${list} ${where} ORDER BY time`;
  }
  const list = columns.flatMap((c) => aggregatesOf(c.type).map((f) => `${f}(${quoteName(c.name)})`)).join(", ");
  return `SELECT window_start, ${list} ${where} WINDOW TUMBLE(${plan.literal})`;
}

/* The range to load: a quarter more on each side for panning, whole windows, nothing behind `nowMs`. */
export function loadRange(fromMs: number, toMs: number, plan: Plan, nowMs: number): [number, number] {
  const margin = (toMs - fromMs) / 4;
  const step = plan.kind === "window" ? plan.widthMs : 1000;
  const end = Math.min(toMs + margin, nowMs + 1000);
  return [Math.floor((fromMs - margin) / step) * step, Math.ceil(Math.max(end, fromMs - margin + step) / step) * step];
}
