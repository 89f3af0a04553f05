import type { CommitId } from '../../core/model/commit-id.ts';
import { digestOfBytes } from '../../core/model/digest.ts';
import { GitError, type GitReader } from '../../ports/git-reader.ts';
import type { GitRemote } from '../../ports/git-remote.ts';

/** A ref of the remote, and where it was when it was listed. */
export type Wanted = { readonly ref: string; readonly head: CommitId };
export type Fetched = { readonly ok: true; readonly commit: CommitId } | { readonly ok: false; readonly message: string };

/** Where fetched heads lie in the mirror. */
export const PROPOSAL_REFS = 'refs/stella/proposals/';
/** Refs of one fetch: their names go to a command line. */
const TOGETHER = 200;

/** By digest: one that comes may lie below one that has gone, and a name could be longer than a file's may be. */
export function mirroredRef(ref: string): string {
  return PROPOSAL_REFS + digestOfBytes(ref).slice('sha256:'.length, 'sha256:'.length + 40);
}

/**
 * Brings exactly these refs into the mirror, as far as they are not there. One that cannot be fetched does not stop the others.
 * @returns where each is now, by its name: it may have moved since it was listed
 */
export async function fetchHeads({ reader, remote }: { readonly reader: GitReader; readonly remote: GitRemote }, wanted: readonly Wanted[]): Promise<ReadonlyMap<string, Fetched>> {
  const here = new Map((await reader.listRefs(PROPOSAL_REFS)).map(({ name, id }) => [name, id]));
  const missing = wanted.filter(({ ref, head }) => here.get(mirroredRef(ref)) !== head).map(({ ref }) => ref);
  const faults = new Map<string, string>();
  for (let i = 0; i < missing.length; i += TOGETHER) await fetchTogether(remote, missing.slice(i, i + TOGETHER), faults);
  const found = new Map<string, Fetched>();
  for (const { ref } of wanted) {
    const fault = faults.get(ref);
    const commit = fault === undefined ? await reader.resolveRef(mirroredRef(ref)) : null;
    found.set(ref, commit === null ? { ok: false, message: fault ?? 'it leads to no commit' } : { ok: true, commit });
  }
  return found;
}

/** All at once, and where that fails in halves, so that the bad one stands alone. */
async function fetchTogether(remote: GitRemote, refs: readonly string[], faults: Map<string, string>): Promise<void> {
  const outcome = await tryFetch(remote, refs);
  if (outcome === null) return;
  // Nobody is reached by asking for less.
  if (refs.length === 1 || outcome.isRemote) for (const ref of refs) faults.set(ref, outcome.message);
  else {
    const middle = refs.length >> 1;
    await fetchTogether(remote, refs.slice(0, middle), faults);
    await fetchTogether(remote, refs.slice(middle), faults);
  }
}

async function tryFetch(remote: GitRemote, refs: readonly string[]): Promise<{ readonly message: string; readonly isRemote: boolean } | null> {
  try {
    const fetched = await remote.fetch(refs.map((ref) => `+${ref}:${mirroredRef(ref)}`));
    return fetched.ok ? null : { message: fetched.message, isRemote: fetched.code === 'Unreachable' || fetched.code === 'Unauthorized' };
  } catch (cause) {
    // A name that no ref can have comes from a forge, and is the fault of one proposal.
    if (cause instanceof GitError && cause.code === 'InvalidName') return { message: cause.message, isRemote: false };
    throw cause;
  }
}
