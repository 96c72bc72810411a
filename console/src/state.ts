/* state.ts - what the page as a whole knows: who is signed in, what is open, which points the trend shows, the theme.
 * Components read these signals; only the functions here change more than one of them. */
import { signal } from "@preact/signals";
import * as api from "./api";
import { remember, remembered } from "./i18n";
import * as source from "./source";
import type { Point } from "./source";

export const TREND_POINTS_MAX = 6;

export const session = signal<"unknown" | "out" | "in">("unknown");
export const about = signal<api.About | null>(null);
export const startProblem = signal(""); // why the very first request failed
export const trend = signal<readonly string[]>([]); // keys of the points shown, in order of their colours
export const dialog = signal<{ kind: "add" } | { kind: "write"; key: string } | { kind: "connection"; name: string } | null>(null);
export const notice = signal("");

export type Theme = "auto" | "light" | "dark";
const THEME_MEMORY = "millrace.theme";
const kept = remembered(THEME_MEMORY);
export const theme = signal<Theme>(kept === "light" || kept === "dark" ? kept : "auto");
export const dark = signal(false); // the theme in force
const systemDark = matchMedia("(prefers-color-scheme: dark)");

function applyTheme(): void {
  dark.value = theme.value === "dark" || (theme.value === "auto" && systemDark.matches);
  document.documentElement.dataset.theme = dark.value ? "dark" : "light";
}
systemDark.addEventListener("change", applyTheme);
applyTheme();

export function nextTheme(): void {
  theme.value = theme.value === "auto" ? "light" : theme.value === "light" ? "dark" : "auto";
  remember(THEME_MEMORY, theme.value);
  applyTheme();
}

/* Asks who we are; the answer decides between login page and main page. */
export async function enter(): Promise<void> {
  try {
    about.value = await api.about();
    startProblem.value = "";
    session.value = "in";
    source.start();
  } catch (e) {
    if (e instanceof api.ApiError && e.status === 401) leave();
    else {
      startProblem.value = e instanceof Error ? e.message : String(e);
      setTimeout(() => void enter(), 3000);
    }
  }
}

export function leave(): void {
  source.stop();
  trend.value = [];
  dialog.value = null;
  about.value = null;
  session.value = "out";
}
api.setOnUnauthorized(leave);

export function toggleTrend(p: Point): boolean {
  const shown = trend.value;
  if (shown.includes(p.key)) trend.value = shown.filter((k) => k !== p.key);
  else if (shown.length < TREND_POINTS_MAX) trend.value = [...shown, p.key];
  else return false;
  return true;
}

export function openTrend(p: Point): void {
  if (!trend.value.includes(p.key)) trend.value = [p.key];
}
