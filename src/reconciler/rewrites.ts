import { parseCanonicalJson } from '../core/model/canonical-json.ts';
import { isObjectId, type CommitId } from '../core/model/commit-id.ts';
import type { Digest } from '../core/model/digest.ts';
import type { AnyDocument, DocumentKey, Rewrite } from '../core/model/documents.ts';
import { splitPair } from '../core/model/names.ts';
import { rewriteDigest } from '../core/model/preimages.ts';
import type { DesiredState } from '../core/desired/desired-state.ts';
import { isDeclarationPath } from '../core/desired/parsed-file.ts';
import { reachOfRewrite, unknownReach, type RewriteReach } from '../core/desired/rewrite-reach.ts';
import type { LogState } from '../core/evidence/log-state.ts';
import { acceptanceOf } from '../core/trust/rewrite.ts';
import type { DocumentParser } from '../ports/document-parser.ts';
import { GitError, type GitReader } from '../ports/git-reader.ts';
import { parseChanges } from './declarations.ts';
import type { LogBatch } from './log-batch.ts';
import { holdArtifacts, type Pass } from './pass.ts';

/** The target branch left its history, and nobody accepted that yet. */
export type Rewound = { readonly rewrite: Rewrite; readonly digest: Digest };
/** What stands still because of it. */
export type Frozen = Rewound & { readonly reach: RewriteReach };

/**
 * Whether `tip` is no successor of the last recorded tip (T25): neither its descendant, nor one of where an accepted rewrite leads.
 * @returns null when the branch may be followed
 */
export async function findRewound(reader: GitReader, state: LogState, ref: string, tip: CommitId): Promise<Rewound | null> {
  const from = state.tip?.commit;
  if (from === undefined || from === tip || (await descends(reader, from, tip))) return null;
  const accepted = state.lastRewrite;
  if (accepted !== null && accepted.from === from && accepted.ref === ref && (await descends(reader, accepted.to, tip))) return null;
  const rewrite = { ref, from, to: tip };
  return { rewrite, digest: rewriteDigest(state.logId, rewrite) };
}

/** Whether the objects of a commit are here: those that a force-push left behind are in no fresh mirror. */
export async function isHere(reader: GitReader, commit: CommitId): Promise<boolean> {
  return (await reader.readCommits([commit])).get(commit)?.ok === true;
}

async function descends(reader: GitReader, ancestor: CommitId, tip: CommitId): Promise<boolean> {
  try {
    return await reader.isAncestor(ancestor, tip);
  } catch (cause) {
    // What is not among the objects of `tip` is no ancestor of it.
    if (!(await isHere(reader, ancestor))) return false;
    throw cause;
  }
}

/** What differs between the two histories. @param desired what the commit `from` declares; null when its objects are gone */
export async function reachOf(world: { readonly reader: GitReader; readonly parser: DocumentParser }, state: LogState, desired: DesiredState | null, { from, to }: Rewrite): Promise<RewriteReach> {
  const { reader, parser } = world;
  if (desired === null) return unknownReach(`the objects of ${from} are gone, so nobody can tell what differs`);
  try {
    const { changes, unreadable } = await reader.diff(from, to);
    if (unreadable[0] !== undefined) return unknownReach(`the path ${unreadable[0].shown} cannot be read`);
    const declared = changes.filter((c) => isDeclarationPath(c.path));
    const before = await parseChanges(reader, parser, declared.map((c) => ({ ...c, newBlob: c.oldBlob, newMode: c.oldMode })));
    const after = await parseChanges(reader, parser, declared);
    const sides = declared.map(({ path }, i) => ({ path, before: before[i]?.parsed ?? null, after: after[i]?.parsed ?? null }));
    const others = changes.filter((c) => !isDeclarationPath(c.path)).map(({ path }) => ({ path, before: null, after: null }));
    return reachOfRewrite(state, desired, [...sides, ...others]);
  } catch (cause) {
    if (cause instanceof GitError && cause.code === 'LimitExceeded') return unknownReach(cause.message);
    throw cause;
  }
}

/**
 * Records that a quorum accepted the rewrite, if one did. Where the branch has grown since, the one that was accepted counts: what descends
 * from it was not rewritten, and pushing on must not void what people signed.
 * @returns what is missing, or null: the next pass follows the branch
 */
export async function acceptRewrite(pass: Pick<Pass, 'batch' | 'artifacts' | 'evidenceTip'>, reader: GitReader, { rewrite, digest }: Rewound): Promise<string | null> {
  const { batch } = pass;
  await holdArtifacts(pass, [...batch.state.rewriteApprovals.values()].flat());
  const { missing } = acceptanceOf(batch.state, rewrite, batch.asOf, batch.sources);
  const earlier = missing === null ? [] : rewritesNamed(batch).filter(({ ref, from }) => ref === rewrite.ref && from === rewrite.from);
  for (const one of missing === null ? [rewrite] : earlier) {
    const { approvals, missing: why } = acceptanceOf(batch.state, one, batch.asOf, batch.sources);
    if (why !== null || (one !== rewrite && !(await isHere(reader, one.to) && (await descends(reader, one.to, rewrite.to))))) continue;
    batch.add({ type: 'anchor', predicate: { basis: 'rewrite', rewrite: one, digest: one === rewrite ? digest : rewriteDigest(batch.state.logId, one), approvals } });
    return null;
  }
  return missing;
}

/** What observed approvals say they accept; the digest decides what they do. */
function rewritesNamed({ state, lookup }: Pick<LogBatch, 'state' | 'lookup'>): readonly Rewrite[] {
  const named = [...state.rewriteApprovals.values()].flat().flatMap((approval) => {
    const bytes = lookup(approval);
    const document = bytes === undefined ? undefined : (parseCanonicalJson(bytes) as AnyDocument | undefined);
    const rewrite = document?.kind === 'Approval' ? document.spec.rewrite : undefined;
    return rewrite === undefined || !isObjectId(rewrite.to) ? [] : [{ ref: rewrite.ref, from: rewrite.from, to: rewrite.to }];
  });
  return [...new Map(named.map((rewrite) => [rewriteDigest(state.logId, rewrite), rewrite])).values()];
}

/** Releases of applications that the rewrite does not touch; the others wait. */
export function untouchedReleases(releases: Iterable<DocumentKey>, frozen: Frozen | null): readonly DocumentKey[] {
  return [...releases].filter((key) => frozen === null || !frozen.reach.applications.includes(splitPair(key.slice('Release/'.length))[0]));
}

/** What to tell and to run. */
export function rewoundMessage({ rewrite, digest, reach }: Frozen, missing: string): string {
  const { ref, from, to } = rewrite;
  const touched = [...reach.applications.map((name) => `application ${name}`), ...reach.subjects];
  const still = reach.everything !== null ? `nothing is deployed, because ${reach.everything}` : touched.length === 0 ? 'nothing that it touches is deployed anywhere' : `nothing new is deployed in ${listed(touched)}`;
  return `${ref} went from ${from} to ${to}, which does not descend from it; ${still}. Push the old history again, or accept the rewrite ${digest} with: stella approve --rewrite ${from}..${to} (${missing})`;
}

function listed(names: readonly string[]): string {
  return names.length <= 5 ? names.join(', ') : `${names.slice(0, 5).join(', ')} and ${names.length - 5} more`;
}
