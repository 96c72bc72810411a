/* broker.tsx - the broker page (broker.html): clients with their rates, retained messages, and a test client that
 * publishes and subscribes.
 *
 * A page of its own, so that the first one stays small; it shares the session's cookie, language and look. What it asks
 * is asked again every POLL_MS while it is seen. */
import { effect, signal } from "@preact/signals";
import { render } from "preact";
import { useEffect } from "preact/hooks";
import "./broker.css";
import * as api from "./api";
import { formatRate, inOrder, ratesOf, type MqttClient, type Rate, type Retained } from "./brokerrows";
import { BROKER_STRINGS, type BrokerKey } from "./brokerstrings";
import { subscribe, type Message } from "./brokersocket";
import { formatCount } from "./format";
import { lang, setLang, t, type Params } from "./i18n";
import { LANGS } from "./strings";

const POLL_MS = 2000, SHOWN_MAX = 500, RETAINED_MAX = 200;
const MESSAGES_MAX = 200, SHOW_MS = 100; // of the test client: shown at once, and how often anew

const say = (key: BrokerKey, params: Params = {}): string =>
  (BROKER_STRINGS[key][lang.value] as string).replace(/\{(\w+)\}/g, (all, name: string) => String(params[name] ?? all));

const clients = signal<readonly MqttClient[]>([]);
const hasMore = signal(false);
const rates = signal<Map<string, Rate>>(new Map());
const retained = signal<readonly Retained[]>([]);
const filter = signal("#");
const ns = signal(new URLSearchParams(location.search).get("ns") || "default"); // whose clients and messages are shown
const said = signal("");
const isOut = signal(false);
let askedAt = 0, counted: readonly MqttClient[] = []; // of the answer that the next rates begin at

api.setOnUnauthorized(() => { isOut.value = true; });

async function look(): Promise<void> {
  try {
    const now = performance.now(), shown = ns.value, answer = await api.mqttClients(shown, SHOWN_MAX);
    const kept = (await api.mqttRetained(shown, filter.value || "#", RETAINED_MAX)).retained;
    if (shown !== ns.value) return; // another one is asked for already
    // What is asked in between, after an action, is too soon after the last answer for a rate.
    if (now - askedAt > POLL_MS / 2) {
      rates.value = ratesOf(counted, answer.clients, now - askedAt);
      counted = answer.clients;
      askedAt = now;
    }
    clients.value = answer.clients;
    hasMore.value = answer.more;
    retained.value = kept;
    isOut.value = false;
  } catch (e) {
    said.value = (e as Error).message;
  }
}

async function act(what: Promise<unknown>, done: (answer: unknown) => string): Promise<void> {
  try { said.value = done(await what); } catch (e) { said.value = (e as Error).message; }
  await look();
}

/* Another one: nothing of the one before is a beginning for rates. */
function choose(name: string): void {
  ns.value = name.trim() || "default";
  counted = [];
  askedAt = 0;
  rates.value = new Map();
  said.value = "";
  void look();
}

function kick(client: string): void {
  if (confirm(say("broker.kickAsk", { client }))) void act(api.mqttKick(ns.value, client), () => say("broker.kicked", { client }));
}

const Number = ({ n, warn }: { n: number; warn?: boolean }) => <td class="n">{warn && n > 0 ? <b class="warn">{formatCount(n)}</b> : formatCount(n)}</td>;

function Client({ c }: { c: MqttClient }) {
  const rate = rates.value.get(c.client);
  return (
    <tr class={c.connected ? "" : "away"}>
      <td class="mono">{c.client}</td><td>{c.user}</td>
      <td>{c.connected ? c.peer : say("broker.away")}{c.slow && <b class="warn"> {say("broker.slow")}</b>}</td>
      <td>{c.version}</td><Number n={c.subscriptions} />
      <td class="n">{formatRate(rate?.in ?? null)}</td><td class="n">{formatRate(rate?.out ?? null)}</td>
      <Number n={c.queued} /><Number n={c.dropped} warn />
      <td class="n">{c.connected && <button type="button" class="small" onClick={() => kick(c.client)}>{say("broker.kick")}</button>}</td>
    </tr>
  );
}

function Clients() {
  const heads: [BrokerKey, boolean][] = [["broker.client", false], ["broker.user", false], ["broker.peer", false], ["broker.version", false],
    ["broker.subscriptions", true], ["broker.in", true], ["broker.out", true], ["broker.queued", true], ["broker.dropped", true]];
  return (
    <section class="wide rows" aria-label={say("broker.clients")}>
      <h2>{say("broker.clients")} <span class="dim">{clients.value.length}</span>{hasMore.value && <span class="dim">{say("broker.more")}</span>}</h2>
      {clients.value.length === 0 ? <p class="dim">{say("broker.none")}</p> : (
        <table><thead><tr>{heads.map(([key, n]) => <th class={n ? "n" : ""}>{say(key)}</th>)}<th /></tr></thead>
          <tbody>{inOrder(clients.value).map((c) => <Client key={c.client} c={c} />)}</tbody></table>)}
    </section>
  );
}

function RetainedMessages() {
  return (
    <section class="rows" aria-label={say("broker.retained")}>
      <h2>{say("broker.retained")}
        <input id="filter" aria-label={say("broker.filter")} value={filter.value} onChange={(e) => { filter.value = e.currentTarget.value; void look(); }} /></h2>
      {retained.value.length === 0 ? <p class="dim">{say("broker.noRetained")}</p> : (
        <table><thead><tr><th>{say("broker.topic")}</th><th class="n">{say("broker.size")}</th><th>{say("broker.payload")}</th></tr></thead>
          <tbody>{retained.value.map((m) => (
            <tr key={m.topic}><td class="mono">{m.topic}</td><td class="n">{formatCount(m.size)}</td>
              <td class="text mono">{m.payload ?? <span class="dim">{say("broker.binary")}</span>}</td></tr>))}</tbody></table>)}
    </section>
  );
}

