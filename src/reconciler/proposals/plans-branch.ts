import { verifyCommit } from '../../core/commit/verify-commit.ts';
import type { CommitId } from '../../core/model/commit-id.ts';
import { rootOf, type LogState } from '../../core/evidence/log-state.ts';
import { limits } from '../../core/model/limits.ts';
import type { EvidenceBranch, EvidenceFile } from '../../ports/evidence-writer.ts';
import type { GitReader } from '../../ports/git-reader.ts';
import type { GitRemote } from '../../ports/git-remote.ts';
import type { Signers } from '../../ports/signing.ts';
import { commitSignerUnder, evidenceCommitKeys } from '../own-keys.ts';

export type PlansBranchParts = {
  readonly reader: GitReader;
  readonly remote: GitRemote;
  readonly branch: EvidenceBranch;
  readonly signers: Signers;
  readonly author: { readonly name: string; readonly email: string };
  readonly now: () => Date;
};
/** What the branch shall say of one plain branch. `content` tells whether it says so already. */
export type BranchPlan = { readonly branch: string; readonly content: string; readonly markdown: () => string; readonly json: () => string };
export type PlansFault = { readonly code: 'ForeignPlans' | 'PushFailed'; readonly message: string };

const FETCHED_PLANS = 'refs/stella/plans';
/** First line of each Markdown file: what the JSON beside it says, told without its times. */
const CONTENT = /^\[\/\/\]: # \(stella-plan-content (sha256:[0-9a-f]{64})\)/;

/**
 * Publishes plans of plain branches where there is no forge: two files for each, in signed commits that only go forward. It is a view like any
 * comment; nothing reads it to judge (T30), so it is not the evidence branch.
 */
export class PlansBranch {
  readonly #parts: PlansBranchParts;
  /** Content by branch as the remote has it; null until it was read. */
  #published: Map<string, string> | null = null;
  #tip: CommitId | null = null;

  constructor(parts: PlansBranchParts) {
    this.#parts = parts;
  }

  /** Writes what changed and removes what nobody proposes any more, in one commit. @returns why it could not */
  async publish(state: LogState, wanted: readonly BranchPlan[]): Promise<PlansFault | null> {
    // Nothing to say, and nothing known to be there: the branch is not looked for in vain.
    const published = this.#published ?? (await this.#open(state));
    if ('code' in published) return published;
    const changed = wanted.filter(({ branch, content }) => published.get(branch) !== content);
    const gone = [...published.keys()].filter((branch) => !wanted.some((plan) => plan.branch === branch));
    if (changed.length === 0 && gone.length === 0) return null;
    const files = changed.flatMap(filesOf);
    const deletes = gone.flatMap((branch) => [`${pathOf(branch)}.md`, `${pathOf(branch)}.json`]);
    const fault = await this.#append(state, { files, deletes, names: [...changed.map(({ branch }) => branch), ...gone] });
    if (fault !== null) return fault;
    for (const { branch, content } of changed) published.set(branch, content);
    for (const branch of gone) published.delete(branch);
    return null;
  }

  async #append(state: LogState, { files, deletes, names }: { readonly files: readonly EvidenceFile[]; readonly deletes: readonly string[]; readonly names: readonly string[] }): Promise<PlansFault | null> {
    const { branch, remote, signers, author, now } = this.#parts;
    const message = `Plan ${names.length === 1 ? (names[0] ?? '') : `${names.length} branches`}\n\n${names.slice(0, 50).join('\n')}\n`;
    const appended = await branch.append({ parent: this.#tip, files, deletes, message, author, at: now(), sign: commitSignerUnder(rootOf(state), signers) });
    if (!appended.ok) return this.#lost(`the local branch ${branch.ref} is at ${appended.actual ?? 'nothing'}`);
    const pushed = await remote.push([{ ref: branch.ref, from: this.#tip, to: appended.commit }]);
    // Wherever the remote is now, the next pass begins from there.
    if (!pushed.ok) return this.#lost(pushed.message);
    this.#tip = appended.commit;
    return null;
  }

  #lost(message: string): PlansFault {
    this.#published = null;
    return { code: 'PushFailed', message: `${this.#parts.branch.ref} cannot be written: ${message}` };
  }

  /** Follows the remote's branch, as far as we wrote it. */
  async #open(state: LogState): Promise<Map<string, string> | PlansFault> {
    const { remote, reader, branch } = this.#parts;
    const listed = await remote.listRefs(branch.ref);
    if (!listed.ok) return { code: 'PushFailed', message: listed.message };
    const there = (listed.refs.find(({ name }) => name === branch.ref)?.id ?? null) as CommitId | null;
    if (there !== null) {
      const fetched = await remote.fetch([`+${branch.ref}:${FETCHED_PLANS}`]);
      if (!fetched.ok) return { code: 'PushFailed', message: fetched.message };
      if (!(await this.#isOurs(state, there))) {
        return { code: 'ForeignPlans', message: `${branch.ref} is at ${there}, which this server did not write: see who pushed there, and delete the branch` };
      }
    }
    const local = await reader.resolveRef(branch.ref);
    if (local !== there) await branch.moveTo(local, there);
    this.#tip = there;
    this.#published = there === null ? new Map() : await this.#contentsAt(there);
    return this.#published;
  }

  /** T30: what we write on must be ours, or we would put our signature on top of somebody else's plans. Each of our commits was written on one of ours. */
  async #isOurs(state: LogState, commit: CommitId): Promise<boolean> {
    const { reader, signers } = this.#parts;
    const object = (await reader.readCommits([commit])).get(commit);
    const verified = object?.ok === true ? verifyCommit(object.bytes, reader.objectFormat, commit) : null;
    const keys = evidenceCommitKeys(rootOf(state));
    return verified?.signed === true && (keys.has(verified.signer.fingerprint) || signers.next?.commits?.fingerprint === verified.signer.fingerprint);
  }

  async #contentsAt(commit: CommitId): Promise<Map<string, string>> {
    const { reader } = this.#parts;
    const { entries } = await reader.readTree(commit);
    const texts = entries.filter(({ path }) => path.endsWith('.md'));
    const read = await reader.readBlobs(texts.map(({ blob }) => blob), limits.artifactBytes);
    return new Map(texts.map(({ path, blob }) => {
      const object = read.get(blob);
      const content = object?.ok === true ? (CONTENT.exec(Buffer.from(object.bytes).toString())?.[1] ?? '') : '';
      return [branchOf(path.slice(0, -'.md'.length)), content];
    }));
  }
}

function filesOf({ branch, content, markdown, json }: BranchPlan): readonly EvidenceFile[] {
  return [
    { path: `${pathOf(branch)}.md`, bytes: Buffer.from(`[//]: # (stella-plan-content ${content})\n\n${markdown()}\n`) },
    { path: `${pathOf(branch)}.json`, bytes: Buffer.from(`${json()}\n`) },
  ];
}

/** A folder must not have the name of a file: `promote/a.md/b` may stand beside `promote/a`. */
function pathOf(branch: string): string {
  const segments = branch.replaceAll('%', '%25').split('/');
  return segments.map((segment, i) => (i < segments.length - 1 ? segment.replace(/\.(md|json)$/, '.$1%') : segment)).join('/');
}

function branchOf(path: string): string {
  return path.split('/').map((segment) => segment.replace(/\.(md|json)%$/, '.$1')).join('/').replaceAll('%25', '%');
}
