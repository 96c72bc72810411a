/* virtual.ts - which rows of a long list are on the screen. Pure arithmetic; tested in test/virtual.test.ts.
 *
 * Rows may have different heights (device headings, points), so positions are a prefix sum: offsets[i] is the top of
 * row i, offsets[n] the height of the whole list. */

export function offsetsOf(heights: readonly number[]): number[] {
  const offsets = new Array<number>(heights.length + 1);
  offsets[0] = 0;
  for (let i = 0; i < heights.length; i++) offsets[i + 1] = offsets[i] + heights[i];
  return offsets;
}

/* Index of the row that covers `y`, clamped to the list; 0 for an empty one. */
export function rowAt(offsets: readonly number[], y: number): number {
  let low = 0, high = Math.max(0, offsets.length - 2);
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (offsets[middle] <= y) low = middle; else high = middle - 1;
  }
  return low;
}

export interface Slice { first: number; end: number } // rows first..end-1

export function visibleRows(offsets: readonly number[], scrollTop: number, height: number, overscan: number): Slice {
  const count = offsets.length - 1;
  if (count <= 0) return { first: 0, end: 0 };
  const first = Math.max(0, rowAt(offsets, scrollTop) - overscan);
  const end = Math.min(count, rowAt(offsets, scrollTop + Math.max(0, height)) + 1 + overscan);
  return { first, end };
}

/* Where to scroll so that row `index` is wholly visible below a sticky heading; unchanged if it already is. */
export function scrollTo(offsets: readonly number[], index: number, scrollTop: number, height: number, sticky: number): number {
  const top = offsets[index] - sticky, bottom = offsets[index + 1];
  if (top < scrollTop) return Math.max(0, top);
  return bottom > scrollTop + height ? bottom - height : scrollTop;
}
