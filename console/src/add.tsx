/* add.tsx - the dialog that adds a Modbus device: connection, device, points; then its values, as they begin to move.
 *
 * Three documents are created one after the other. If a later one is refused, the earlier ones exist already: what
 * this dialog created it remembers, and a corrected second try changes those instead of failing on "already exists". */
import { useEffect, useState } from "preact/hooks";
import * as api from "./api";
import { nextAddress, ordersOf, TYPES } from "./address";
import * as form from "./addform";
import type { Form, KnownTable, PointRow } from "./addform";
import { formatAge } from "./format";
import { serverNow } from "./clock";
import { say, t } from "./i18n";
import { connections, points, refresh, tick } from "./source";
import { about, dialog, trend, TREND_POINTS_MAX } from "./state";
import type { Key } from "./strings";
import { Field, Icon, Modal, Quality } from "./widgets";
import { Spark, Value } from "./table";

type Shown = Record<string, string>; // field path -> text

const PARITIES = ["none", "even", "odd"] as const;
const BAUDS = ["1200", "2400", "4800", "9600", "19200", "38400", "57600", "115200"];
const GOOD_AFTER_MS = 5000; // so long a fresh device may take before its silence is explained

async function knownTables(): Promise<KnownTable[]> {
  const docs = await api.list("tables");
  return docs.map((d) => ({ name: d.metadata.name, columns: ((d.spec?.columns ?? []) as { name: string }[]).map((c) => c.name) }));
}

/* Creates what is not there yet; throws ApiError with `plural` saying at which document. */
async function createAll(steps: readonly form.Step[], done: Map<string, string>): Promise<void> {
  for (const { plural, doc } of steps) {
    const id = `${plural}/${doc.metadata.name}`, content = JSON.stringify(doc.spec);
    if (done.get(id) === content) continue;
    try {
      await (done.has(id) ? api.patch(plural, doc) : api.create(plural, doc));
    } catch (e) {
      throw Object.assign(e as Error, { plural });
    }
    done.set(id, content);
  }
}

function shownErrors(e: unknown): Shown {
  const failed = e as api.ApiError & { plural?: api.Plural };
  const shown: Shown = {};
  for (const cause of failed.causes ?? []) {
    const at = failed.plural ? form.fieldOfCause(failed.plural, cause.field) : "";
    shown[at] = at ? cause.message : `${shown[at] ? shown[at] + " · " : ""}${cause.field}: ${cause.message}`;
  }
  if (Object.keys(shown).length > 0) return shown;
  const NAMES: Record<api.Plural, string> = { connections: "connName", tables: "table", devices: "deviceName" };
  return { [failed.status === 409 && failed.plural ? NAMES[failed.plural] : ""]: failed.message };
}

interface Part { f: Form; set: (change: Partial<Form>) => void; errors: Shown }

function ConnectionPart({ f, set, errors }: Part) {
  const names = connections.value.filter((c) => c.driver === "" || c.driver.startsWith("modbus")).map((c) => c.name);
  return (
    <fieldset>
      <legend>{t("add.connection")}
        {names.length > 0 && (
          <span class="segmented" role="group">
            <button type="button" aria-pressed={f.useExisting} onClick={() => set({ useExisting: true, existing: f.existing || names[0] })}>{t("add.existing")}</button>
            <button type="button" aria-pressed={!f.useExisting} onClick={() => set({ useExisting: false })}>{t("add.new")}</button>
          </span>
        )}
      </legend>
      <div class="fields">
        {f.useExisting ? (
          <Field label={t("add.connName")} error={errors.existing} grow hint={connections.value.find((c) => c.name === f.existing)?.endpoint}>
            <select value={f.existing} onChange={(e) => set({ existing: e.currentTarget.value })}>{names.map((n) => <option value={n}>{n}</option>)}</select>
          </Field>
        ) : <NewConnection f={f} set={set} errors={errors} />}
      </div>
    </fieldset>
  );
}

