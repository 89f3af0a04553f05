import type { CommitId } from '../../core/model/commit-id.ts';
import { limits } from '../../core/model/limits.ts';
import type { Forge, ForgeProposal } from '../../ports/forge.ts';
import type { GitReader } from '../../ports/git-reader.ts';
import type { GitRemote } from '../../ports/git-remote.ts';
import type { Conditions } from '../conditions.ts';
import type { PassReport } from '../reconciler.ts';
import { isHere } from '../rewrites.ts';
import type { Snapshot } from '../snapshot.ts';
import { fetchHeads, mirroredRef, PROPOSAL_REFS, type Fetched, type Wanted } from './fetch-heads.ts';
import { ForgeAccess } from './forge-access.ts';
import { ForgePublisher, type WantedComment, type WantedStatus } from './forge-publisher.ts';
import { ForkRequests } from './fork-requests.ts';
import { EMPTY_LISTING, listProposals, type Listing } from './list-proposals.ts';
import type { MergedFate, MergedFates } from './merged-fate.ts';
import { errorPlan, planCandidates, type MakePlan } from './plan-candidates.ts';
import { PlanShelf } from './plan-shelf.ts';
import { Pace } from './pace.ts';
import type { PlansBranch, PlansFault } from './plans-branch.ts';
import { reportProposals } from './report-proposals.ts';
import { branchPlan, forkStatus, knowingEachOther, mergedComment, mergedStatuses, openComment, openStatus, retargetedStatus, type Planned, type Render } from './wanted.ts';

export type ProposalSettings = {
  /** Patterns of plain branches that are planned, each with one star. */
  readonly branches: readonly string[];
  /** Of our commit status. */
  readonly context: string;
  /** How long a merged proposal is followed. */
  readonly mergedDays: number;
  /** Forge and remote are asked again after so long, whatever wakes us. */
  readonly pollSeconds: number;
  /** Tells this server's comments from those of another on the same proposals: letters, digits, hyphens. */
  readonly scope: string;
};

export type ProposalsParts = {
  readonly snapshot: () => Snapshot | null;
  readonly conditions: Conditions;
  readonly reader: GitReader;
  readonly remote: GitRemote;
  /** Removes a ref of the mirror that nobody needs any more. */
  readonly forget: (ref: string, commit: CommitId) => Promise<void>;
  readonly plan: MakePlan;
  readonly render: Render;
  readonly fates: MergedFates;
  /** Null where there is none: plain branches alone. */
  readonly forge: Forge | null;
  readonly plansBranch: PlansBranch;
  readonly settings: ProposalSettings;
  readonly now: () => Date;
  /** Lets everything else that waits have its turn. */
  readonly rest: () => Promise<void>;
};
type ProposalPlanOf = Planned['plan'];

export type ProposalCounts = { readonly open: number; readonly planned: number; readonly failures: number; readonly waits: number };

/** A proposal, branch or queue ref whose head lies in the mirror. */
type Candidate = { readonly name: string; readonly commit: CommitId; readonly proposal: ForgeProposal | null; readonly isBranch: boolean };
type Followed = { readonly proposal: ForgeProposal; readonly fate: MergedFate; readonly onto: CommitId };

/**
 * Plans what is proposed and says so where people look, before the merge and after it. Everything is found again from forge and Git; nothing is
 * executed or recorded (T18), and reconciling never waits for it. One pass at a time.
 */
export class Proposals {
  readonly #parts: ProposalsParts;
  readonly #access: ForgeAccess | null;
  readonly #publisher: ForgePublisher | null;
  readonly #forks: ForkRequests;
  readonly #shelf: PlanShelf;
  readonly #unfetchable = new Set<number>();
  #listing: Listing = EMPTY_LISTING;
  #granted: ReadonlySet<number> = new Set();
  #candidates: readonly Candidate[] = [];
  #followed: { readonly listing: Listing; readonly state: Snapshot['state']; readonly found: readonly Followed[] } | null = null;
  #branchesListedAt = -Infinity;
  /** Target tip at which forge and remote were asked. */
  #listedAt: CommitId | null = null;
  #isStale = true;
  readonly #pace: Pace;
  /** There was more cause to ask forge and remote than their patience allows; it is made up for. */
  #isHeldBack = false;
  #isRecalled = false;
  #isLeft = false;
  #planned = 0;

