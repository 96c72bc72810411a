/* Claims about the broker page's rows: rates of two answers, order, and texts in every language. */
import { expect, test } from "vitest";
import { formatRate, inOrder, ratesOf, type MqttClient } from "../src/brokerrows";
import { BROKER_STRINGS } from "../src/brokerstrings";

const client = (name: string, more: Partial<MqttClient> = {}): MqttClient =>
  ({ client: name, user: "u", connected: true, slow: false, subscriptions: 0, queued: 0, received: 0, sent: 0, dropped: 0, ...more });

test("a rate is what came between two answers, per second", () => {
  const rates = ratesOf([client("a", { received: 10, sent: 4 })], [client("a", { received: 30, sent: 4 }), client("b")], 2000);
  expect(rates.get("a")).toEqual({ in: 10, out: 0 });
  expect(rates.get("b")).toEqual({ in: null, out: null });
});

test("counters that began anew are no rate", () => {
  expect(ratesOf([client("a", { received: 10 })], [client("a", { received: 3 })], 1000).get("a")!.in).toBeNull();
  expect(formatRate(null)).toBe("–");
  expect(formatRate(12.34)).toBe("12.3");
});

test("trouble comes first, who is away last", () => {
  const order = inOrder([client("z"), client("away", { connected: false }), client("a"), client("slow", { slow: true }), client("lossy", { dropped: 1 })]);
  expect(order.map((c) => c.client)).toEqual(["lossy", "slow", "a", "z", "away"]);
});

test("every text of the broker page has every language and the same parameters", () => {
  const parameters = (s: string): string[] => [...s.matchAll(/\{(\w+)\}/g)].map((m) => m[1]).sort();
  for (const text of Object.values(BROKER_STRINGS)) {
    expect(text.zh.trim()).not.toBe("");
    expect(parameters(text.zh)).toEqual(parameters(text.en));
  }
});
