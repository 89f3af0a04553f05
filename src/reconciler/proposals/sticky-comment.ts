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
/** Between what is said of the merge and the plan that was merged. */
const PLAN_BEGINS = '[//]: # (stella-plan-begins)';

export function parseMarker(body: string): Marker | null {
  const [, scope, head, onto, status, content] = MARKER.exec(body) ?? [];
  if (scope === undefined || !isObjectId(head) || !isObjectId(onto) || !isDigest(status) || !isDigest(content)) return null;
  return { scope, head: head as CommitId, onto: onto as CommitId, status, content };
}

/** The whole comment. @param above what became of the merge, null before it */
export function commentBody({ scope, head, onto, status, content }: Marker, above: string | null, plan: string): string {
  const marker = `[//]: # (stella-plan ${scope} ${head} ${onto} ${status} ${content})`;
  return [marker, ...(above === null ? [] : [above]), PLAN_BEGINS, plan].join('\n\n');
}

/** The plan in a comment of ours; empty where it is no comment of ours. */
export function planIn(body: string): string {
  const at = body.indexOf(PLAN_BEGINS);
  return at < 0 ? '' : body.slice(at + PLAN_BEGINS.length).trim();
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
