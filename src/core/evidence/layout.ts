import { hexOf, type Digest } from '../model/digest.ts';

/** Paths on the evidence branch (EVIDENCE "The evidence branch"). */

/** `records/<nnn>/<nnn>/<nnn>.dsse.json`: no folder over 1,000 entries, old trees never rewritten. @param seq below 10^9 */
export function recordPath(seq: number): string {
  const digits = String(seq).padStart(9, '0');
  return `records/${digits.slice(0, 3)}/${digits.slice(3, 6)}/${digits.slice(6)}.dsse.json`;
}

const RECORD = /^records\/(\d{3})\/(\d{3})\/(\d{3})\.dsse\.json$/;

/** The `seq` of a record's path, or null for any other path. */
export function seqOfPath(path: string): number | null {
  const m = RECORD.exec(path);
  return m === null ? null : Number(`${m[1]}${m[2]}${m[3]}`);
}

/** `artifacts/<aa>/<sha256>` */
export function artifactPath(digest: Digest): string {
  const hex = hexOf(digest);
  return `artifacts/${hex.slice(0, 2)}/${hex}`;
}

const ARTIFACT = /^artifacts\/([0-9a-f]{2})\/([0-9a-f]{64})$/;

/** The digest of an artifact's path, or null for any other path. */
export function artifactOfPath(path: string): Digest | null {
  const m = ARTIFACT.exec(path);
  return m === null || m[2]?.slice(0, 2) !== m[1] ? null : (`sha256:${m[2]}` as Digest);
}

export function lockPath(application: string, release: string): string {
  return `locks/${application}/${release}.lock.yaml`;
}

export function statePath(environment: string, application: string): string {
  return `state/${environment}/${application}.yaml`;
}