function NewConnection({ f, set, errors }: Part) {
  return (
    <>
      <Field label={t("add.kind")} error={errors.kind}>
        <select value={f.kind} onChange={(e) => set({ kind: e.currentTarget.value, port: e.currentTarget.value === "tls" ? "802" : f.port === "802" ? "502" : f.port })}>
          {form.KINDS.map((k) => <option value={k}>{t(`add.kind.${k}` as Key)}</option>)}
        </select>
      </Field>
      {f.kind === "rtu" ? (
        <>
          <Field label={t("add.serial")} error={errors.serial ?? errors.host} grow>
            <input value={f.serial} spellcheck={false} onInput={(e) => set({ serial: e.currentTarget.value })} /></Field>
          <Field label={t("add.baud")}>
            <select value={f.baud} onChange={(e) => set({ baud: e.currentTarget.value })}>{BAUDS.map((b) => <option value={b}>{b}</option>)}</select></Field>
          <Field label={t("add.parity")}>
            <select value={f.parity} onChange={(e) => set({ parity: e.currentTarget.value })}>{PARITIES.map((p) => <option value={p}>{t(`add.parity.${p}`)}</option>)}</select></Field>
        </>
      ) : (
        <>
          <Field label={t("add.host")} error={errors.host} grow>
            <input value={f.host} placeholder="10.0.0.7" spellcheck={false} autocomplete="off" onInput={(e) => set({ host: e.currentTarget.value })} /></Field>
          <Field label={t("add.port")} error={errors.port}>
            <input class="short" value={f.port} inputMode="numeric" onInput={(e) => set({ port: e.currentTarget.value })} /></Field>
        </>
      )}
      <Field label={t("add.unit")} error={errors.unit}>
        <input class="short" value={f.unit} inputMode="numeric" onInput={(e) => set({ unit: e.currentTarget.value })} /></Field>
      <Field label={t("add.connName")} error={errors.connName} grow>
        <input value={f.connName} placeholder={form.connNameOf({ ...f, connName: "" })} spellcheck={false} autocomplete="off" onInput={(e) => set({ connName: e.currentTarget.value })} /></Field>
    </>
  );
}

function DevicePart({ f, set, errors, tables }: Part & { tables: readonly KnownTable[] }) {
  const prefix = about.value?.node.path ? `${about.value.node.path}/` : "";
  const exists = tables.some((k) => k.name === form.tableNameOf(f));
  return (
    <fieldset>
      <legend>{t("add.device")}</legend>
      <div class="fields">
        <Field label={t("add.path")} error={errors.path} grow>
          <span class="prefixed">{prefix && <span class="dim">{prefix}</span>}
            <input value={f.path} placeholder="line3/press07" spellcheck={false} autocomplete="off" onInput={(e) => set({ path: e.currentTarget.value })} /></span></Field>
        <Field label={t("add.deviceName")} error={errors.deviceName}>
          <input value={f.deviceName} placeholder={form.deviceNameOf({ ...f, deviceName: "" })} spellcheck={false} autocomplete="off" onInput={(e) => set({ deviceName: e.currentTarget.value })} /></Field>
        <Field label={t("add.table")} error={errors.table} hint={t(exists ? "add.tableExists" : "add.tableHint")}>
          <input value={f.table} list="tables" placeholder={form.tableNameOf({ ...f, table: "" })} spellcheck={false} autocomplete="off" onInput={(e) => set({ table: e.currentTarget.value })} /></Field>
        <datalist id="tables">{tables.map((k) => <option value={k.name} />)}</datalist>
        <Field label={t("add.interval")} error={errors.interval}>
          <input class="short" value={f.interval} spellcheck={false} onInput={(e) => set({ interval: e.currentTarget.value })} /></Field>
      </div>
    </fieldset>
  );
}

const HEADS: readonly Key[] = ["add.column", "add.address", "add.type", "add.order", "add.scale", "add.engUnit", "add.access"];

