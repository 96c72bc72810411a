/* brokersocket.ts - a subscription of the broker page: a small MQTT client (3.1.1, QoS 0) over the WebSocket /mqtt.
 *
 * The session's cookie says who subscribes, so CONNECT brings no user. Bytes are made and read by the functions above
 * `subscribe`, which know no socket and have tests; frames of the socket and packets need not coincide. */
export interface Message { topic: string; payload: string | null; size: number; retained: boolean } // null: not a text
export type Packet =
  | { kind: "connected"; code: number } | { kind: "subscribed"; code: number } | { kind: "message"; message: Message } | { kind: "other" };

const CONNACK = 2, PUBLISH = 3, SUBACK = 9;
const PING_MS = 30_000, KEEP_ALIVE_S = 60;
const REFUSED = 0x80; // MQTT 3.1.1 section 3.9.3

const text = (s: string): number[] => {
  const bytes = new TextEncoder().encode(s);
  return [bytes.length >> 8, bytes.length & 255, ...bytes];
};

/* Section 2.2.3. */
function packet(first: number, body: number[]): Uint8Array {
  const length: number[] = [];
  let rest = body.length;
  do { length.push((rest & 127) | (rest > 127 ? 128 : 0)); rest >>= 7; } while (rest);
  return new Uint8Array([first, ...length, ...body]);
}

/* Clean session, a name of its own, so that a subscription ends with the page. */
export const connectBytes = (): Uint8Array => packet(0x10, [...text("MQTT"), 4, 2, 0, KEEP_ALIVE_S, ...text("")]);
export const subscribeBytes = (filter: string): Uint8Array => packet(0x82, [0, 1, ...text(filter), 0]);
export const pingBytes = (): Uint8Array => packet(0xc0, []);

function decode(bytes: Uint8Array): string | null {
  try { return new TextDecoder("utf-8", { fatal: true }).decode(bytes); } catch { return null; }
}

function read(first: number, body: Uint8Array): Packet {
  const type = first >> 4;
  if (type === CONNACK) return { kind: "connected", code: body[1] };
  if (type === SUBACK) return { kind: "subscribed", code: body[2] };
  if (type !== PUBLISH) return { kind: "other" };
  const end = 2 + (body[0] << 8 | body[1]), payload = body.subarray(end); // QoS 0: no identifier
  return { kind: "message", message: { topic: decode(body.subarray(2, end)) ?? "", payload: decode(payload), size: payload.length, retained: (first & 1) > 0 } };
}

/* Takes bytes as they come, gives whole packets. */
export function packetReader(): (bytes: Uint8Array) => Packet[] {
  let held = new Uint8Array();
  return (bytes) => {
    const all = new Uint8Array(held.length + bytes.length), out: Packet[] = [];
    all.set(held);
    all.set(bytes, held.length);
    let at = 0;
    for (;;) {
      let size = 0, shift = 0, body = at + 1;
      for (; body < all.length; shift += 7) {
        size |= (all[body] & 127) << shift;
        if (all[body++] < 128) { shift = -1; break; }
      }
      if (shift >= 0 || body + size > all.length) break;
      out.push(read(all[at], all.subarray(body, body + size)));
      at = body + size;
    }
    held = all.slice(at);
    return out;
  };
}

export interface Watcher { message(m: Message): void; begun(): void; ended(refused: boolean): void }

/* Subscribes until the function it gives is called. `ended` is told once, and not after that call. */
export function subscribe(url: string, filter: string, watcher: Watcher): () => void {
  const socket = new WebSocket(url, "mqtt"), take = packetReader();
  const timer = setInterval(() => { if (socket.readyState === WebSocket.OPEN) socket.send(pingBytes()); }, PING_MS);
  let over = false;
  const stop = (): void => { over = true; clearInterval(timer); socket.close(); };
  const end = (refused: boolean): void => { if (!over) { stop(); watcher.ended(refused); } };
  socket.binaryType = "arraybuffer";
  socket.onopen = () => socket.send(connectBytes());
  socket.onclose = () => end(false);
  socket.onmessage = (e) => {
    for (const p of take(new Uint8Array(e.data as ArrayBuffer))) {
      if (over) return;
      if (p.kind === "message") watcher.message(p.message);
      else if (p.kind === "connected" && p.code === 0) socket.send(subscribeBytes(filter));
      else if (p.kind === "subscribed" && p.code !== REFUSED) watcher.begun();
      else if (p.kind !== "other") end(true);
    }
  };
  return stop;
}
