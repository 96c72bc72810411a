/* chart.ts - uPlot, set up for trends: an axis per unit, a band for min/max, pan and zoom with mouse, finger and pen.
 *
 * It draws what it is given over the range it is given and reports what a person does (`onView`, `onCursor`); which
 * data to load is trend.tsx's affair. uPlot's own drag zoom is off: a drag pans, as on every map. */
import uPlot from "uplot";
import { decimalsNeeded, formatNumber } from "./format";
import type { Aligned } from "./trenddata";

export interface Curve { label: string; unit: string; steps: boolean; color: string }
export interface View { fromMs: number; toMs: number }
export interface ChartEvents {
  onView(view: View): void;
  onCursor(timeMs: number | null): void;
  onReset(): void;
}
export interface ChartStyle { text: string; grid: string; font: string; locale: string }

export const SPAN_MIN_MS = 2000;
export const SPAN_MAX_MS = 400 * 86400e3;
const ZOOM_STEP = 1.25;
const SELECT_MIN_PX = 8;

export interface Chart {
  setData(data: [number[], ...Aligned[]]): void;
  setView(view: View): void;
  resize(): void;
  destroy(): void;
}

const scaleOf = (c: Curve): string => (c.steps ? "y on/off" : `y ${c.unit}`);
const withAlpha = (color: string, alpha: string): string => color + alpha; // colours are #rrggbb

/* A range that leaves air above and below and does not magnify the last digit of a steady value into noise. */
function paddedRange(_u: uPlot, low: number | null, high: number | null): [number, number] {
  if (low === null || high === null || !Number.isFinite(low) || !Number.isFinite(high)) return [0, 1];
  const least = Math.max(Math.abs(low), Math.abs(high)) * 1e-3 || 1;
  const span = Math.max(high - low, least), middle = (low + high) / 2;
  return [middle - span * 0.56, middle + span * 0.56];
}

function axes(curves: readonly Curve[], style: ChartStyle, narrow: boolean): uPlot.Axis[] {
  const common = { stroke: style.text, font: style.font, ticks: { stroke: style.grid, size: 4, width: 1 } };
  const pad = (n: number): string => String(n).padStart(2, "0");
  const time: uPlot.Axis = {
    ...common,
    grid: { stroke: style.grid, width: 1 },
    space: narrow ? 62 : 78,
    size: 40,
    /* Times of day in the browser's zone, 24 hours; the date below it where the day changes. */
    values: (_u, splits, _i, _space, step) => {
      let day = "";
      return splits.map((s) => {
        const d = new Date(s * 1000);
        const date = d.toLocaleDateString(style.locale, { month: "short", day: "numeric" });
        const clock = step >= 86400 ? date : `${pad(d.getHours())}:${pad(d.getMinutes())}${step < 60 ? ":" + pad(d.getSeconds()) : ""}`;
        const below = step < 86400 && date !== day ? `\n${date}` : "";
        day = date;
        return clock + below;
      });
    },
  };
  const scales = [...new Set(curves.map(scaleOf))];
  return [time, ...scales.map((scale, i): uPlot.Axis => {
    const mine = curves.filter((c) => scaleOf(c) === scale);
    const stroke = mine.length === 1 && scales.length > 1 ? mine[0].color : style.text;
    const states = mine[0].steps;
    return {
      ...common, scale, stroke, side: i % 2 === 0 ? 3 : 1,
      size: states ? 26 : narrow ? 44 : 54, gap: 4, space: 34,
      grid: { show: i === 0, stroke: style.grid, width: 1 },
      values: states
        ? (_u, splits) => splits.map((v) => (v === 0 || v === 1 ? String(v) : null))
        : (_u, splits, _ai, _space, step) => splits.map((v) => formatNumber(v, decimalsNeeded(step))),
      ...(states ? { splits: () => [0, 1] } : {}),
      label: mine[0].unit || undefined, labelSize: mine[0].unit ? 16 : 0, labelGap: 0, labelFont: style.font,
    };
  })];
}

function series(curves: readonly Curve[]): uPlot.Series[] {
  return [{}, ...curves.flatMap((c): uPlot.Series[] => {
    const scale = scaleOf(c), edge = { scale, points: { show: false }, stroke: "transparent", width: 0 };
    const line: uPlot.Series = { scale, label: c.label, stroke: c.color, width: 1.75, points: { show: false } };
    if (c.steps) line.paths = uPlot.paths.stepped!({ align: 1 });
    return [line, edge, edge];
  })];
}

