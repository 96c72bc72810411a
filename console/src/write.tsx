/* write.tsx - the dialog that writes one point: value and reason, then a plain question, then what came back.
 *
 * Two steps, because the value goes to running equipment. The value shown as "now" keeps moving underneath. */
import { useState } from "preact/hooks";
import * as api from "./api";
import { decimalsNeeded, formatNumber, isBool, isText } from "./format";
import { t } from "./i18n";
import { pointByKey, refresh, tick, type Point } from "./source";
import { dialog } from "./state";
import { Field, Icon, Modal, Quality } from "./widgets";
import { Path, Value } from "./table";
import { checkValue, sameValue } from "./writecheck";

type Stage = { at: "edit" | "confirm" | "busy" } | { at: "done"; result: api.WriteResult };

function rangeHint(p: Point): string | undefined {
  if (p.min !== null && p.max !== null) return t("write.range", { min: p.min, max: p.max });
  if (p.min !== null) return t("write.min", { min: p.min });
  return p.max !== null ? t("write.max", { max: p.max }) : undefined;
}

function shown(p: Point, value: unknown): string {
  if (value === null || value === undefined) return t("value.none");
  if (isBool(p.type)) return t(value === true || value === "true" || value === 1 ? "value.on" : "value.off");
  return typeof value === "number" ? `${formatNumber(value, Math.max(decimalsNeeded(value), 0))} ${p.unit}` : `${String(value)} ${p.unit}`;
}

function Facts({ p }: { p: Point }) {
  void tick.value;
  return (
    <dl class="facts">
      <dt>{t("write.device")}</dt><dd><Path path={p.device} /> <span class="dim">{p.address}</span></dd>
      <dt>{t("write.now")}</dt><dd><Value p={p} /> <Quality quality={p.quality} /></dd>
    </dl>
  );
}

function ValueInput({ p, typed, setTyped }: { p: Point; typed: string; setTyped: (v: string) => void }) {
  if (isBool(p.type)) return (
    <span class="segmented big" role="group">
      <button type="button" aria-pressed={typed === "true"} onClick={() => setTyped("true")}>{t("value.on")}</button>
      <button type="button" aria-pressed={typed === "false"} onClick={() => setTyped("false")}>{t("value.off")}</button>
    </span>
  );
  return (
    <span class="prefixed"><input autofocus class={isText(p.type) ? "" : "digits"} value={typed} inputMode={isText(p.type) ? "text" : "decimal"} autocomplete="off"
      onInput={(e) => setTyped(e.currentTarget.value)} /><span class="dim">{p.unit}</span></span>
  );
}

function WriteForm({ p }: { p: Point }) {
  const [typed, setTyped] = useState("");
  const [reason, setReason] = useState("");
  const [stage, setStage] = useState<Stage>({ at: "edit" });
  const [asked, setAsked] = useState(false);
  const [failed, setFailed] = useState("");
  const checked = checkValue(p, typed);
  const wrongValue = "error" in checked ? t(checked.error.key, checked.error.params) : "";
  const wrongReason = reason.trim() === "" ? t("write.needReason") : "";
  const close = (): void => { dialog.value = null; };

  async function write(): Promise<void> {
    if ("error" in checked) return;
    setStage({ at: "busy" });
    setFailed("");
    try {
      setStage({ at: "done", result: await api.writePoint(p.name || p.device, p.point, checked.value, reason.trim()) });
      refresh();
    } catch (e) {
      setFailed(e instanceof Error ? e.message : String(e));
      setStage({ at: "edit" });
    }
  }
  function submit(e: Event): void {
    e.preventDefault();
    setAsked(true);
    if (stage.at === "edit" && !wrongValue && !wrongReason) { setFailed(""); setStage({ at: "confirm" }); }
    else if (stage.at === "confirm") void write();
  }

  if (stage.at === "done") {
    const sent = "value" in checked ? checked.value : null, same = sameValue(sent, stage.result.readBack);
    return (
      <div class="body">
        <p class={same ? "result good" : "result bad"} role="status"><Icon name={same ? "good" : "uncertain"} />{t(same ? "write.done" : "write.readBackDiffers")}</p>
        <dl class="facts">
          <dt>{t("write.new")}</dt><dd class="strong">{shown(p, stage.result.value ?? sent)}</dd>
          <dt>{t("write.readBack")}</dt><dd class="strong">{shown(p, stage.result.readBack)}</dd>
          <dt>{t("write.now")}</dt><dd><Value p={p} /> <Quality quality={p.quality} /></dd>
        </dl>
        <footer><button type="button" class="primary" onClick={close}>{t("close")}</button></footer>
      </div>
    );
  }
  return (
    <form class="body" onSubmit={submit} noValidate>
      <Facts p={p} />
      {stage.at === "edit" ? (
        <>
          <Field label={t("write.new")} error={asked ? wrongValue : typed && wrongValue ? wrongValue : ""} hint={rangeHint(p)}><ValueInput p={p} typed={typed} setTyped={setTyped} /></Field>
          <Field label={t("write.reason")} error={asked ? wrongReason : ""}>
            <input value={reason} maxLength={200} placeholder={t("write.reasonHint")} autocomplete="off" onInput={(e) => setReason(e.currentTarget.value)} /></Field>
          {failed && <p class="result bad" role="alert"><Icon name="bad" />{failed}</p>}
          <footer><button type="button" onClick={close}>{t("cancel")}</button><button type="submit" class="primary">{t("write.next")}</button></footer>
        </>
      ) : (
        <>
          <div class="question"><b class="strong">{p.point} → {shown(p, "value" in checked ? checked.value : null)}</b><p>{t("write.confirm")}</p><p class="dim">{reason}</p></div>
          <footer><button type="button" disabled={stage.at === "busy"} onClick={() => setStage({ at: "edit" })}>{t("write.back")}</button>
            <button type="submit" autofocus class="danger" disabled={stage.at === "busy"}>{t(stage.at === "busy" ? "write.busy" : "write.do")}</button></footer>
        </>
      )}
    </form>
  );
}

export function WriteDialog({ pointKey }: { pointKey: string }) {
  const p = pointByKey(pointKey);
  if (!p) return null;
  return <Modal title={t("write.title", { point: p.point })} onClose={() => { dialog.value = null; }}><WriteForm p={p} /></Modal>;
}
