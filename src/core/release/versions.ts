import { compareText } from '../model/names.ts';

/** A release and the record that locked it. */
export type LockedVersion = { readonly release: string; readonly seq: number };

/**
 * Which of two releases of one application is the newer one. Versions with numbers and dots (`1.5.0`, `v1.5`, `2026.11.3-rc.1`) go by the precedence of
 * SemVer 2.0.0, leading zeros and missing numbers aside. Any other name (a commit, a build number) says nothing of age, so among them the one that
 * was locked later is newer; each is older than every version. Of equal versions the one that was locked later is newer. A total order over the
 * releases of one log.
 * @returns below zero where `a` is older, above where it is newer; zero only for one and the same
 */
export function compareReleases(a: LockedVersion, b: LockedVersion): number {
  const [x, y] = [versionOf(a.release), versionOf(b.release)];
  const byVersion = x === null || y === null ? Number(x !== null) - Number(y !== null) : comparePrecedence(x, y);
  return byVersion || a.seq - b.seq || compareText(a.release, b.release);
}

/** Which of two versions is older, by the same precedence, also of tags. @returns below zero where `a` is, above where `b` is; null where a name says nothing of age */
export function compareVersions(a: string, b: string): number | null {
  const [x, y] = [versionOf(a), versionOf(b)];
  return x === null || y === null ? null : comparePrecedence(x, y);
}

/** Whether one version is another or a newer one, by the same precedence; false for a name that says nothing of age. */
export function isVersionAtLeast(release: string, least: string): boolean {
  return (compareVersions(release, least) ?? -1) >= 0;
}

/** Numbers as text without leading zeros: they may be longer than what a machine counts with. */
type Version = { readonly numbers: readonly string[]; readonly pre: readonly string[] };

/** A dot is demanded: an abbreviated commit id may be all digits. */
const VERSION = /^v?(\d+(?:\.\d+)+)(?:-(.+))?$/;

function versionOf(release: string): Version | null {
  const [, numbers, pre] = VERSION.exec(release) ?? [];
  return numbers === undefined ? null : { numbers: numbers.split('.').map(withoutZeros), pre: pre === undefined ? [] : pre.split('.') };
}

function withoutZeros(digits: string): string {
  return digits.replace(/^0+(?=\d)/, '');
}

function comparePrecedence(a: Version, b: Version): number {
  for (let i = 0; i < Math.max(a.numbers.length, b.numbers.length); i++) {
    const order = compareNumbers(a.numbers[i] ?? '0', b.numbers[i] ?? '0');
    if (order !== 0) return order;
  }
  // SemVer 11.3: a version before its release is older than the release.
  if (a.pre.length === 0 || b.pre.length === 0) return Number(a.pre.length === 0) - Number(b.pre.length === 0);
  for (let i = 0; i < Math.min(a.pre.length, b.pre.length); i++) {
    const order = compareIdentifiers(a.pre[i] ?? '', b.pre[i] ?? '');
    if (order !== 0) return order;
  }
  return a.pre.length - b.pre.length;
}

/** SemVer 11.4: numbers by their value, and below text; text by its characters. */
function compareIdentifiers(a: string, b: string): number {
  const [x, y] = [/^\d+$/.test(a), /^\d+$/.test(b)];
  if (x && y) return compareNumbers(withoutZeros(a), withoutZeros(b));
  return x === y ? compareText(a, b) : Number(y) - Number(x);
}

function compareNumbers(a: string, b: string): number {
  return a.length - b.length || compareText(a, b);
}
