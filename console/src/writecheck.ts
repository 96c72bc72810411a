/* writecheck.ts - what was typed as a new value, checked and turned into what is sent. Pure; tested with format. */
import { isBool, isInteger, isText } from "./format";
import type { Message } from "./i18n";

export interface Target { type: string; min: number | null; max: number | null }
export type Checked = { value: number | boolean | string } | { error: Message };

/* Whole numbers that a double cannot hold are sent as text, as the server itself gives them. */
export function checkValue(target: Target, typed: string): Checked {
  const text = typed.trim();
  if (isText(target.type)) return { value: typed };
  if (text === "") return { error: { key: "write.needValue" } };
  if (isBool(target.type)) return { value: text === "true" };
  const number = Number(text.replace("\u2212", "-").replace(/^(-?\d+),(\d+)$/, "$1.$2"));
  if (!Number.isFinite(number)) return { error: { key: "write.needNumber" } };
  if (isInteger(target.type) && !/^[-\u2212+]?\d+$/.test(text)) return { error: { key: "write.needInteger" } };
  if (target.min !== null && number < target.min) return { error: { key: "write.below", params: { min: target.min } } };
  if (target.max !== null && number > target.max) return { error: { key: "write.above", params: { max: target.max } } };
  return { value: isInteger(target.type) && !Number.isSafeInteger(number) ? text : number };
}

/* Did the equipment take it? Numbers may come back rounded to the register's resolution: within a thousandth. */
export function sameValue(sent: unknown, readBack: unknown): boolean {
  if (readBack === null || readBack === undefined) return true; // cannot be read back: nothing to compare
  const a = typeof sent === "boolean" ? Number(sent) : Number(sent), b = readBack === "true" ? 1 : readBack === "false" ? 0 : Number(readBack);
  if (Number.isFinite(a) && Number.isFinite(b)) return Math.abs(a - b) <= Math.max(Math.abs(a), Math.abs(b)) * 1e-3 + 1e-9;
  return String(sent) === String(readBack);
}