function PointLine(props: { row: PointRow; index: number; errors: Shown; change: (c: Partial<PointRow>) => void; remove: () => void }) {
  const { row, index, errors, change } = props;
  const wrong = (name: string): string | undefined => errors[`points.${index}.${name}`];
  const cell = (name: "column" | "address" | "scale" | "unit", head: Key, placeholder: string) => (
    <td class={wrong(name) ? "wrong" : undefined}>
      <input aria-label={t(head)} value={row[name]} placeholder={placeholder} spellcheck={false} autocomplete="off" aria-invalid={!!wrong(name)}
        onInput={(e) => change({ [name]: e.currentTarget.value })} />
    </td>
  );
  const orders = ordersOf(row.type);
  const types = Object.keys(TYPES).concat("string(16)", "bytes(16)");
  const problems = ["column", "address", "type", "order", "scale", "unit", "access"].map(wrong).filter(Boolean);
  return (
    <>
      <tr>
        {cell("column", "add.column", "temperature")}
        {cell("address", "add.address", "400001")}
        <td class={wrong("type") ? "wrong" : undefined}><input aria-label={t("add.type")} list="types" value={row.type} spellcheck={false} onInput={(e) => change({ type: e.currentTarget.value, order: "" })} /></td>
        <td><select aria-label={t("add.order")} disabled={orders.length === 0} value={row.order || orders[0]} onChange={(e) => change({ order: e.currentTarget.value === orders[0] ? "" : e.currentTarget.value })}>
          {orders.map((o) => <option value={o}>{o}</option>)}</select></td>
        {cell("scale", "add.scale", "1")}
        {cell("unit", "add.engUnit", "°C")}
        <td><select aria-label={t("add.access")} value={row.access} onChange={(e) => change({ access: e.currentTarget.value as "r" | "rw" })}>
          <option value="r">{t("add.access.r")}</option><option value="rw">{t("add.access.rw")}</option></select></td>
        <td><button type="button" class="quiet square" aria-label={t("add.removeRow", { n: index + 1 })} title={t("add.removeRow", { n: index + 1 })} onClick={props.remove}><Icon name="close" /></button></td>
      </tr>
      {problems.length > 0 && <tr class="problems"><td colSpan={8}><span class="error" role="alert">{problems.join(" ")}</span></td></tr>}
      {index === 0 && <datalist id="types">{types.map((type) => <option value={type} />)}</datalist>}
    </>
  );
}

function PointsPart({ f, set, errors }: Part) {
  const change = (i: number, c: Partial<PointRow>): void => set({ points: f.points.map((r, k) => (k === i ? { ...r, ...c } : r)) });
  const add = (): void => {
    const last = f.points[f.points.length - 1];
    set({ points: [...f.points, last ? { ...last, column: "", unit: "", address: nextAddress(last.address, last.type) } : form.newRow()] });
  };
  return (
    <fieldset>
      <legend>{t("add.points")}</legend>
      <div class="scrollx"><table class="pointform">
        <thead><tr>{HEADS.map((h) => <th>{t(h)}</th>)}<th /></tr></thead>
        <tbody>{f.points.map((row, i) => (
          <PointLine row={row} index={i} errors={errors} change={(c) => change(i, c)} remove={() => set({ points: f.points.filter((_, k) => k !== i) })} />
        ))}</tbody>
      </table></div>
      {errors.points && <p class="error">{errors.points}</p>}
      <div class="under"><button type="button" onClick={add}><Icon name="plus" />{t("add.addRow")}</button><span class="hint">{t("add.addressHelp")}</span></div>
    </fieldset>
  );
}