function Publish() {
  const send = (e: Event): void => {
    e.preventDefault();
    const form = new FormData(e.currentTarget as HTMLFormElement);
    void act(api.mqttPublish(ns.value, { topic: String(form.get("topic")), payload: String(form.get("payload")), qos: +String(form.get("qos")), retain: form.has("retain") }),
      (answer) => say("broker.published", { n: (answer as { subscribers: number }).subscribers }));
  };
  return (
    <section>
      <h2>{say("broker.publish")}</h2>
      <form onSubmit={send}>
        <input name="topic" required aria-label={say("broker.topic")} placeholder={say("broker.topic")} />
        <textarea name="payload" aria-label={say("broker.payload")} placeholder={say("broker.payload")} />
        <div class="pair">
          <select name="qos" aria-label={say("broker.qos")}>{[0, 1, 2].map((q) => <option value={q}>{say("broker.qos")} {q}</option>)}</select>
          <label class="pair"><input type="checkbox" name="retain" />{say("broker.retain")}</label>
          <button type="submit" class="primary">{say("broker.publish")}</button>
        </div>
        <p class="hint" role="status">{said.value}</p>
      </form>
    </section>
  );
}

/* ---- what the test client has subscribed to ---- */

interface Seen extends Message { n: number; at: string }
const seen = signal<readonly Seen[]>([]); // newest first
const watching = signal<"" | "begins" | "on">("");
const watchSaid = signal("");
let stopWatching: (() => void) | null = null, arrived: Seen[] = [], count = 0;

/* Many may come at once: they are shown together. */
function show(): void {
  if (!arrived.length) return;
  seen.value = [...arrived.reverse(), ...seen.value].slice(0, MESSAGES_MAX);
  arrived = [];
}

function watch(wanted: string): void {
  const timer = setInterval(show, SHOW_MS);
  const end = (): void => { clearInterval(timer); show(); stopWatching = null; watching.value = ""; };
  count = 0;
  seen.value = [];
  arrived = [];
  watching.value = "begins";
  watchSaid.value = "";
  const stop = subscribe(new URL("mqtt", location.href.replace(/^http/, "ws")).href, wanted, {
    begun: () => { watching.value = "on"; },
    message: (m) => {
      if (arrived.length >= MESSAGES_MAX) arrived.shift();
      arrived.push({ ...m, n: ++count, at: new Date().toTimeString().slice(0, 8) });
    },
    ended: (refused) => { end(); watchSaid.value = say(refused ? "broker.refused" : "broker.ended"); },
  });
  stopWatching = () => { stop(); end(); };
}

function Subscribe() {
  const toggle = (e: Event): void => {
    e.preventDefault();
    if (stopWatching) stopWatching();
    else watch(String(new FormData(e.currentTarget as HTMLFormElement).get("filter")));
  };
  return (
    <section class="wide rows" aria-label={say("broker.subscribe")}>
      <h2 title={say("broker.asYou")}>{say("broker.subscribe")}
        <form class="pair" onSubmit={toggle}>
          <input id="watch" name="filter" required disabled={!!watching.value} aria-label={say("broker.filter")} placeholder="plant/#" />
          <button type="submit" class="primary">{say(watching.value ? "broker.stop" : "broker.start")}</button>
        </form>
        <span class="dim" role="status">{watching.value === "on" ? say("broker.seen", { n: formatCount(seen.value[0]?.n ?? 0) }) : watchSaid.value}</span></h2>
      {seen.value.length > 0 && (
        <div class="log"><table><thead><tr><th>{say("broker.time")}</th><th>{say("broker.topic")}</th><th class="n">{say("broker.size")}</th><th>{say("broker.payload")}</th></tr></thead>
          <tbody>{seen.value.map((m) => (
            <tr key={m.n}><td>{m.at}</td><td class="mono">{m.topic}{m.retained && <span class="dim"> {say("broker.kept")}</span>}</td><td class="n">{formatCount(m.size)}</td>
              <td class="text mono">{m.payload ?? <span class="dim">{say("broker.binary")}</span>}</td></tr>))}</tbody></table></div>)}
    </section>
  );
}

function Page() {
  useEffect(() => {
    void look();
    const timer = setInterval(() => { if (!document.hidden && !isOut.value) void look(); }, POLL_MS);
    return () => clearInterval(timer);
  }, []);
  return (
    <div class="page">
      <header class="top">
        <h1><span>{say("broker.title")}</span></h1>
        <a href="./">← {say("broker.back")}</a><span class="grow" />
        <label class="pair">{say("broker.namespace")} <input id="namespace" value={ns.value} onChange={(e) => choose(e.currentTarget.value)} /></label>
        <div class="segmented" role="group">{LANGS.map((l) => <button type="button" lang={l} aria-pressed={lang.value === l} onClick={() => setLang(l)}>{t(`lang.${l}`)}</button>)}</div>
      </header>
      {isOut.value ? <p class="nothing"><a href="./">{say("broker.signIn")}</a></p>
        : <main class="broker"><Clients /><Subscribe /><RetainedMessages /><Publish /></main>}
    </div>
  );
}

document.documentElement.dataset.theme = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
effect(() => {
  document.documentElement.lang = lang.value === "zh" ? "zh-CN" : "en";
  document.title = say("broker.title");
});
render(<Page />, document.getElementById("app")!);
