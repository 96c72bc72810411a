/* history.ts - loads the rows behind a trend and keeps them while the view moves.
 *
 * What is kept: one Series per point, over a range somewhat wider than the view, all from one plan (raw or one window
 * width). A new load is needed when the view leaves that range or another plan fits it better; following live values
 * only asks for the tail. Points of one device and table share a statement. Only the latest load counts: an answer that
 * was overtaken is dropped. */
import * as api from "./api";
import { serverNow } from "./clock";
import { emptySeries, extractSeries, mergeTail, spacingOf, type Series } from "./trenddata";
import { loadRange, planTrend, plottable, trendSql, type Plan } from "./trendquery";
import type { Point } from "./source";

const SPACING_DEFAULT_MS = 1000; // until the first rows say better
const TAIL_REFRESH_PARTS = 4; // an open window is read again after this part of its width

export class History {
  series = new Map<string, Series>(); // by the point's key
  plan: Plan = { kind: "raw" };
  private range: [number, number] = [0, 0];
  private spacing = new Map<string, number>();
  private keys = "";
  private turn = 0; // number of the latest load
  private tailAt = 0;
  private tailBusy = false;

  /* True when what is kept cannot answer for the view. */
  needsLoad(points: readonly Point[], fromMs: number, toMs: number): boolean {
    const plan = this.planFor(points, fromMs, toMs);
    const known = Math.min(toMs, serverNow());
    return keysOf(points) !== this.keys || planKey(plan) !== planKey(this.plan) || fromMs < this.range[0] || known > this.range[1] + 5000;
  }

  /* Reads the whole range; true when the answer was taken (and not overtaken by a later load). */
  async load(points: readonly Point[], fromMs: number, toMs: number): Promise<boolean> {
    const mine = ++this.turn;
    for (let tries = 0; ; tries++) {
      const plan = this.planFor(points, fromMs, toMs), range = loadRange(fromMs, toMs, plan, serverNow());
      const found = await this.read(points, plan, range);
      if (mine !== this.turn) return false;
      if (plan.kind === "raw") this.learnSpacing(found);
      // Denser rows than believed: once more with the plan that fits them.
      if (tries === 0 && planKey(this.planFor(points, fromMs, toMs)) !== planKey(plan) && plan.kind === "raw") continue;
      this.series = found;
      this.plan = plan;
      this.range = range;
      this.keys = keysOf(points);
      return true;
    }
  }

  /* Reads what came since the last row; true when something was taken. */
  async loadTail(points: readonly Point[]): Promise<boolean> {
    const now = serverNow(), plan = this.plan;
    const pause = plan.kind === "raw" ? 0 : Math.max(1000, plan.widthMs / TAIL_REFRESH_PARTS);
    if (this.tailBusy || now - this.tailAt < pause || keysOf(points) !== this.keys) return false;
    const mine = this.turn;
    this.tailAt = now;
    this.tailBusy = true;
    try {
      // The last rows once more: a late reply may still have filled in behind them, a window was still open.
      const step = plan.kind === "raw" ? 1000 : plan.widthMs;
      const from = Math.floor((Math.min(this.lastTime(now), now) - 2 * step) / step) * step;
      const fresh = await this.read(points, plan, [Math.max(from, this.range[0]), now + 1000]);
      if (mine !== this.turn) return false;
      for (const [key, s] of fresh) this.series.set(key, mergeTail(this.series.get(key) ?? emptySeries(), s, Math.max(from, this.range[0]), this.range[0]));
      this.range[1] = now;
      return true;
    } finally {
      this.tailBusy = false;
    }
  }

  /* While following, what has left the view on the left is forgotten. */
  forgetBefore(timeMs: number): void { this.range[0] = Math.max(this.range[0], timeMs); }

  private lastTime(now: number): number {
    let last = this.range[0];
    for (const s of this.series.values()) last = Math.max(last, s.times[s.times.length - 1] ?? 0);
    return Math.max(last, now - 30000 > last ? Math.min(this.range[1], now) - 30000 : last);
  }

  private planFor(points: readonly Point[], fromMs: number, toMs: number): Plan {
    const spacing = Math.min(...points.map((p) => this.spacing.get(p.key) ?? SPACING_DEFAULT_MS), SPACING_DEFAULT_MS * 3600);
    return planTrend(fromMs, Math.min(toMs, serverNow() + 1000), spacing);
  }

  private learnSpacing(found: Map<string, Series>): void {
    for (const [key, s] of found) {
      const spacing = spacingOf(s.times);
      if (spacing !== null && spacing > 0) this.spacing.set(key, spacing);
    }
  }

  private async read(points: readonly Point[], plan: Plan, [from, to]: [number, number]): Promise<Map<string, Series>> {
    const found = new Map<string, Series>();
    const iso = (ms: number): string => new Date(ms).toISOString();
    await Promise.all([...bySource(points)].map(async (group) => {
      const columns = group.map((p) => ({ name: p.point, type: p.type }));
      const answer = await api.sql(trendSql(plan, group[0].table, columns), [group[0].device, iso(from), iso(to)]);
      extractSeries(plan, columns, answer.rows).forEach((s, i) => found.set(group[i].key, s));
    }));
    return found;
  }
}

const keysOf = (points: readonly Point[]): string => points.map((p) => p.key).join("\f");
const planKey = (p: Plan): string => (p.kind === "raw" ? "raw" : p.literal);

/* Points that one statement can answer, without those that have no curve. */
function bySource(points: readonly Point[]): Iterable<Point[]> {
  const groups = new Map<string, Point[]>();
  for (const p of points) {
    if (!plottable(p.type)) continue;
    const key = `${p.table}\n${p.device}`, group = groups.get(key);
    if (group) group.push(p); else groups.set(key, [p]);
  }
  return groups.values();
}
