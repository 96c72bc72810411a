/* address.ts - Modbus addresses, types and byte orders as the form takes them, checked before anything is sent.
 *
 * The server decides; this gives the same verdict while a person types, with the corrected spelling in the message.
 * Form (INTERFACES, Kinds): [N!]dddddd[.n] - N unit, six digits 1-based (first digit the area), n the bit.
 * Pure; tested in test/address.test.ts. */
import type { Message } from "./i18n";

export interface Address { unit: number | null; area: 0 | 1 | 3 | 4; number: number; bit: number | null }

const NUMBER_MAX = 65536; // protocol address 0..65535
const digits = (area: number, n: number): string => String(area) + String(n).padStart(5, "0");

/* Reads `text`; gives the address or what is wrong with it. */
export function parseAddress(text: string): Address | Message {
  const m = /^(?:(\d{1,4})!)?(\d+)(?:\.(\d{1,3}))?$/.exec(text.trim());
  if (!m) return { key: "addr.form" };
  const [, unitText, body, bitText] = m;
  const unit = unitText === undefined ? null : Number(unitText);
  if (unit !== null && unit > 255) return { key: "addr.unit" };
  const prefix = unit === null ? "" : `${unit}!`;
  if (body.length < 6) {
    // 40001 of five-digit manuals, or a bare number: say how it is written here.
    if (body.length === 5 && "134".includes(body[0])) return { key: "addr.five", params: { fixed: `${prefix}${digits(Number(body[0]), Number(body.slice(1)))}` } };
    return { key: "addr.five", params: { fixed: `${prefix}${body.length === 5 ? "0" + body : digits(4, Math.max(1, Number(body)))}` } };
  }
  if (body.length > 6) return { key: "addr.form" };
  const area = Number(body[0]), number = Number(body.slice(1));
  if (area !== 0 && area !== 1 && area !== 3 && area !== 4) return { key: "addr.area" };
  if (number === 0) return { key: "addr.zero", params: { fixed: prefix + digits(area, 1) } };
  if (number > NUMBER_MAX) return { key: "addr.range", params: { last: prefix + digits(area, NUMBER_MAX) } };
  const bit = bitText === undefined ? null : Number(bitText);
  if (bit !== null && area < 3) return { key: "addr.bitArea" };
  if (bit !== null && bit > 15) return { key: "addr.bit" };
  return { unit, area, number, bit };
}

export const isAddress = (a: Address | Message): a is Address => "area" in a;

interface TypeTraits { bytes: number; column: string; integer: boolean }

/* The list of device types: bytes on the wire, and the column type that holds them unscaled. */
export const TYPES: Record<string, TypeTraits> = {
  int16: { bytes: 2, column: "bigint", integer: true },
  uint16: { bytes: 2, column: "bigint", integer: true },
  int32: { bytes: 4, column: "bigint", integer: true },
  uint32: { bytes: 4, column: "bigint", integer: true },
  int64: { bytes: 8, column: "bigint", integer: true },
  uint64: { bytes: 8, column: "ubigint", integer: true },
  float: { bytes: 4, column: "double", integer: false },
  double: { bytes: 8, column: "double", integer: false },
  bit: { bytes: 0, column: "bool", integer: false },
  bool: { bytes: 2, column: "bool", integer: false },
  int8: { bytes: 1, column: "bigint", integer: true },
  uint8: { bytes: 1, column: "bigint", integer: true },
};

/* Traits of `type`, string(n) and bytes(n) included; null if there is no such type. */
export function typeTraits(type: string): TypeTraits | null {
  const known = Object.prototype.hasOwnProperty.call(TYPES, type) ? TYPES[type] : null;
  if (known) return known;
  const m = /^(string|bytes)\((\d{1,3})\)$/.exec(type);
  if (!m || Number(m[2]) < 1 || Number(m[2]) > 250) return null;
  return { bytes: Number(m[2]), column: m[1] === "string" ? "text" : "bytes", integer: false };
}

export const registersOf = (type: string): number => Math.max(1, Math.ceil((typeTraits(type)?.bytes ?? 0) / 2));

/* Byte orders a type can have; the first is the protocol's own. */
export function ordersOf(type: string): string[] {
  const traits = typeTraits(type);
  if (!traits || traits.bytes < 2 || type === "bool") return [];
  if (traits.column === "text" || traits.column === "bytes" || traits.bytes === 2) return ["AB", "BA"];
  return traits.bytes === 4 ? ["ABCD", "CDAB", "BADC", "DCBA"] : ["ABCDEFGH", "GHEFCDAB", "BADCFEHG", "HGFEDCBA"];
}

/* Column type of the table for a point of `type`: scaling an integer makes it a double. */
export function columnTypeOf(type: string, scale: number): string {
  const traits = typeTraits(type);
  return traits ? (traits.integer && scale !== 1 ? "double" : traits.column) : "double";
}

/* Checks an address together with the type and access of its point; null = fine. */
export function checkAddress(text: string, type: string, access: "r" | "rw"): Message | null {
  if (text.trim() === "") return { key: "err.required" };
  const a = parseAddress(text);
  if (!isAddress(a)) return a;
  const oneBit = type === "bit" || type === "bool";
  if (a.area < 3 && !oneBit) return { key: "addr.bitType" };
  if (a.bit !== null && !oneBit) return { key: "addr.bitType" };
  if (a.area >= 3 && a.bit === null && type === "bit") return { key: "addr.needsBit", params: { fixed: `${text.trim()}.0` } };
  const n = registersOf(type);
  if (a.area >= 3 && a.number + n - 1 > NUMBER_MAX) return { key: "addr.end", params: { type, n } };
  if (access === "rw" && a.area !== 0 && a.area !== 4) return { key: "err.access" };
  return null;
}

/* The address just behind a point: what the next row of the form starts with. */
export function nextAddress(text: string, type: string): string {
  const a = parseAddress(text);
  if (!isAddress(a)) return "";
  const prefix = a.unit === null ? "" : `${a.unit}!`;
  if (a.bit !== null && a.bit < 15) return `${prefix}${digits(a.area, a.number)}.${a.bit + 1}`;
  const next = a.number + (a.area < 3 || a.bit !== null ? 1 : registersOf(type));
  return next > NUMBER_MAX ? "" : `${prefix}${digits(a.area, next)}${a.bit !== null ? ".0" : ""}`;
}
