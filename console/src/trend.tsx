/* trend.tsx - the trend panel: which range is shown, which points, what they were at the cursor.
 *
 * The view is one of two things: following (its right edge is "now") or standing where a person put it. Every move is
 * drawn at once from what is loaded; History is asked for more a moment after the last move. */
import { signal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { createChart, limitView, zoomView, type Chart, type View } from "./chart";
import { serverNow } from "./clock";
import { decimalsNeeded, formatNumber, gradeOf, isBool } from "./format";
import { History } from "./history";
import { lang, t, type Message } from "./i18n";
import { pointByKey, points, tick, type Point } from "./source";
import { dark, trend } from "./state";
import { alignSeries, emptySeries, indexBefore, withBreaks, type Series } from "./trenddata";
import { plottable } from "./trendquery";
import { Icon, Quality, sayOr } from "./widgets";
import { Path, Value } from "./table";

const RANGES = [["trend.5m", 300e3], ["trend.1h", 3600e3], ["trend.1d", 86400e3], ["trend.7d", 7 * 86400e3]] as const;
const COLORS = {
  light: ["#0b63c5", "#c2410c", "#0f766e", "#7c3aed", "#be185d", "#7a5c00"],
  dark: ["#5aa9ff", "#ff9b54", "#3fd0b6", "#b79bff", "#ff7eb0", "#e5c84b"],
};
const LOAD_DELAY_MS = 150;

const view = signal<View>({ fromMs: 0, toMs: 1 });
const following = signal(true);
const spanMs = signal(RANGES[0][1] as number);
const cursorMs = signal<number | null>(null);
const version = signal(0); // counts changes of history's data
const problem = signal("");

let history = new History();

function follow(): void {
  following.value = true;
  const now = serverNow();
  view.value = { fromMs: now - spanMs.value, toMs: now };
}

function showView(next: View): void {
  const limited = limitView(next.fromMs, next.toMs), now = serverNow();
  // Pulled to or past "now": that means following it again, at this zoom.
  spanMs.value = limited.toMs - limited.fromMs;
  if (limited.toMs >= now) follow();
  else {
    following.value = false;
    view.value = limited;
  }
}

function shownPoints(): Point[] {
  void points.value;
  return trend.value.map(pointByKey).filter((p): p is Point => p !== undefined);
}

async function refill(): Promise<void> {
  const list = shownPoints(), { fromMs, toMs } = view.value;
  try {
    const changed = history.needsLoad(list, fromMs, toMs) ? await history.load(list, fromMs, toMs) : following.value && (await history.loadTail(list));
    problem.value = "";
    if (!changed) return;
    if (following.value) history.forgetBefore(view.value.fromMs - spanMs.value / 4);
    version.value++;
  } catch (e) {
    problem.value = t("trend.failed", { message: e instanceof Error ? e.message : String(e) });
  }
}

const colorOf = (index: number): string => COLORS[dark.value ? "dark" : "light"][index % 6];

/* The value that held at the cursor; null index = before the first. */
function sampleAt(s: Series, timeMs: number): number { return indexBefore(s.times, timeMs); }

function numberText(p: Point, n: number | null): string | Message {
  if (n === null) return { key: "value.none" };
  if (isBool(p.type)) return { key: n !== 0 ? "value.on" : "value.off" };
  return formatNumber(n, Math.max(p.decimals, Number.isInteger(n) ? 0 : Math.min(decimalsNeeded(n), p.decimals + 1)));
}

function Reading({ p }: { p: Point }) {
  void version.value;
  if (!plottable(p.type)) return <><Value p={p} /><span class="dim">{t("trend.noCurve")}</span></>;
  const at = cursorMs.value;
  if (at === null) return <Value p={p} />;
  const s = history.series.get(p.key), i = s ? sampleAt(s, at) : -1;
  if (!s || i < 0) return <span class="dim">{t("value.none")}</span>;
  const quality = s.quality[i] === null ? null : String(s.quality[i]);
  return (
    <>
      <span class="value"><span class="digits">{sayOr(numberText(p, s.line[i]))}</span><span class="unit">{p.unit}</span></span>
      {s.low && s.high && s.line[i] !== null && <span class="dim">{sayOr(numberText(p, s.low[i]))}…{sayOr(numberText(p, s.high[i]))}</span>}
      {quality !== null && gradeOf(quality) !== "good" && <Quality quality={quality} />}
    </>
  );
}

function Legend({ list }: { list: readonly Point[] }) {
  return (
    <ul class="legend">
      {list.map((p, i) => (
        <li key={p.key} class={`s${i}`}>
          <i class="swatch" />
          <span class="who"><span class="dim"><Path path={p.device} /></span> <span class="name">{p.point}</span></span>
          <span class="reading"><Reading p={p} /></span>
          <button type="button" class="quiet square" title={t("trend.remove", { point: p.point })} aria-label={t("trend.remove", { point: p.point })}
            onClick={() => { trend.value = trend.value.filter((k) => k !== p.key); }}><Icon name="close" /></button>
        </li>
      ))}
    </ul>
  );
}

function cursorText(ms: number): string {
  const d = new Date(ms);
  return d.toLocaleString(lang.value === "zh" ? "zh-CN" : "en-GB", {
    year: "numeric", month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false,
    ...(spanMs.value < 600e3 ? { fractionalSecondDigits: 1 as const } : {}),
  });
}

function Bar() {
  const plan = (void version.value, history.plan);
  const help = plan.kind === "raw" ? t("trend.raw") : t("trend.window", { width: plan.literal });
  return (
    <header class="bar">
      <h2>{t("trend.title")}</h2>
      <div class="segmented" role="group" aria-label={t("trend.range")}>
        {RANGES.map(([key, span]) => (
          <button type="button" aria-pressed={Math.abs(spanMs.value - span) < span * 0.01} onClick={() => { spanMs.value = span; follow(); }}>{t(key)}</button>
        ))}
      </div>
      <button type="button" class="toggle" aria-pressed={following.value} title={t("trend.liveHelp")}
        onClick={() => { if (following.value) following.value = false; else follow(); }}>
        <i class="dot" />{t("trend.live")}
      </button>
      <span class="dim when">{cursorMs.value !== null ? cursorText(cursorMs.value) : help}</span>
      <button type="button" class="quiet square" aria-label={t("close")} title={t("close")} onClick={() => { trend.value = []; }}><Icon name="close" /></button>
    </header>
  );
}

function onKey(e: KeyboardEvent): void {
  const { fromMs, toMs } = view.value, step = (toMs - fromMs) / 10, middle = (fromMs + toMs) / 2;
  const keys: Record<string, () => void> = {
    ArrowLeft: () => showView({ fromMs: fromMs - step, toMs: toMs - step }),
    ArrowRight: () => showView({ fromMs: fromMs + step, toMs: toMs + step }),
    "+": () => showView(zoomView(view.value, following.value ? toMs : middle, 0.8)),
    "=": () => showView(zoomView(view.value, following.value ? toMs : middle, 0.8)),
    "-": () => showView(zoomView(view.value, following.value ? toMs : middle, 1.25)),
    l: follow,
  };
  const act = keys[e.key.length === 1 ? e.key.toLowerCase() : e.key];
  if (!act) return;
  e.preventDefault();
  act();
}

/* Makes the chart for this set of points, theme and language; feeds it data and view as they change. */
function useChart(list: readonly Point[]) {
  const box = useRef<HTMLDivElement>(null);
  const chart = useRef<Chart | null>(null);
  const drawn = list.filter((p) => plottable(p.type));
  const shape = list.map((p) => `${p.key}\t${p.unit}\t${p.type}`).join("\n") + String(dark.value) + lang.value;

  useEffect(() => {
    const el = box.current!, css = getComputedStyle(el);
    const style = { text: css.getPropertyValue("--muted").trim(), grid: css.getPropertyValue("--grid").trim(), font: `11px ${css.fontFamily}`, locale: lang.value === "zh" ? "zh-CN" : "en-GB" };
    const curves = drawn.map((p) => ({ label: p.point, unit: p.unit, steps: isBool(p.type), color: colorOf(list.indexOf(p)) }));
    if (curves.length === 0) return undefined;
    chart.current = createChart(el, curves, style, view.value, { onView: showView, onCursor: (ms) => { cursorMs.value = ms; }, onReset: follow });
    const watch = new ResizeObserver(() => chart.current?.resize());
    watch.observe(el);
    return () => { watch.disconnect(); chart.current?.destroy(); chart.current = null; cursorMs.value = null; };
  }, [shape]);

  useEffect(() => {
    chart.current?.setData(alignSeries(drawn.map((p) => withBreaks(history.series.get(p.key) ?? emptySeries()))));
  }, [shape, version.value]);
  useEffect(() => { chart.current?.setView(view.value); }, [shape, view.value]);
  return box;
}

export function TrendPanel() {
  const list = shownPoints();
  const keys = list.map((p) => p.key).join("\f");
  const box = useChart(list);
  useEffect(() => { if (view.value.fromMs === 0 || following.value) follow(); return () => { history = new History(); }; }, []);
  useEffect(() => { if (following.value) follow(); }, [tick.value]);
  useEffect(() => {
    const timer = setTimeout(() => void refill(), following.value ? 0 : LOAD_DELAY_MS);
    return () => clearTimeout(timer);
  }, [keys, view.value]);
  void version.value;
  const empty = list.some((p) => plottable(p.type)) && history.series.size > 0 && list.every((p) => (history.series.get(p.key)?.times.length ?? 0) === 0);
  return (
    <section class="trend" aria-label={t("trend.title")}>
      <Bar />
      <Legend list={list} />
      {problem.value && <p class="error" role="alert">{problem.value}</p>}
      <div class="plot" ref={box} tabIndex={0} role="img" aria-label={t("trend.chart")} onKeyDown={onKey}>
        {empty && <p class="nothing">{t("trend.noRows")}</p>}
      </div>
      <p class="keys dim">{t("trend.help")}</p>
    </section>
  );
}

