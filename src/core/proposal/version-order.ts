const FORM = /^v?(\d{1,9}(?:\.\d{1,9}){0,3})(?:-([0-9A-Za-z.-]{1,64}))?(?:\+[0-9A-Za-z.-]*)?$/;

/**
 * Which of two versions is older, as Semantic Versioning 2.0.0 §11 orders them; with one to four numbers and an optional `v`.
 * @returns below 0 when `a` is older, above 0 when it is newer, 0 when neither; null when one of them is no such version
 */
export function compareVersions(a: string, b: string): number | null {
  const [x, y] = [FORM.exec(a), FORM.exec(b)];
  if (x === null || y === null) return null;
  const [left, right] = [x, y].map((m) => (m[1] ?? '').split('.').map(Number));
  for (let i = 0; i < 4; i += 1) {
    const difference = (left?.[i] ?? 0) - (right?.[i] ?? 0);
    if (difference !== 0) return difference;
  }
  return comparePreRelease(x[2], y[2]);
}

function comparePreRelease(a: string | undefined, b: string | undefined): number {
  if (a === undefined || b === undefined) return a === b ? 0 : a === undefined ? 1 : -1;
  const [left, right] = [a.split('.'), b.split('.')];
  for (let i = 0; i < Math.max(left.length, right.length); i += 1) {
    const [l, r] = [left[i], right[i]];
    if (l === undefined || r === undefined) return l === undefined ? -1 : 1;
    const [isNumber, isOther] = [/^\d+$/.test(l), /^\d+$/.test(r)];
    const order = isNumber && isOther ? Number(l) - Number(r) : isNumber !== isOther ? (isNumber ? -1 : 1) : l < r ? -1 : l > r ? 1 : 0;
    if (order !== 0) return order;
  }
  return 0;
}