export function createChart(box: HTMLElement, curves: readonly Curve[], style: ChartStyle, view: View, events: ChartEvents): Chart {
  let shown: View = { ...view };
  const scales: uPlot.Scales = { x: { time: true, range: () => [shown.fromMs / 1000, shown.toMs / 1000] } };
  for (const c of curves) scales[scaleOf(c)] = { range: c.steps ? () => [-0.15, 1.15] : paddedRange };
  const narrow = box.clientWidth < 520;
  const size = () => ({ width: Math.max(200, box.clientWidth), height: Math.max(140, box.clientHeight) });
  const u = new uPlot({
    ...size(),
    scales,
    series: series(curves),
    bands: curves.map((c, i) => ({ series: [3 * i + 3, 3 * i + 2] as [number, number], fill: withAlpha(c.color, "33") })),
    axes: axes(curves, style, narrow),
    legend: { show: false },
    padding: [10, new Set(curves.map(scaleOf)).size > 1 ? 0 : 14, 0, 0],
    cursor: {
      drag: { x: false, y: false, setScale: false },
      y: false,
      points: { size: 7, show: (self, i) => (i % 3 === 1 ? pointOf(self, curves[(i - 1) / 3].color) : document.createElement("i")) },
      dataIdx: (self, si, idx) => nearestIndex(self.data[si] as Aligned, idx),
    },
    hooks: { setCursor: [(self) => events.onCursor(self.cursor.left! < 0 ? null : self.posToVal(self.cursor.left!, "x") * 1000)] },
  }, [[], ...curves.flatMap(() => [[], [], []])] as unknown as uPlot.AlignedData, box);

  const stop = handleInput(u, () => shown, events);
  return {
    setData: (data) => u.setData(data as unknown as uPlot.AlignedData),
    setView: (next) => {
      shown = { ...next };
      u.setScale("x", { min: next.fromMs / 1000, max: next.toMs / 1000 });
    },
    resize: () => u.setSize(size()),
    destroy: () => { stop(); u.destroy(); },
  };
}

function pointOf(_u: uPlot, color: string): HTMLElement {
  const el = document.createElement("div");
  el.style.background = color;
  return el;
}

/* The sample at or before the cursor: the value that held then. */
function nearestIndex(data: Aligned, idx: number): number {
  for (let i = idx; i >= 0; i--) if (data[i] !== undefined) return i;
  return idx;
}

export function limitView(fromMs: number, toMs: number): View {
  const span = Math.min(SPAN_MAX_MS, Math.max(SPAN_MIN_MS, toMs - fromMs)), middle = (fromMs + toMs) / 2;
  return { fromMs: middle - span / 2, toMs: middle + span / 2 };
}

export function zoomView(v: View, atMs: number, factor: number): View {
  const span = Math.min(SPAN_MAX_MS, Math.max(SPAN_MIN_MS, (v.toMs - v.fromMs) * factor));
  const part = (atMs - v.fromMs) / (v.toMs - v.fromMs);
  return { fromMs: atMs - span * part, toMs: atMs + span * (1 - part) };
}

/* Pointer input on the plot: one pointer pans (with Shift: selects a range), two zoom, the wheel zooms at the cursor. */
function handleInput(u: uPlot, view: () => View, events: ChartEvents): () => void {
  const over = u.over;
  const down = new Map<number, number>(); // pointer id -> x
  let selectFrom: number | null = null;
  const x = (e: { clientX: number }): number => e.clientX - over.getBoundingClientRect().left;
  const timeAt = (px: number, v: View): number => v.fromMs + (px / over.clientWidth) * (v.toMs - v.fromMs);

  function press(e: PointerEvent): void {
    if (e.button !== 0) return;
    over.setPointerCapture(e.pointerId);
    down.set(e.pointerId, x(e));
    selectFrom = e.shiftKey && down.size === 1 ? x(e) : null;
  }
  function move(e: PointerEvent): void {
    const before = down.get(e.pointerId);
    if (before === undefined) return;
    const now = x(e), v = view();
    if (selectFrom !== null) {
      u.setSelect({ left: Math.min(selectFrom, now), width: Math.abs(now - selectFrom), top: 0, height: over.clientHeight }, false);
      return;
    }
    if (down.size === 1) {
      const shift = ((before - now) / over.clientWidth) * (v.toMs - v.fromMs);
      if (shift !== 0) events.onView({ fromMs: v.fromMs + shift, toMs: v.toMs + shift });
    } else {
      const [other] = [...down].filter(([id]) => id !== e.pointerId).map(([, px]) => px);
      const was = Math.abs(before - other), is = Math.abs(now - other);
      if (was > 4 && is > 4) events.onView(zoomView(v, timeAt((now + other) / 2, v), was / is));
    }
    down.set(e.pointerId, now);
  }
  function release(e: PointerEvent): void {
    down.delete(e.pointerId);
    if (selectFrom === null) return;
    const from = Math.min(selectFrom, x(e)), to = Math.max(selectFrom, x(e)), v = view();
    selectFrom = null;
    u.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false);
    if (to - from >= SELECT_MIN_PX) events.onView(limitView(timeAt(from, v), timeAt(to, v)));
  }
  function wheel(e: WheelEvent): void {
    e.preventDefault();
    const v = view();
    if (Math.abs(e.deltaX) > Math.abs(e.deltaY)) {
      const shift = (e.deltaX / over.clientWidth) * (v.toMs - v.fromMs);
      events.onView({ fromMs: v.fromMs + shift, toMs: v.toMs + shift });
    } else if (e.deltaY !== 0) events.onView(zoomView(v, timeAt(x(e), v), e.deltaY > 0 ? ZOOM_STEP : 1 / ZOOM_STEP));
  }
  over.addEventListener("pointerdown", press);
  over.addEventListener("pointermove", move);
  over.addEventListener("pointerup", release);
  over.addEventListener("pointercancel", release);
  over.addEventListener("wheel", wheel, { passive: false });
  over.addEventListener("dblclick", events.onReset);
  return () => {
    over.removeEventListener("pointerdown", press);
    over.removeEventListener("pointermove", move);
    over.removeEventListener("pointerup", release);
    over.removeEventListener("pointercancel", release);
    over.removeEventListener("wheel", wheel);
    over.removeEventListener("dblclick", events.onReset);
  };
}
