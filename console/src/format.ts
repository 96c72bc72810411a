/* format.ts - values, ages and quality as a person reads them. Pure: no signal, no clock; tested in test/format.test.ts.
 *
 * A value keeps a steady number of decimals (those its point has needed so far), so that a column of digits does not
 * jump when 23.40 becomes 23.4. */
import { STRINGS, type Key } from "./strings";
import type { Message } from "./i18n";

const DIGITS_MAX = 6; // significant digits shown in the table; the trend's cursor shows the same
const DECIMALS_MAX = 6;

/* How many decimals `n` needs at DIGITS_MAX significant digits: 23.4 -> 1, 0.1 + 0.2 -> 1, 1e-5 -> 5. */
export function decimalsNeeded(n: number): number {
  if (!Number.isFinite(n) || Number.isInteger(n)) return 0;
  const short = Number(n.toPrecision(DIGITS_MAX));
  const text = String(short);
  const e = text.indexOf("e-");
  if (e >= 0) return Math.min(DECIMALS_MAX, Number(text.slice(e + 2)));
  const dot = text.indexOf(".");
  return dot < 0 ? 0 : Math.min(DECIMALS_MAX, text.length - dot - 1);
}

/* A number with `decimals` places; very large and very small ones in powers of ten. */
export function formatNumber(n: number, decimals = decimalsNeeded(n)): string {
  const size = Math.abs(n);
  if (size >= 1e15 || (size > 0 && size < 10 ** -DECIMALS_MAX)) return n.toExponential(3).replace("-", "\u2212").replace("e\u2212", "e-");
  const text = n.toFixed(Math.min(decimals, Math.max(0, 15 - Math.ceil(Math.log10(size + 1)))));
  if (Number(text) === 0) return text.replace("-", "");
  return text.replace("-", "\u2212");
}

export const isBool = (type: string): boolean => type === "bool" || type === "boolean" || type === "bit";
export const isText = (type: string): boolean => type === "text" || type === "bytes" || type.startsWith("string");
export const isInteger = (type: string): boolean => /^u?(big)?int(eger|\d*)$/.test(type);

/* What the value cell shows, without the unit. `value` is the server's text, `number` its number where it is one. */
export function formatValue(type: string, value: string | null, number: number | null, decimals: number): string | Message {
  if (value === null && number === null) return { key: "value.none" };
  if (isBool(type)) return { key: value === "true" || value === "1" || value === "t" || (value === null && number !== 0) ? "value.on" : "value.off" };
  if (isText(type) || number === null) return value ?? "";
  // Integers above 2^53 survive only as the server's text.
  if (Math.abs(number) > Number.MAX_SAFE_INTEGER && value !== null && isInteger(type)) return value;
  return formatNumber(number, decimals);
}

const SECOND = 1000, MINUTE = 60 * SECOND, HOUR = 60 * MINUTE, DAY = 24 * HOUR;

/* An age as one number and one unit, rounded down: "3 s", "4 min". Clocks that disagree a little never show "-1 s". */
export function formatAge(ageMs: number | null): Message {
  if (ageMs === null || !Number.isFinite(ageMs)) return { key: "age.none" };
  if (ageMs < SECOND) return { key: "age.now" };
  const [key, size]: [Key, number] =
    ageMs < MINUTE ? ["age.s", SECOND] : ageMs < HOUR ? ["age.min", MINUTE] : ageMs < 2 * DAY ? ["age.h", HOUR] : ["age.d", DAY];
  return { key, params: { n: Math.floor(ageMs / size) } };
}

export type Grade = "good" | "uncertain" | "bad" | "none";

/* The OPC UA severity of a status: its two top bits as a number, its first word as a name. */
export function gradeOf(quality: string | number | null): Grade {
  if (quality === null || quality === "") return "none";
  const code = typeof quality === "number" ? quality : /^\d+$/.test(quality) ? Number(quality) : null;
  if (code !== null) return (["good", "uncertain", "bad", "bad"] as const)[Math.floor(code / 2 ** 30) % 4];
  if (quality === "BadWaitingForInitialData") return "none";
  const name = String(quality);
  return name.startsWith("Good") ? "good" : name.startsWith("Uncertain") ? "uncertain" : "bad";
}

const GOOD_NO_DATA = 0x00a50000;
/* A NULL that means "nothing was due here" and is no gap (INTERFACES, Values). */
export const isNoData = (q: string | number | null): boolean =>
  q === "GoodNoData" || q === GOOD_NO_DATA || q === String(GOOD_NO_DATA);

/* Text of a status: translated where strings.ts knows it, else its own name, with the OPC UA spelling taken apart. */
export function qualityText(quality: string | null): string | Message {
  if (!quality) return { key: "quality.none" };
  if (/^\d+$/.test(quality)) {
    const grade = gradeOf(quality);
    if (Number(quality) === 0) return { key: "quality.Good" };
    if (grade !== "bad") return "0x" + Number(quality).toString(16).toUpperCase().padStart(8, "0");
    return "0x" + Number(quality).toString(16).toUpperCase();
  }
  const key = `quality.${quality}`;
  if (key in STRINGS) return { key: key as Key };
  return quality.replace(/^(Bad|Uncertain|Good)(?=[A-Z])/, "").replace(/([a-z])([A-Z])/g, "$1 $2");
}

/* Bytes as 1.2 kB, 3.4 MB. */
export function formatCount(n: number): string {
  for (const [size, suffix] of [[1e9, " G"], [1e6, " M"], [1e4, " k"]] as const)
    if (n >= size) return (n / (suffix === " k" ? 1e3 : size)).toFixed(1) + suffix;
  return String(n);
}

/* RFC 3339 text or milliseconds -> milliseconds; anything else is "no time". */
export function parseTime(v: unknown): number | null {
  if (typeof v === "number") return v;
  if (typeof v !== "string" || v === "") return null;
  const ms = Date.parse(v.replace(/(\.\d{3})\d+/, "$1"));
  return Number.isNaN(ms) ? null : ms;
}
