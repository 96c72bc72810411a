/* table.tsx - the live table: all points, grouped by device, of which only the visible rows exist in the document.
 *
 * Once a second `tick` moves and the visible rows (some dozens, whatever the plant's size) are rendered anew. A value
 * that changed flashes: its cell alternates between two CSS animations of the same look, because only a *new*
 * animation starts again. Keyboard: one row is the tab stop; see the key map in onKey(). */
import { computed, signal } from "@preact/signals";
import { useEffect, useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
import { serverNow } from "./clock";
import { formatAge, formatValue, isBool } from "./format";
import { say, t, type Message } from "./i18n";
import { buildRows, sparkPath, type Mode, type Row } from "./rows";
import { loaded, points, tick, type Point } from "./source";
import { dialog, notice, openTrend, toggleTrend, trend, TREND_POINTS_MAX } from "./state";
import { offsetsOf, rowAt, scrollTo, visibleRows } from "./virtual";
import { Icon, Quality, sayOr } from "./widgets";

const HEAD_PX = 28, GROUP_PX = 34, POINT_PX = 32, OVERSCAN = 6, SPARK_W = 92, SPARK_H = 20, SPARK_SLOTS = 60;

const filter = signal("");
const mode = signal<Mode>("all");
const folded = signal<ReadonlySet<string>>(new Set());
const current = signal(""); // key of the row that is the tab stop

/* Only "not good" depends on moving values; the other modes keep their rows between ticks, and group counts follow. */
const rows = computed<Row[]>(() => {
  void tick.value;
  return buildRows(points.value, filter.value, mode.value, folded.value);
});

function fold(device: string, on: boolean): void {
  const next = new Set(folded.value);
  if (on) next.add(device); else next.delete(device);
  folded.value = next;
}

function flip(p: Point): void {
  if (!toggleTrend(p)) notice.value = t("trend.full", { n: TREND_POINTS_MAX });
}

const startWrite = (p: Point): void => { if (p.access === "rw") dialog.value = { kind: "write", key: p.key }; };

/* Point objects stay the same while their contents move: what shows them subscribes to `tick`, or it is not drawn again. */
export function Spark({ p }: { p: Point }) {
  void tick.value;
  const path = sparkPath(p.recent, SPARK_W, SPARK_H, SPARK_SLOTS);
  return <svg class="spark" width={SPARK_W} height={SPARK_H} viewBox={`0 0 ${SPARK_W} ${SPARK_H}`} aria-hidden="true">{path && <path d={path} />}</svg>;
}

export function Value({ p }: { p: Point }) {
  void tick.value;
  const value = formatValue(p.type, p.value, p.number, p.decimals);
  const state = p.value === null ? " missing" : isBool(p.type) ? ((value as Message).key === "value.on" ? " lamp on" : " lamp") : "";
  return (
    <span class={`value${state}`}>
      <span class={p.changes === 0 ? "digits" : `digits flash${p.changes % 2}`}>{sayOr(value)}</span>
      <span class="unit">{p.unit}</span>
    </span>
  );
}

/* The part of a path that tells points apart: its last segment is strong, what is before it is quiet. */
export function Path({ path }: { path: string }) {
  const cut = path.lastIndexOf("/") + 1;
  return <span class="path"><span class="dim">{path.slice(0, cut)}</span><b>{path.slice(cut)}</b></span>;
}

function PointCells({ p }: { p: Point }) {
  void tick.value;
  const shown = trend.value.indexOf(p.key);
  const label = t(shown >= 0 ? "table.removeTrend" : "table.addTrend", { point: p.point });
  return (
    <>
      <span role="gridcell" class="c-point" title={p.description || undefined}>
        <button type="button" tabIndex={-1} class={shown >= 0 ? `pick s${shown}` : "pick"} title={label} aria-label={label} aria-pressed={shown >= 0}
          onClick={(e) => { e.stopPropagation(); flip(p); }} />
        <span class="name">{p.point}</span>
        {p.description && <span class="dim desc">{p.description}</span>}
      </span>
      <span role="gridcell" class="c-spark"><Spark p={p} /></span>
      <span role="gridcell" class="c-value"><Value p={p} /></span>
      <span role="gridcell" class="c-quality"><Quality quality={p.quality} /></span>
      <span role="gridcell" class="c-age">{say(formatAge(p.timeMs === null ? null : serverNow() - p.timeMs))}</span>
      <span role="gridcell" class="c-address">{p.address}</span>
      <span role="gridcell" class="c-type">{p.type}</span>
      <span role="gridcell" class="c-actions">
        {p.access === "rw" && (
          <button type="button" tabIndex={-1} class="small" title={t("table.writeTo", { point: p.point })} aria-label={t("table.writeTo", { point: p.point })}
            onClick={(e) => { e.stopPropagation(); startWrite(p); }}><Icon name="pen" /><span>{t("table.write")}</span></button>
        )}
      </span>
    </>
  );
}

function GroupCells({ row }: { row: Extract<Row, { kind: "group" }> }) {
  return (
    <span role="gridcell" class="c-group">
      <span class={row.folded ? "turn closed" : "turn"}><Icon name="fold" /></span>
      <Path path={row.device} />
      <span class="dim">{t("table.group", { n: row.count })}</span>
      {row.bad > 0 && <span class="badge bad"><Icon name="bad" />{t("table.groupBad", { n: row.bad })}</span>}
      <span class="dim end">{row.connection}</span>
    </span>
  );
}

const MODES: readonly [Mode, "filter.all" | "filter.bad" | "filter.writable"][] = [["all", "filter.all"], ["bad", "filter.bad"], ["writable", "filter.writable"]];

function FilterBar() {
  return (
    <div class="filterbar">
      <label class="search"><Icon name="search" />
        <input type="search" value={filter.value} placeholder={t("filter.placeholder")} aria-label={t("filter.label")}
          onInput={(e) => { filter.value = e.currentTarget.value; }} />
      </label>
      <div class="segmented" role="group" aria-label={t("filter.label")}>
        {MODES.map(([m, key]) => <button type="button" aria-pressed={mode.value === m} onClick={() => { mode.value = m; }}>{t(key)}</button>)}
      </div>
    </div>
  );
}

function HeadRow() {
  return (
    <div class="row head" role="row">
      <span role="columnheader" class="c-point">{t("table.point")}</span>
      <span role="columnheader" class="c-spark">{t("table.recent")}</span>
      <span role="columnheader" class="c-value">{t("table.value")}</span>
      <span role="columnheader" class="c-quality">{t("table.quality")}</span>
      <span role="columnheader" class="c-age">{t("table.age")}</span>
      <span role="columnheader" class="c-address">{t("table.address")}</span>
      <span role="columnheader" class="c-type">{t("table.type")}</span>
      <span role="columnheader" class="c-actions" aria-label={t("table.actions")} />
    </div>
  );
}

function NoRows() {
  if (!loaded.value) return <p class="nothing">{t("loading")}</p>;
  const plain = mode.value === "bad" && filter.value === "";
  return (
    <p class="nothing">{t(plain ? "filter.allGoodNow" : "filter.nothing")}
      <button type="button" onClick={() => { filter.value = ""; mode.value = "all"; }}>{t("filter.clear")}</button>
    </p>
  );
}

/* Position and size of the scrolled box, kept current by its scroll events and a ResizeObserver. */
function useViewport() {
  const box = useRef<HTMLDivElement>(null);
  const [view, setView] = useState({ top: 0, height: 600 });
  useLayoutEffect(() => {
    const el = box.current!;
    const read = (): void => setView({ top: el.scrollTop, height: el.clientHeight - HEAD_PX });
    const watch = new ResizeObserver(read);
    watch.observe(el);
    el.addEventListener("scroll", read, { passive: true });
    read();
    return () => { watch.disconnect(); el.removeEventListener("scroll", read); };
  }, []);
  return { box, view };
}

export function LiveTable() {
  const { box, view } = useViewport();
  const list = rows.value;
  const shape = list.map((r) => (r.kind === "group" ? "g" : "p")).join("");
  const offsets = useMemo(() => offsetsOf(list.map((r) => (r.kind === "group" ? GROUP_PX : POINT_PX))), [shape]);
  const slice = visibleRows(offsets, view.top, view.height, OVERSCAN);
  const found = list.findIndex((r) => r.key === current.value);
  const at = found < 0 ? 0 : found;
  // The tab stop is always a row that exists, also after the wheel has moved the current one off the screen.
  const stop = at >= slice.first && at < slice.end ? at : rowAt(offsets, view.top);
  const wantFocus = useRef(false);

  /* After a key moved the tab stop, its row may have just come into being: focus it once it is there. */
  useEffect(() => {
    const row = wantFocus.current ? box.current?.querySelector<HTMLElement>(`[aria-rowindex="${at + 2}"]`) : null;
    if (!row) return; // not there yet: the scroll event's render brings it
    wantFocus.current = false;
    row.focus({ preventScroll: true });
  });

  function moveTo(index: number): void {
    const next = Math.min(list.length - 1, Math.max(0, index));
    if (!list[next] || !box.current) return;
    current.value = list[next].key;
    box.current.scrollTop = scrollTo(offsets, next, box.current.scrollTop, view.height, list[next].kind === "group" ? 0 : GROUP_PX);
    wantFocus.current = true;
    // Rendering again even when the key stays, so that focus returns to the row.
    tick.value++;
  }

  function onKey(e: KeyboardEvent): void {
    const row = list[at];
    if (!row || e.ctrlKey || e.altKey || e.metaKey) return;
    const page = Math.max(1, Math.floor(view.height / POINT_PX) - 2);
    const device = row.kind === "group" ? row.device : row.point.device;
    const head = list.findIndex((r) => r.kind === "group" && r.device === device);
    const keys: Record<string, () => void> = {
      ArrowDown: () => moveTo(at + 1),
      ArrowUp: () => moveTo(at - 1),
      PageDown: () => moveTo(at + page),
      PageUp: () => moveTo(at - page),
      Home: () => moveTo(0),
      End: () => moveTo(list.length - 1),
      ArrowLeft: () => { fold(device, true); moveTo(head); },
      ArrowRight: () => { fold(device, false); moveTo(at); },
      Enter: () => (row.kind === "point" ? openTrend(row.point) : fold(device, !row.folded)),
      " ": () => (row.kind === "point" ? flip(row.point) : fold(device, !row.folded)),
      w: () => { if (row.kind === "point") startWrite(row.point); },
    };
    const act = keys[e.key.length === 1 ? e.key.toLowerCase() : e.key];
    if (!act) return;
    e.preventDefault();
    act();
  }

  function onPick(row: Row): void {
    current.value = row.key;
    if (row.kind === "group") fold(row.device, !row.folded); else openTrend(row.point);
  }

  const top = list[rowAt(offsets, view.top)];
  const sticky = top && list.find((r) => r.kind === "group" && r.device === (top.kind === "group" ? top.device : top.point.device));
  return (
    <section class="points">
      <FilterBar />
      <div class="grid" role="grid" aria-label={t("table.label")} aria-rowcount={list.length + 1} onKeyDown={onKey}>
        <div class="scroll" ref={box} role="rowgroup" tabIndex={-1}>
          <HeadRow />
          {sticky?.kind === "group" && view.top > 0 && (
            <div class="row group sticky" aria-hidden="true" onClick={() => onPick(sticky)}><GroupCells row={sticky} /></div>
          )}
          {list.length === 0 && <NoRows />}
          <div class="canvas" style={{ height: `${offsets[list.length]}px` }}>
            {list.slice(slice.first, slice.end).map((row, i) => {
              const index = slice.first + i;
              return (
                <div key={row.key} role="row" aria-rowindex={index + 2} tabIndex={index === stop ? 0 : -1}
                  aria-expanded={row.kind === "group" ? !row.folded : undefined}
                  class={row.kind === "group" ? "row group" : `row point ${row.point.grade}${trend.value.includes(row.key) ? " shown" : ""}`}
                  style={{ transform: `translateY(${offsets[index]}px)` }}
                  onClick={() => onPick(row)} onFocus={() => { if (current.value !== row.key) current.value = row.key; }}>
                  {row.kind === "group" ? <GroupCells row={row} /> : <PointCells p={row.point} />}
                </div>
              );
            })}
          </div>
        </div>
      </div>
      <p class="keys dim">{t("table.keys")}</p>
    </section>
  );
}