  constructor(parts: ProposalsParts) {
    const { forge, settings, now } = parts;
    this.#parts = parts;
    this.#access = forge === null ? null : new ForgeAccess(forge, now);
    this.#publisher = this.#access === null ? null : new ForgePublisher(this.#access, { scope: settings.scope, context: settings.context, now });
    this.#forks = new ForkRequests(now);
    this.#pace = new Pace(limits.proposalListings, now);
    this.#shelf = new PlanShelf(settings.pollSeconds * 1000);
  }

  get counts(): ProposalCounts {
    return { open: this.#candidates.length, planned: this.#planned, failures: this.#publisher?.failures ?? 0, waits: this.#access?.waits ?? 0 };
  }

  /** The next pass asks forge and remote, and does not only look whether the log moved. @param what proposals: the forge alone has news */
  look(what: 'proposals' | 'everything' = 'everything'): void {
    this.#isStale = true;
    if (what === 'everything') this.#branchesListedAt = -Infinity;
  }

  /** When something can change by time alone, milliseconds since 1970. */
  nextDue(): number | null {
    const { snapshot, settings, now } = this.#parts;
    if (this.#isLeft) return now().getTime();
    if (this.#isHeldBack) return this.#pace.nextAt;
    const world = snapshot();
    const times = [world === null ? null : this.#shelf.nextDue(world), this.#access?.waitsUntil ?? null, this.#listing.at + settings.pollSeconds * 1000];
    return Math.min(...times.filter((at) => at !== null && Number.isFinite(at)).map(Number));
  }

  /** Never throws: what went wrong is a condition and in the report. */
  async pass(): Promise<PassReport> {
    const snapshot = this.#parts.snapshot();
    this.#isLeft = false;
    // Before the log is read nothing is known, and nothing is said.
    if (snapshot === null) return { ok: true, suspects: [], tip: null, records: 0, fault: null };
    let plans: PlansFault | null = null;
    let broken: { readonly code: string; readonly message: string } | null = null;
    try {
      plans = await this.#work(snapshot);
    } catch (cause) {
      broken = { code: 'InternalError', message: cause instanceof Error ? cause.message : String(cause) };
    }
    const forge = this.#access?.fault ?? null;
    reportProposals(this.#parts.conditions, { forge, plans, broken, listing: this.#listing });
    const remote = this.#listing.remoteFault === null ? null : { code: 'FetchFailed', message: this.#listing.remoteFault };
    // What the forge told us to wait for is no failure: the pass comes back at its time.
    const fault = broken ?? plans ?? remote ?? (forge?.code === 'RateLimited' ? null : forge);
    return { ok: fault === null, suspects: [], tip: snapshot.tip, records: 0, fault };
  }

  async #work(snapshot: Snapshot): Promise<PlansFault | null> {
    const { settings, now } = this.#parts;
    this.#access?.begin();
    // What moved the target branch may have been a merge: a plan of what is merged would say that it changes nothing.
    const isDue = this.#isStale || this.#listedAt !== snapshot.tip || now().getTime() - this.#listing.at >= settings.pollSeconds * 1000;
    this.#isHeldBack = isDue && !this.#pace.take();
    if (this.#isHeldBack) return null;
    if (isDue) await this.#list(snapshot);
    const made = await planCandidates(this.#parts, this.#shelf, snapshot, this.#plannable().map(({ commit }) => commit));
    this.#planned += made.planned;
    const planned = this.#candidates.flatMap((candidate) => { const plan = this.#shelf.get(candidate.commit); return plan === undefined ? [] : [{ name: candidate.name, plan, candidate }]; });
    const said = knowingEachOther(planned).map((one, i) => ({ ...one, candidate: planned[i]?.candidate }));
    const published = await this.#publish(snapshot, said.flatMap(({ plan, candidate }) => (candidate === undefined ? [] : [{ plan, candidate }])));
    this.#isLeft = !made.isComplete || !published;
    // A branch that was not planned yet keeps what was said of it.
    if (!made.isComplete) return null;
    return this.#parts.plansBranch.publish(snapshot.state, said.filter(({ candidate }) => candidate?.isBranch).map((one) => branchPlan(one, this.#parts.render)));
  }

  /** As long as the forge does not say what is open now, what was planned of it stays. */
  #plannable(): readonly Candidate[] {
    return this.#candidates.filter(({ proposal, commit }) => proposal === null || this.#listing.isAnswered || this.#shelf.get(commit) === undefined);
  }

  /** Asks forge and remote what there is, and brings the heads here. */
  async #list(snapshot: Snapshot): Promise<void> {
    const { remote, settings, now } = this.#parts;
    const at = now();
    const branchesToo = this.#listedAt !== snapshot.tip || this.#listing.remoteFault !== null || at.getTime() - this.#branchesListedAt >= settings.pollSeconds * 1000;
    // What comes in from now on is news for the next pass.
    this.#isStale = false;
    if (branchesToo) this.#branchesListedAt = at.getTime();
    const listing = await listProposals({ access: this.#access, remote, settings: { ...settings, targetRef: snapshot.targetRef }, before: this.#listing, branchesToo, now: at });
    this.#listing = listing;
    this.#listedAt = snapshot.tip;
    if (!listing.isAnswered) this.#isStale = true;
    const forks = listing.open.filter(({ isFork }) => isFork).slice(0, limits.openForks);
    const access = this.#access;
    this.#granted = access === null ? new Set() : await access.aside(() => this.#forks.granted(access, forks));
    await this.#fetch(snapshot);
    const publisher = this.#publisher;
    if (this.#isRecalled || publisher === null || access?.isAnswering !== true) return;
    const known = [...listing.open.filter((p) => !p.isFork || this.#granted.has(p.number)), ...listing.merged].map(({ number, head }) => ({ number, head: head.commit }));
    this.#isRecalled = await access.aside(async () => { await publisher.recall(known); return access.isAnswering; });
  }

  async #fetch(snapshot: Snapshot): Promise<void> {
    const { reader, forget } = this.#parts;
    const { open, merged, branches, queue } = this.#listing;
    const planned = open.filter((p) => !p.isFork || this.#granted.has(p.number));
    const proposed = new Set(planned.filter((p) => !p.isFork).map(({ head }) => `refs/heads/${head.branch}`));
    // The plan of a branch that is proposed stands on its proposal.
    const alone = branches.filter(({ ref }) => !proposed.has(ref));
    const past: Wanted[] = [];
    for (const { number, head } of merged) if (head.fetchRef !== null && !this.#unfetchable.has(number) && !(await isHere(reader, head.commit))) past.push({ ref: head.fetchRef, head: head.commit });
    const live = [...wantedOf(planned), ...alone, ...queue];
    const fetched = await fetchHeads(this.#parts, live);
    const older = await fetchHeads(this.#parts, past);
    for (const { number, head } of merged) if (head.fetchRef !== null && older.get(head.fetchRef)?.ok === false) this.#unfetchable.add(number);
    // What one ref does not give another may: a plan that was made of the same commit stays.
    const here = new Set([...fetched.values()].flatMap((one) => (one.ok ? [one.commit] : [])));
    this.#candidates = [
      ...planned.flatMap((proposal) => this.#candidateOf(snapshot, { name: `#${proposal.number}`, ref: proposal.head.fetchRef, head: proposal.head.commit, proposal }, fetched, here)),
      ...queue.flatMap(({ ref, head }) => this.#candidateOf(snapshot, { name: ref.replace(/^refs\/heads\//, ''), ref, head, proposal: null }, fetched, here)),
      ...alone.flatMap(({ ref, head }) => this.#candidateOf(snapshot, { name: ref.replace(/^refs\/heads\//, ''), ref, head, proposal: null, isBranch: true }, fetched, here)),
    ];
    const kept = new Set([...live, ...wantedOf(merged)].map(({ ref }) => mirroredRef(ref)));
    for (const { name, id } of await reader.listRefs(PROPOSAL_REFS)) if (!kept.has(name)) await forget(name, id as CommitId);
    this.#shelf.keepOnly(new Set([...this.#candidates.map(({ commit }) => commit), ...merged.map(({ head }) => head.commit)]));
  }

  #candidateOf(snapshot: Snapshot, c: { readonly name: string; readonly ref: string | null; readonly head: CommitId; readonly proposal: ForgeProposal | null; readonly isBranch?: boolean }, fetched: ReadonlyMap<string, Fetched>, here: ReadonlySet<CommitId>): readonly Candidate[] {
    const { now } = this.#parts;
    const found = c.ref === null ? undefined : fetched.get(c.ref);
    const of = { name: c.name, proposal: c.proposal, isBranch: c.isBranch ?? false };
    if (found === undefined || !found.ok) {
      if (here.has(c.head)) return [{ ...of, commit: c.head }];
      const message = `its head cannot be fetched: ${found?.message ?? 'the forge offers it under no ref of this repository'}`;
      this.#shelf.put(c.head, errorPlan(snapshot, c.head, now(), { code: 'HeadUnavailable', message, remedy: null }), snapshot, now().getTime(), now().getTime() + limits.proposalRetryMs);
      return [{ ...of, commit: c.head }];
    }
    // T18: somebody asked for one commit of a fork, and for no other.
    if (c.proposal?.isFork === true && found.commit !== c.head) return [];
    return [{ ...of, commit: found.commit }];
  }

  /** Statuses first, then comments. @returns whether nothing is left that could be published now */
  async #publish(snapshot: Snapshot, said: readonly { readonly plan: ProposalPlanOf; readonly candidate: Candidate }[]): Promise<boolean> {
    if (this.#publisher === null) return true;
    const { render } = this.#parts;
    const { open, retargeted } = this.#listing;
    const followed = await this.#follow(snapshot);
    const statuses: WantedStatus[] = [
      ...said.flatMap(({ plan, candidate }) => (candidate.isBranch ? [] : [openStatus(candidate.proposal, plan)])),
      // One that cannot be fetched is not promised a plan; its commit is not in the repository, so it could take no status either.
      ...open.filter((p) => p.isFork && p.head.fetchRef !== null && !this.#granted.has(p.number)).slice(0, limits.openForks).map(forkStatus),
      ...retargeted.map(retargetedStatus), ...followed.flatMap(({ proposal, fate }) => mergedStatuses(proposal, fate)),
    ];
    const comments: WantedComment[] = [
      ...said.flatMap(({ plan, candidate }) => (candidate.proposal === null ? [] : [openComment(candidate.proposal, plan, render)])),
      ...followed.flatMap(({ proposal, fate, onto }) => (this.#publisher?.ontoOf(proposal.number) == null ? [] : [mergedComment(proposal, fate, onto)])),
    ];
    // One commit has one status; what is open says more than what was.
    const byCommit = new Map<CommitId, WantedStatus>();
    for (const status of statuses) if (!byCommit.has(status.commit)) byCommit.set(status.commit, status);
    const numbers = new Set([...open, ...this.#listing.merged].map(({ number }) => number));
    this.#publisher.keepOnly(new Set(byCommit.keys()), numbers);
    const isSet = await this.#publisher.setStatuses([...byCommit.values()]);
    return isSet && (await this.#publisher.writeComments(comments));
  }

  async #follow(snapshot: Snapshot): Promise<readonly Followed[]> {
    const { fates } = this.#parts;
    const { merged } = this.#listing;
    // The same log says the same of the same merges.
    if (this.#followed?.listing === this.#listing && this.#followed.state === snapshot.state) return this.#followed.found;
    fates.keepOnly(new Set(merged.map(({ number }) => number)));
    const followed: Followed[] = [];
    for (const proposal of merged) {
      const plan = this.#shelf.get(proposal.head.commit);
      const onto = this.#publisher?.ontoOf(proposal.number) ?? plan?.target.commit ?? null;
      followed.push({ proposal, fate: await fates.of(snapshot, proposal, onto, { plan: plan ?? null, digests: this.#publisher?.plannedOf(proposal.number) ?? new Map() }), onto: onto ?? snapshot.tip });
    }
    this.#followed = { listing: this.#listing, state: snapshot.state, found: followed };
    return followed;
  }
}

function wantedOf(proposals: readonly ForgeProposal[]): readonly Wanted[] {
  return proposals.flatMap(({ head }) => (head.fetchRef === null ? [] : [{ ref: head.fetchRef, head: head.commit }]));
}
