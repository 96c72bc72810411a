/* connections.tsx - the strip of lines to equipment with state and last error, and one line's details. */
import { formatAge, formatCount } from "./format";
import { serverNow } from "./clock";
import { say, t } from "./i18n";
import { connections, tick, type Connection } from "./source";
import { dialog } from "./state";
import type { Key } from "./strings";
import { Icon, Modal, type IconName } from "./widgets";

/* The states of sys.connections: how each looks. An unknown one is shown as such, not hidden. */
const STATES: Record<string, { key: Key; icon: IconName; grade: string }> = {
  connected: { key: "conn.connected", icon: "good", grade: "good" },
  connecting: { key: "conn.connecting", icon: "uncertain", grade: "uncertain" },
  down: { key: "conn.down", icon: "bad", grade: "bad" },
  disabled: { key: "conn.disabled", icon: "pause", grade: "none" },
};
const stateOf = (c: Connection) => STATES[c.state] ?? { key: "conn.unknown" as Key, icon: "none" as IconName, grade: "none" };
const RTT = (ms: number | null): string => (ms === null ? t("value.none") : `${ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms`);

export function ConnectionStrip() {
  if (connections.value.length === 0) return null;
  // Trouble first: a long strip must not hide it at its end.
  const order = { bad: 0, uncertain: 1, good: 2, none: 3 } as Record<string, number>;
  const list = [...connections.value].sort((a, b) => order[stateOf(a).grade] - order[stateOf(b).grade]);
  return (
    <nav class="strip" aria-label={t("conn.title")}>
      {list.map((c) => {
        const state = stateOf(c), trouble = state.grade === "bad" || state.grade === "uncertain";
        return (
          <button type="button" key={c.name} class={`conn ${state.grade}`} aria-label={t("conn.details", { name: c.name })} title={c.lastError || c.endpoint}
            onClick={() => { dialog.value = { kind: "connection", name: c.name }; }}>
            <span class={`quality ${state.grade}`}><Icon name={state.icon} /></span>
            <b>{c.name}</b><span class="state">{t(state.key)}</span>
            {trouble && c.lastError ? <span class="why">{c.lastError}</span> : state.grade === "good" ? <span class="dim">{RTT(c.rttMs)}</span> : null}
          </button>
        );
      })}
    </nav>
  );
}

export function ConnectionDialog({ name }: { name: string }) {
  void tick.value;
  const c = connections.value.find((k) => k.name === name);
  if (!c) return null;
  const state = stateOf(c);
  return (
    <Modal title={c.name} onClose={() => { dialog.value = null; }}>
      <div class="body">
        <dl class="facts">
          <dt>{t("conn.state")}</dt><dd><span class={`quality ${state.grade}`}><Icon name={state.icon} /><span>{t(state.key)}</span></span></dd>
          <dt>{t("conn.endpoint")}</dt><dd class="mono">{c.endpoint}</dd>
          <dt>{t("conn.driver")}</dt><dd>{c.driver}</dd>
          <dt>{t("conn.rtt")}</dt><dd class="digits">{RTT(c.rttMs)}</dd>
          <dt>{t("conn.requests")}</dt><dd class="digits">{formatCount(c.requests)}</dd>
          <dt>{t("conn.errors")}</dt><dd class="digits">{formatCount(c.errors)}</dd>
          <dt>{t("conn.bytesIn")}</dt><dd class="digits">{formatCount(c.bytesIn)}</dd>
          <dt>{t("conn.bytesOut")}</dt><dd class="digits">{formatCount(c.bytesOut)}</dd>
          <dt>{t("conn.lastError")}</dt>
          <dd>{c.lastError || t("conn.noError")} {c.lastErrorMs !== null && <span class="dim">{t("conn.lastErrorAge", { age: say(formatAge(serverNow() - c.lastErrorMs)) })}</span>}</dd>
          {c.lastErrorFrame && <><dt>{t("conn.lastFrame")}</dt><dd class="mono wrap">{c.lastErrorFrame.replace(/(..)(?=.)/g, "$1 ")}</dd></>}
        </dl>
        <footer><button type="button" class="primary" onClick={() => { dialog.value = null; }}>{t("close")}</button></footer>
      </div>
    </Modal>
  );
}
