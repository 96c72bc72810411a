/* trenddata.ts - from SQL rows to the arrays that uPlot draws. Pure; tested in test/trenddata.test.ts.
 *
 * Three kinds of "nothing", never mixed: `null` is a gap (the value was bad, or rows are missing that should be
 * there); `undefined` only aligns a series to another's times and the line runs through it; a GoodNoData cell is not a
 * sample at all (the point has a longer interval than its neighbours) and is dropped here. */
import { isNoData } from "./format";
import { aggregatesOf, type Column, type Plan } from "./trendquery";

export interface Series {
  times: number[]; // ms, ascending
  line: (number | null)[]; // value, or the window's average
  low: (number | null)[] | null; // only of windows
  high: (number | null)[] | null;
  quality: (string | number | null)[]; // of raw values; null where windows
}

export const emptySeries = (): Series => ({ times: [], line: [], low: null, high: null, quality: [] });

export function toNumber(v: unknown): number | null {
  if (v === null || v === undefined || v === "") return null;
  const n = typeof v === "boolean" ? Number(v) : Number(v);
  return Number.isFinite(n) ? n : null;
}

type Cell = unknown;

/* Splits the answer of trendSql() into one series per asked column. Rows come in any order of time. */
export function extractSeries(plan: Plan, columns: readonly Column[], rows: readonly Cell[][]): Series[] {
  const sorted = [...rows].sort((a, b) => Number(a[0]) - Number(b[0]));
  let at = 1;
  return columns.map((column) => {
    const first = at;
    const names = plan.kind === "raw" ? [] : aggregatesOf(column.type);
    at += plan.kind === "raw" ? 2 : names.length;
    return plan.kind === "raw" ? rawSeries(sorted, first) : windowSeries(sorted, first, names.length === 3);
  });
}

function rawSeries(rows: readonly Cell[][], at: number): Series {
  const s = emptySeries();
  for (const row of rows) {
    const value = toNumber(row[at]), quality = (row[at + 1] ?? null) as string | number | null;
    if (value === null && isNoData(quality)) continue;
    s.times.push(Number(row[0]));
    s.line.push(value);
    s.quality.push(quality);
  }
  return s;
}

function windowSeries(rows: readonly Cell[][], at: number, banded: boolean): Series {
  const s: Series = { ...emptySeries(), low: banded ? [] : null, high: banded ? [] : null };
  for (const row of rows) {
    s.times.push(Number(row[0]));
    s.quality.push(null);
    s.line.push(toNumber(row[banded ? at + 2 : at]));
    s.low?.push(toNumber(row[at]));
    s.high?.push(toNumber(row[at + 1]));
  }
  return s;
}

/* Replaces everything of `old` from `fromMs` on by `fresh`; drops what lies before `keepFromMs`. */
export function mergeTail(old: Series, fresh: Series, fromMs: number, keepFromMs: number): Series {
  let start = 0, end = old.times.length;
  while (start < end && old.times[start] < keepFromMs) start++;
  while (end > start && old.times[end - 1] >= fromMs) end--;
  const join = <T>(a: readonly T[], b: readonly T[]): T[] => a.slice(start, end).concat(b);
  return {
    times: join(old.times, fresh.times),
    line: join(old.line, fresh.line),
    quality: join(old.quality, fresh.quality),
    low: fresh.low && join(old.low ?? [], fresh.low),
    high: fresh.high && join(old.high ?? [], fresh.high),
  };
}

/* Median distance of the rows, or null with fewer than three. */
export function spacingOf(times: readonly number[]): number | null {
  if (times.length < 3) return null;
  const gaps = times.slice(1).map((t, i) => t - times[i]).sort((a, b) => a - b);
  return gaps[gaps.length >> 1];
}

/* The distance above which two neighbours are not joined: five times a *regular* spacing (the node was off between
 * them). Irregular series (stored on change) join whatever the distance: silence there means "unchanged". */
export function breakAfter(times: readonly number[]): number {
  if (times.length < 8) return Infinity;
  const gaps = times.slice(1).map((t, i) => t - times[i]).sort((a, b) => a - b);
  const median = gaps[gaps.length >> 1], p90 = gaps[Math.floor((gaps.length - 1) * 0.9)];
  return p90 <= median * 1.5 ? median * 5 : Infinity;
}

/* Puts a null into each such hole, so that the line breaks there. */
export function withBreaks(s: Series): Series {
  const limit = breakAfter(s.times);
  if (limit === Infinity) return s;
  const out: Series = { times: [], line: [], quality: [], low: s.low && [], high: s.high && [] };
  s.times.forEach((time, i) => {
    if (i > 0 && time - s.times[i - 1] > limit) {
      out.times.push((time + s.times[i - 1]) / 2);
      out.line.push(null);
      out.quality.push(null);
      out.low?.push(null);
      out.high?.push(null);
    }
    out.times.push(time);
    out.line.push(s.line[i]);
    out.quality.push(s.quality[i]);
    out.low?.push(s.low![i]);
    out.high?.push(s.high![i]);
  });
  return out;
}

export type Aligned = (number | null | undefined)[];

/* All series over the union of their times: [seconds, line0, low0, high0, line1, …], uPlot's form. */
export function alignSeries(list: readonly Series[]): [number[], ...Aligned[]] {
  const times = [...new Set(list.flatMap((s) => s.times))].sort((a, b) => a - b);
  const place = new Map(times.map((t, i) => [t, i]));
  const spread = (s: Series, values: readonly (number | null)[] | null): Aligned => {
    const out: Aligned = new Array(times.length).fill(undefined);
    if (values) s.times.forEach((t, i) => { out[place.get(t)!] = values[i]; });
    return out;
  };
  return [times.map((t) => t / 1000), ...list.flatMap((s) => [spread(s, s.line), spread(s, s.low), spread(s, s.high)])];
}

/* Index of the last time <= t, or -1. */
export function indexBefore(times: readonly number[], t: number): number {
  let low = 0, high = times.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (times[middle] <= t) low = middle + 1; else high = middle;
  }
  return low - 1;
}
