/* clock.ts - the node's time as the browser sees it.
 *
 * A panel PC's clock is often wrong by minutes; ages and "the last five minutes" must still be right. So "now" is the
 * node's: the browser's clock plus an offset, learned from the Date header of each answer (whole seconds, hence only
 * differences above two seconds count) and lifted when a value is newer than "now". */
const DATE_ERROR_MS = 2000;
let offsetMs = 0;

export function noteServerDate(date: string | null, sentMs: number, receivedMs: number): void {
  const server = date ? Date.parse(date) : NaN;
  if (Number.isNaN(server) || receivedMs - sentMs > DATE_ERROR_MS) return;
  const seen = server + 500 - (sentMs + receivedMs) / 2;
  if (Math.abs(seen - offsetMs) > DATE_ERROR_MS) offsetMs = Math.abs(seen) > DATE_ERROR_MS ? seen : 0;
}

export function noteServerTime(timeMs: number): void {
  if (timeMs > serverNow() && timeMs - serverNow() < 10 * DATE_ERROR_MS) offsetMs += timeMs - serverNow();
}

export const serverNow = (): number => Date.now() + offsetMs;
