import { isObjectId, type CommitId } from '../../core/model/commit-id.ts';
import { digestOfBytes, isDigest, type Digest } from '../../core/model/digest.ts';
import type { ForgeComment } from '../../ports/forge.ts';

/** What our comment keeps for us in lines that nobody is shown, so that nothing has to be remembered elsewhere. Hints only: those who administrate a forge can edit it. */
export type Marker = {
  /** Server and context, so that two of them do not write over each other. */
  readonly scope: string;
  readonly head: CommitId;
  /** The tip that the head was planned onto: where the proposal begins, once it is merged. */
  readonly onto: CommitId;
  /** Of the status that was set before the comment was written. */
  readonly status: Digest;
  /** Of what the comment says. */
  readonly content: Digest;
};

// Not an HTML comment: some forges show those. A link that is defined and never used is shown by none.
const MARKER = /^\[\/\/\]: # \(stella-plan ([^() ]+) ([0-9a-f]+) ([0-9a-f]+) (sha256:[0-9a-f]{64}) (sha256:[0-9a-f]{64})\)/;
// After the marker: what was planned, so that a server that did not make the plan can tell whether it was decided otherwise.
const PLANNED = /^[^\n]*\n\n\[\/\/\]: # \(stella-planned((?: [a-z0-9._/-]+ sha256:[0-9a-f]{64})+)\)\n/;
/** Between what is said of the merge, what was decided otherwise, and the plan that was merged: lines of their own, which no sentence can be. */
const MOVED_BEGINS = '[//]: # (stella-moved-begins)';
const PLAN_BEGINS = '[//]: # (stella-plan-begins)';
/** Places whose planned digest is kept. */
const PLANNED_PLACES = 10;

/** Promotion digests by `<environment>/<application>`, as they were planned. */
export type PlannedDigests = ReadonlyMap<string, Digest>;

/** What a comment of ours says: what became of the merge (null before it), what was decided otherwise than planned, and the plan. */
export type CommentParts = { readonly planned: PlannedDigests; readonly above: string | null; readonly moved: string; readonly plan: string };

export function parseMarker(body: string): Marker | null {
  const [, scope, head, onto, status, content] = MARKER.exec(body) ?? [];
  if (scope === undefined || !isObjectId(head) || !isObjectId(onto) || !isDigest(status) || !isDigest(content)) return null;
  return { scope, head: head as CommitId, onto: onto as CommitId, status, content };
}

/** The whole comment. */
export function commentBody({ scope, head, onto, status, content }: Marker, { planned, above, moved, plan }: CommentParts): string {
  const marker = `[//]: # (stella-plan ${scope} ${head} ${onto} ${status} ${content})`;
  const digests = [...planned].slice(0, PLANNED_PLACES).map(([place, digest]) => ` ${place} ${digest}`).join('');
  return [marker, ...(digests === '' ? [] : [`[//]: # (stella-planned${digests})`]), ...(above === null ? [] : [above]), ...(moved === '' ? [] : [MOVED_BEGINS, moved]), PLAN_BEGINS, plan].join('\n\n');
}

/** What was planned, what was decided otherwise, and the plan, as a comment of ours has them; all empty where it is none. */
export function partsIn(given: string): Omit<CommentParts, 'above'> {
  // A forge may have its own ends of lines.
  const body = given.replaceAll('\r\n', '\n');
  const [, digests = ''] = PLANNED.exec(body) ?? [];
  const words = digests.trim().split(' ');
  const planned = new Map(words.flatMap((place, i) => { const digest = words[i + 1]; return i % 2 === 0 && isDigest(digest) ? [[place, digest] as const] : []; }));
  const [moved, at] = [body.indexOf(`\n\n${MOVED_BEGINS}\n\n`), body.indexOf(`\n\n${PLAN_BEGINS}\n`)];
  if (at < 0) return { planned, moved: '', plan: '' };
  return { planned, moved: moved < 0 || moved > at ? '' : body.slice(moved + MOVED_BEGINS.length + 4, at), plan: body.slice(at + PLAN_BEGINS.length + 3).trim() };
}

/** Our comment among those of a proposal: by our account alone, the oldest. Anybody can write the marker. */
export function findSticky(comments: readonly ForgeComment[], account: string, scope: string): { readonly comment: ForgeComment; readonly marker: Marker } | null {
  for (const comment of comments) {
    const marker = comment.author === account ? parseMarker(comment.body) : null;
    if (marker?.scope === scope) return { comment, marker };
  }
  return null;
}

/** Tells apart what is published. */
export function contentDigest(...parts: readonly (string | null)[]): Digest {
  return digestOfBytes(JSON.stringify(parts));
}
