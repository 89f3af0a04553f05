import type { CommitId } from '../../core/model/commit-id.ts';
import { limits } from '../../core/model/limits.ts';
import type { ForgeProposal } from '../../ports/forge.ts';
import type { GitRemote } from '../../ports/git-remote.ts';
import type { Wanted } from './fetch-heads.ts';
import type { ForgeAccess } from './forge-access.ts';

/** Everything that is proposed, as forge and remote say. */
export type Listing = {
  readonly at: number;
  readonly open: readonly ForgeProposal[];
  readonly merged: readonly ForgeProposal[];
  /** Open, but into another branch since. */
  readonly retargeted: readonly ForgeProposal[];
  readonly branches: readonly Wanted[];
  readonly queue: readonly Wanted[];
  /** What was left out of proposals and of branches, in words for people; empty when nothing was. */
  readonly leftOut: { readonly proposals: readonly string[]; readonly branches: readonly string[] };
  /** Whether the forge said what is open and what is merged; true where there is none. */
  readonly isAnswered: boolean;
  /** Why the remote could not be asked. */
  readonly remoteFault: string | null;
};

export type ListSettings = {
  /** Full name of the target branch. */
  readonly targetRef: string;
  /** Patterns of plain branches, each with one star. */
  readonly branches: readonly string[];
  /** How long a merged proposal is followed. */
  readonly mergedDays: number;
};

export const EMPTY_LISTING: Listing = { at: -Infinity, open: [], merged: [], retargeted: [], branches: [], queue: [], leftOut: { proposals: [], branches: [] }, isAnswered: true, remoteFault: null };

const DAY_MS = 86_400_000;
/** Proposals that vanished from the list and are asked about one by one. */
const ASKED_ONE_BY_ONE = 50;
/** Names that can be files of a commit as they are. */
const PLAIN_NAME = /^[\p{L}\p{N}._+@=%/-]{1,200}$/u;

/** Asks forge and remote at the same time. Where one does not answer, what it said before stands. */
export async function listProposals(p: { readonly access: ForgeAccess | null; readonly remote: GitRemote; readonly settings: ListSettings; readonly before: Listing; /** Whether branches may have moved as well. */ readonly branchesToo: boolean; readonly now: Date }): Promise<Listing> {
  const { access, remote, settings, before, branchesToo, now } = p;
  const [plain, open, queued, merged] = await Promise.all([
    branchesToo ? listBranches(remote, settings) : ({ ok: true, branches: before.branches, leftOut: before.leftOut.branches } as const),
    access === null ? null : access.ask((forge) => forge.listOpen(settings.targetRef)),
    access === null ? null : access.ask((forge) => forge.listQueued(settings.targetRef)),
    access === null ? null : access.ask((forge) => forge.listMerged(settings.targetRef, new Date(now.getTime() - settings.mergedDays * DAY_MS))),
  ]);
  if (access !== null && open?.ok === false && open.code === 'NotFound') access.fail('NotFound', 'the forge knows no such repository, or does not show it to this token');
  const isOpen = open?.ok === true ? open.value.proposals : before.open;
  const vanished = open?.ok === true && open.value.isComplete && access !== null ? await findVanished(access, settings.targetRef, before, isOpen) : { merged: [], retargeted: before.retargeted };
  const isMerged = merged?.ok === true ? merged.value : before.merged;
  const all = new Map([...vanished.merged, ...isMerged].map((proposal) => [proposal.number, proposal]));
  const incomplete = open?.ok === true && !open.value.isComplete ? [`the forge has more open proposals than ${isOpen.length}: the newest are looked at`] : [];
  return {
    at: now.getTime(), isAnswered: access === null || (open?.ok === true && merged?.ok === true), open: isOpen, merged: [...all.values()].slice(0, limits.mergedProposals), retargeted: vanished.retargeted,
    branches: plain.ok ? plain.branches : before.branches,
    queue: queued?.ok === true ? queued.value.slice(0, limits.queueRefs).map(({ ref, commit }) => ({ ref, head: commit })) : before.queue,
    leftOut: { proposals: open?.ok === true ? incomplete : before.leftOut.proposals, branches: plain.ok ? plain.leftOut : before.leftOut.branches }, remoteFault: plain.ok ? null : plain.message,
  };
}

/** Those that were open and are not listed any more: closed, merged, or meant for another branch now. */
async function findVanished(access: ForgeAccess, targetRef: string, before: Listing, open: readonly ForgeProposal[]): Promise<{ readonly merged: readonly ForgeProposal[]; readonly retargeted: readonly ForgeProposal[] }> {
  const here = new Set(open.map(({ number }) => number));
  const vanished = [...before.open, ...before.retargeted].filter(({ number }) => !here.has(number));
  const merged: ForgeProposal[] = [];
  const retargeted: ForgeProposal[] = [];
  for (const old of vanished.slice(0, ASKED_ONE_BY_ONE)) {
    const now = await access.ask((forge) => forge.read(old.number));
    if (!now.ok) continue;
    if (now.value.state === 'merged' && now.value.baseRef === targetRef) merged.push(now.value);
    if (now.value.state === 'open' && now.value.baseRef !== targetRef) retargeted.push(now.value);
  }
  return { merged, retargeted };
}

type Listed = { readonly ok: true; readonly branches: readonly Wanted[]; readonly leftOut: readonly string[] } | { readonly ok: false; readonly message: string };

/** Never all refs of pull requests: strangers fill those. */
async function listBranches(remote: GitRemote, { branches: patterns }: ListSettings): Promise<Listed> {
  const found = new Map<string, CommitId>();
  const leftOut: string[] = [];
  for (const pattern of patterns) {
    const [prefix = '', suffix = ''] = pattern.split('*');
    const listed = await remote.listRefs(prefix);
    if (!listed.ok) return { ok: false, message: listed.message };
    for (const { name, id } of listed.refs) if (name.endsWith(suffix) && name.length > prefix.length + suffix.length) found.set(name, id as CommitId);
  }
  const named = [...found].map(([ref, head]) => ({ ref, head })).sort((a, b) => (a.ref < b.ref ? -1 : 1));
  const plain = named.filter(({ ref }) => PLAIN_NAME.test(ref.slice('refs/heads/'.length)));
  if (plain.length < named.length) leftOut.push(`${named.length - plain.length} branches have names that cannot be files`);
  if (plain.length > limits.proposalBranches) leftOut.push(`${plain.length} branches match, and the first ${limits.proposalBranches} are planned: delete those that are no longer needed`);
  return { ok: true, branches: plain.slice(0, limits.proposalBranches), leftOut };
}
