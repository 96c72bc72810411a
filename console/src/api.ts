/* api.ts - every request the console makes, and nothing else makes one.
 *
 * All URLs are relative: the same page works under /n/CHILD/ through a parent node. The session is the HttpOnly cookie
 * of v1/login; the token in its answer is not kept. A 401 anywhere means the session is over: `onUnauthorized` is
 * called and the login page returns. Nothing goes to another host. */
import type { MqttClient, Retained } from "./brokerrows";
import { t } from "./i18n";
import { noteServerDate } from "./clock";

export interface Cause { field: string; message: string }

export class ApiError extends Error {
  constructor(
    readonly status: number, // 0: no answer at all
    message: string,
    readonly causes: readonly Cause[] = [],
  ) { super(message); }
}

export interface SqlResult { columns: { name: string; type: string }[]; rows: unknown[][] }
export interface About { version: string; tier: string; node: { name: string; path: string }; modules: unknown[] }
export interface Document { apiVersion: string; kind: string; metadata: { name: string }; spec: Record<string, unknown> }
export interface WriteResult { value: unknown; readBack: unknown; time: string }

const GROUP = "apis/millrace.io/v1/namespaces/default";
const TIMEOUT_MS = 15000;

let onUnauthorized: () => void = () => undefined;
export function setOnUnauthorized(call: () => void): void { onUnauthorized = call; }

/* What the server said, in either of its two error forms: {"error":{…}} or a Kubernetes Status. */
function errorOf(status: number, body: unknown): ApiError {
  const b = (body ?? {}) as { error?: { message?: string } | string; message?: string; details?: { causes?: Cause[] } };
  const said = typeof b.error === "string" ? b.error : b.error?.message ?? b.message;
  return new ApiError(status, said || t("net.http", { status }), b.details?.causes ?? []);
}

async function request(method: string, url: string, body?: unknown, type = "application/json"): Promise<unknown> {
  const abort = new AbortController();
  const timer = setTimeout(() => abort.abort(), TIMEOUT_MS);
  try {
    const sent = Date.now();
    const answer = await fetch(url, {
      method,
      headers: { Accept: "application/json", ...(body === undefined ? {} : { "Content-Type": type }) },
      body: body === undefined ? undefined : JSON.stringify(body),
      signal: abort.signal,
      cache: "no-store",
    });
    noteServerDate(answer.headers.get("Date"), sent, Date.now());
    const text = await answer.text();
    const parsed = text ? parse(text) : null;
    if (answer.status === 401 && url !== "v1/login") onUnauthorized();
    if (!answer.ok) throw errorOf(answer.status, parsed);
    return parsed;
  } catch (e) {
    if (e instanceof ApiError) throw e;
    throw new ApiError(0, t("net.unreachable"));
  } finally {
    clearTimeout(timer);
  }
}

/* A proxy's error page is no JSON: then the status alone speaks. */
function parse(text: string): unknown {
  try { return JSON.parse(text); } catch { return null; }
}

export const login = (user: string, password: string) => request("POST", "v1/login", { user, password });
export const logout = () => request("POST", "v1/logout");
export const about = () => request("GET", "v1/about") as Promise<About>;

/* Times in the answer are milliseconds. */
export const sql = (query: string, params: readonly unknown[] = []) =>
  request("POST", "v1/sql?time=ms", { query, params }) as Promise<SqlResult>;

export const writePoint = (device: string, point: string, value: unknown, reason: string) =>
  request("POST", `${GROUP}/devices/${encodeURIComponent(device)}/write`, { point, value, reason }) as Promise<WriteResult>;

export type Plural = "connections" | "tables" | "devices";
export const create = (plural: Plural, doc: Document) => request("POST", `${GROUP}/${plural}`, doc);
export const patch = (plural: Plural, doc: Document) =>
  request("PATCH", `${GROUP}/${plural}/${encodeURIComponent(doc.metadata.name)}`, { spec: doc.spec }, "application/merge-patch+json");
export const list = async (plural: Plural): Promise<Document[]> =>
  ((await request("GET", `${GROUP}/${plural}`)) as { items?: Document[] } | null)?.items ?? [];

/* ---- the broker ---- */

const inNs = (ns: string): string => `ns=${encodeURIComponent(ns)}`;
export const mqttClients = (ns: string, limit: number) =>
  request("GET", `v1/mqtt/clients?${inNs(ns)}&limit=${limit}`) as Promise<{ clients: MqttClient[]; more: boolean }>;
export const mqttRetained = (ns: string, filter: string, limit: number) =>
  request("GET", `v1/mqtt/retained?${inNs(ns)}&payload=true&limit=${limit}&topic=${encodeURIComponent(filter)}`) as Promise<{ retained: Retained[] }>;
export const mqttKick = (ns: string, client: string) => request("DELETE", `v1/mqtt/clients/${encodeURIComponent(client)}?${inNs(ns)}`);
export const mqttPublish = (ns: string, message: { topic: string; payload: string; qos: number; retain: boolean }) =>
  request("POST", `v1/mqtt/publish?${inNs(ns)}`, message);
