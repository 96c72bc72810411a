/* i18n.ts - which language is shown, and the lookup of a text in it.
 *
 * The language is a signal: every component that called t() while rendering follows a switch at once. It is remembered
 * in localStorage; without a memory the browser's own preference decides. */
import { signal } from "@preact/signals";
import { STRINGS, type Key, type Lang } from "./strings";

export type Params = Record<string, string | number>;
/* What pure code returns instead of text: the key and its parameters, turned into text only where it is shown. */
export interface Message { key: Key; params?: Params }

const MEMORY = "millrace.lang";

function initial(): Lang {
  const kept = remembered(MEMORY);
  if (kept === "en" || kept === "zh") return kept;
  return typeof navigator !== "undefined" && /^zh/i.test(navigator.language) ? "zh" : "en";
}

/* localStorage may be forbidden (private windows): then nothing is remembered, and nothing breaks. */
export function remembered(name: string): string | null {
  try { return localStorage.getItem(name); } catch { return null; }
}
export function remember(name: string, value: string): void {
  try { localStorage.setItem(name, value); } catch { /* not remembered: harmless */ }
}

export const lang = signal<Lang>(initial());

export function setLang(next: Lang): void {
  lang.value = next;
  remember(MEMORY, next);
}

export function translate(language: Lang, key: Key, params?: Params): string {
  const text: string = STRINGS[key][language];
  return params ? text.replace(/\{(\w+)\}/g, (all, name: string) => (name in params ? String(params[name]) : all)) : text;
}

export const t = (key: Key, params?: Params): string => translate(lang.value, key, params);
export const say = (m: Message): string => t(m.key, m.params);
