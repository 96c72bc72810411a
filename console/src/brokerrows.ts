/* brokerrows.ts - what the node says about MQTT clients, and rates made of two such answers. */

export interface MqttClient {
  client: string; user: string; connected: boolean; peer?: string; version?: string; slow: boolean;
  subscriptions: number; queued: number; received: number; sent: number; dropped: number;
}
export interface Retained { topic: string; size: number; qos: number; payload?: string; payload64?: string }
export interface Rate { in: number | null; out: number | null } // per second; null: not known yet

/* Counters begin anew with a new session: a step back is no rate. */
const perSecond = (before: number, now: number, ms: number): number | null => (now < before || ms <= 0 ? null : ((now - before) * 1000) / ms);

export function ratesOf(before: readonly MqttClient[], now: readonly MqttClient[], ms: number): Map<string, Rate> {
  const old = new Map(before.map((c) => [c.client, c]));
  return new Map(now.map((c) => {
    const was = old.get(c.client);
    return [c.client, was ? { in: perSecond(was.received, c.received, ms), out: perSecond(was.sent, c.sent, ms) } : { in: null, out: null }];
  }));
}

/* Trouble first, then who is here, by name. */
export function inOrder(clients: readonly MqttClient[]): MqttClient[] {
  const rank = (c: MqttClient): number => (c.slow || c.dropped > 0 ? 0 : c.connected ? 1 : 2);
  return [...clients].sort((a, b) => rank(a) - rank(b) || (a.client < b.client ? -1 : 1));
}

export const formatRate = (n: number | null): string => (n === null ? "–" : n >= 100 ? String(Math.round(n)) : n.toFixed(1));
