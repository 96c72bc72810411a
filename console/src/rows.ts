/* rows.ts - from points to the lines of the table: filtered, grouped by device, folded. Pure; tested in test/rows.test.ts. */
import { qualityText } from "./format";
import { translate } from "./i18n";
import { LANGS } from "./strings";
import type { Point } from "./source";

export type Mode = "all" | "bad" | "writable";
export type Row =
  | { kind: "group"; key: string; device: string; connection: string; count: number; bad: number; folded: boolean }
  | { kind: "point"; key: string; point: Point };

export const isBad = (p: Point): boolean => p.grade !== "good";

/* What a word of the filter is looked for in; the quality in every language, so "无通信" finds what "timeout" finds. */
function haystack(p: Point): string {
  const quality = qualityText(p.quality);
  const words = typeof quality === "string" ? quality : LANGS.map((l) => translate(l, quality.key)).join(" ");
  return [p.device, p.point, p.name, p.unit, p.address, p.description, p.connection, p.table, p.quality ?? "", words].join(" ").toLowerCase();
}

/* Every word of `filter` must be found somewhere in the point. */
export function matches(p: Point, words: readonly string[], mode: Mode): boolean {
  if (mode === "bad" && !isBad(p)) return false;
  if (mode === "writable" && p.access !== "rw") return false;
  if (words.length === 0) return true;
  const text = haystack(p);
  return words.every((w) => text.includes(w));
}

export const wordsOf = (filter: string): string[] => filter.toLowerCase().split(/\s+/).filter(Boolean);

/* `points` are sorted by device. A folded device keeps its heading, whose counts are of what the filter let through. */
export function buildRows(points: readonly Point[], filter: string, mode: Mode, folded: ReadonlySet<string>): Row[] {
  const words = wordsOf(filter);
  const rows: Row[] = [];
  let group: Extract<Row, { kind: "group" }> | null = null;
  for (const p of points) {
    if (!matches(p, words, mode)) continue;
    if (!group || group.device !== p.device) {
      group = { kind: "group", key: `group\n${p.device}`, device: p.device, connection: p.connection, count: 0, bad: 0, folded: folded.has(p.device) };
      rows.push(group);
    }
    group.count++;
    if (isBad(p)) group.bad++;
    if (!group.folded) rows.push({ kind: "point", key: p.key, point: p });
  }
  return rows;
}

/* A path for the last minute's values in a box of `width` × `height`: gaps stay gaps, a flat line runs in the middle. */
export function sparkPath(values: readonly number[], width: number, height: number, slots: number): string {
  const known = values.filter((v) => !Number.isNaN(v));
  if (known.length < 2) return "";
  const low = Math.min(...known), high = Math.max(...known), span = high - low;
  const step = width / Math.max(1, slots - 1), left = width - (values.length - 1) * step;
  let path = "", pen = false;
  values.forEach((v, i) => {
    if (Number.isNaN(v)) { pen = false; return; }
    const y = span > 0 ? height - 1.5 - ((v - low) / span) * (height - 3) : height / 2;
    path += `${pen ? "L" : "M"}${(left + i * step).toFixed(1)} ${y.toFixed(1)}`;
    pen = true;
  });
  return path;
}