/* The new device's points, live; and what its connection says if they do not come. */
function Moving({ name, connection, again }: { name: string; connection: string; again: () => void }) {
  void tick.value;
  const [since] = useState(serverNow());
  const mine = points.value.filter((p) => p.name === name);
  const good = mine.length > 0 && mine.every((p) => p.grade === "good");
  const line = connections.value.find((c) => c.name === connection);
  const late = !good && serverNow() - since > GOOD_AFTER_MS;
  useEffect(() => { if (mine.length === 0) refresh(); }, [tick.value, mine.length]);
  const openTrend = (): void => {
    trend.value = mine.slice(0, TREND_POINTS_MAX).map((p) => p.key);
    dialog.value = null;
  };
  return (
    <div class="body">
      <p class={good ? "result good" : late ? "result bad" : "result"} role="status">
        <Icon name={good ? "good" : late ? "uncertain" : "link"} />
        {good ? t("add.moving", { device: name }) : late ? t("add.notGood", { message: line?.lastError || t(stateKey(line?.state)) }) : t("add.created")}
      </p>
      <table class="moving"><tbody>
        {mine.map((p) => (
          <tr key={p.key}><td class="name">{p.point}</td><td><Spark p={p} /></td><td class="right"><Value p={p} /></td><td><Quality quality={p.quality} /></td>
            <td class="dim">{say(formatAge(p.timeMs === null ? null : serverNow() - p.timeMs))}</td></tr>
        ))}
      </tbody></table>
      <footer>
        <button type="button" onClick={again}>{t("add.another")}</button>
        <button type="button" onClick={() => { dialog.value = null; }}>{t("close")}</button>
        <button type="button" class="primary" disabled={mine.length === 0} onClick={openTrend}><Icon name="trend" />{t("add.openTrend")}</button>
      </footer>
    </div>
  );
}

const stateKey = (state: string | undefined): Key => {
  const key = `conn.${state}`;
  return key === "conn.connected" || key === "conn.connecting" || key === "conn.down" || key === "conn.disabled" ? key : "conn.unknown";
};

function startForm(): Form {
  const first = connections.value[0];
  return { ...form.newForm(), useExisting: first !== undefined, existing: first?.name ?? "" };
}

export function AddDialog() {
  const [f, setForm] = useState<Form>(startForm);
  const [tables, setTables] = useState<KnownTable[]>([]);
  const [asked, setAsked] = useState(false); // a first try was made: from now on fields are judged while typing
  const [refused, setRefused] = useState<Shown>({});
  const [busy, setBusy] = useState(false);
  const [done] = useState(new Map<string, string>());
  const [created, setCreated] = useState<{ name: string; connection: string } | null>(null);
  // Without the list (no right to read it) every table counts as new; the server then says what is wrong.
  useEffect(() => { knownTables().then(setTables, () => undefined); }, [created]);

  const found = form.checkForm(f, tables.filter((k) => !done.has(`tables/${k.name}`)));
  // An address is judged as soon as it is typed, the rest after the first try.
  const own = Object.fromEntries(Object.entries(found).filter(([field, m]) => asked || (field.endsWith(".address") && m.key !== "err.required")).map(([k, m]) => [k, say(m)]));
  const errors: Shown = { ...refused, ...own };
  const set = (change: Partial<Form>): void => { setForm({ ...f, ...change }); setRefused({}); };

  async function submit(e: Event): Promise<void> {
    e.preventDefault();
    setAsked(true);
    if (Object.keys(found).length > 0 || busy) return;
    setBusy(true);
    try {
      await createAll(form.documentsOf(f, tables.filter((k) => !done.has(`tables/${k.name}`))), done);
      refresh();
      setCreated({ name: form.deviceNameOf(f), connection: f.useExisting ? f.existing : form.connNameOf(f) });
    } catch (failed) {
      setRefused(shownErrors(failed));
    } finally {
      setBusy(false);
    }
  }
  const again = (): void => { done.clear(); setAsked(false); setForm({ ...startForm(), useExisting: true, existing: created!.connection }); setCreated(null); };
  return (
    <Modal title={t("add.title")} wide onClose={() => { dialog.value = null; }}>
      {created ? <Moving name={created.name} connection={created.connection} again={again} /> : (
        <form class="body" onSubmit={(e) => void submit(e)} noValidate>
          <ConnectionPart f={f} set={set} errors={errors} />
          <DevicePart f={f} set={set} errors={errors} tables={tables} />
          <PointsPart f={f} set={set} errors={errors} />
          <footer>
            <span class="error grow" role="alert">{errors[""] ?? (asked && Object.keys(found).length > 0 ? t("add.fix") : "")}</span>
            <button type="button" onClick={() => { dialog.value = null; }}>{t("cancel")}</button>
            <button type="submit" class="primary" disabled={busy}>{t(busy ? "add.busy" : "add.submit")}</button>
          </footer>
        </form>
      )}
    </Modal>
  );
}
