/* Claims about the broker page's MQTT client: the bytes it sends, and packets out of bytes however they are cut. */
import { expect, test } from "vitest";
import { connectBytes, packetReader, subscribeBytes } from "../src/brokersocket";

const publish = (topic: string, payload: number[], first = 0x30): number[] => {
  const name = [...new TextEncoder().encode(topic)], size = 2 + name.length + payload.length;
  return [first, ...(size < 128 ? [size] : [(size & 127) | 128, size >> 7]), 0, name.length, ...name, ...payload];
};

test("CONNECT and SUBSCRIBE are as MQTT 3.1.1 has them", () => {
  expect([...connectBytes()]).toEqual([0x10, 12, 0, 4, 77, 81, 84, 84, 4, 2, 0, 60, 0, 0]);
  expect([...subscribeBytes("a/#")]).toEqual([0x82, 8, 0, 1, 0, 3, 97, 47, 35, 0]);
  expect([...subscribeBytes("x".repeat(200))].slice(0, 3)).toEqual([0x82, 0x80 | (205 & 127), 1]);
});

test("packets come whole, however the bytes were cut", () => {
  const long = "y".repeat(300);
  const bytes = [0x20, 2, 0, 0, 0x90, 3, 0, 1, 0, ...publish("t/ü", [...new TextEncoder().encode("25 °C")], 0x31), 0xd0, 0, ...publish("t", [...new TextEncoder().encode(long)])];
  for (const step of [1, 2, 3, 7, 1000]) {
    const take = packetReader(), seen = [];
    for (let at = 0; at < bytes.length; at += step) seen.push(...take(new Uint8Array(bytes.slice(at, at + step))));
    expect(seen).toEqual([
      { kind: "connected", code: 0 }, { kind: "subscribed", code: 0 },
      { kind: "message", message: { topic: "t/ü", payload: "25 °C", size: 6, retained: true } }, { kind: "other" },
      { kind: "message", message: { topic: "t", payload: long, size: 300, retained: false } },
    ]);
  }
});

test("what is no text is said to be none", () => {
  const [seen] = packetReader()(new Uint8Array(publish("t", [0xff, 0])));
  expect(seen).toEqual({ kind: "message", message: { topic: "t", payload: null, size: 2, retained: false } });
});
