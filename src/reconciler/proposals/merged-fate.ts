import type { OpenPgpVerifier } from '../../core/commit/openpgp.ts';
import type { CommitId } from '../../core/model/commit-id.ts';
import { documentKey, requestDigest, type DocumentOf } from '../../core/model/documents.ts';
import type { ExplainLine } from '../../core/decision/explain.ts';
import { comparePlans, digestMoves } from '../../core/proposal/compare-plans.ts';
import type { ProposalPlan } from '../../core/proposal/plan-model.ts';
import { explainSituation, situationArtifacts, situationCode, situationHeadline, type SituationQuestion } from '../../core/proposal/situation.ts';
import { shortLine } from '../../core/proposal/situation-words.ts';
import type { PlanStatus } from '../../core/proposal/plan-status.ts';
import type { DocumentParser } from '../../ports/document-parser.ts';
import type { ForgeProposal } from '../../ports/forge.ts';
import { GitError, type GitReader } from '../../ports/git-reader.ts';
import type { ArtifactCache } from '../artifact-cache.ts';
import type { Snapshot } from '../snapshot.ts';
import { readMerged, type MergedContents } from './merged-contents.ts';
import { isIn, type PromotionTrail } from './promotion-trail.ts';
import type { PlannedDigests } from './sticky-comment.ts';
import { protectedFate, type FateOfOne } from './protected-fate.ts';

/** What became of a merged proposal so far, for the commit status and for its comment. */
export type MergedFate = { readonly status: PlanStatus; readonly lines: readonly ExplainLine[]; readonly moved: Moved };
/** What was decided otherwise than planned: all of it where the plan is known, else whether the promotion digest is another. */
export type Moved = { readonly lines: readonly string[]; readonly isWhole: boolean };

type Parts = { readonly reader: GitReader; readonly parser: DocumentParser; readonly artifacts: ArtifactCache; readonly trail: PromotionTrail; readonly openPgp: OpenPgpVerifier };
type Entry = { /** null: what was merged cannot be read. */ readonly contents: MergedContents | null; /** Record with which the log saw it. */ readonly seenWith: number };
type ReadEntry = Entry & { readonly contents: MergedContents };

const STATE: Readonly<Record<string, PlanStatus['state']>> = {
  Deployed: 'success', Replaced: 'success', Skipped: 'success', Removed: 'success',
  Refused: 'failure', RunFailed: 'failure', FellBack: 'failure', RunAborted: 'failure', ExtensionFailed: 'failure', Ended: 'failure', Superseded: 'failure', Withdrawn: 'failure',
};
const NOTHING_MOVED: Moved = { lines: [], isWhole: false };
const GRAVEST: readonly PlanStatus['state'][] = ['failure', 'pending', 'success'];

/** Tells of merged proposals what the log says of what they asked for: saying merged is saying requested, and no more. */
export class MergedFates {
  readonly #parts: Parts;
  readonly #entries = new Map<string, Entry>();

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  /**
   * @param onto as of `readMerged`
   * @param planned the plan that was merged, and its promotion digests where this server did not make it
   * @throws GitError
   */
  async of(snapshot: Snapshot, proposal: ForgeProposal, onto: CommitId | null, planned: { readonly plan: ProposalPlan | null; readonly digests: PlannedDigests }): Promise<MergedFate> {
    const entry = await this.#entryOf(snapshot, proposal, onto);
    if (entry === null) return { status: { state: 'pending', description: 'merged, not reconciled yet' }, lines: [], moved: NOTHING_MOVED };
    const { contents } = entry;
    // What nobody could read is not said to be nothing.
    if (contents === null) return { status: { state: 'error', description: 'merged; its history cannot be read, so what became of it cannot be told here' }, lines: [], moved: NOTHING_MOVED };
    const told: Told[] = [];
    for (const place of contents.places) told.push(await this.#tell(snapshot, entry, place));
    for (const { key, digest } of contents.protectedDocuments) told.push({ name: key, ...protectedFate({ ...snapshot, openPgp: this.#parts.openPgp, broughtBy: this.#parts.trail.inForceWith(key, digest, entry.seenWith) }, key, digest) });
    const [first, ...more] = told;
    if (first === undefined) return { status: { state: 'success', description: 'merged; it changed nothing that runs or is in force' }, lines: [], moved: NOTHING_MOVED };
    const state = GRAVEST.find((one) => told.some((t) => t.state === one)) ?? 'pending';
    const worst = told.find((t) => t.state === state) ?? first;
    const done = told.filter((t) => t.state === 'success').length;
    const description = more.length === 0 ? worst.text : `${done} of ${told.length} done; ${worst.name}: ${worst.text}`;
    return { status: { state, description: shortLine(description) }, lines: told.flatMap(({ lines }) => lines), moved: this.#moved({ ...entry, contents }, planned) };
  }

  #moved(entry: ReadEntry, { plan, digests }: { readonly plan: ProposalPlan | null; readonly digests: PlannedDigests }): Moved {
    if (plan !== null) return { lines: comparePlans(plan, this.#decided(plan, entry)), isWhole: true };
    const lines = entry.contents.places.flatMap(({ environment, application, promotion }) => {
      const place = `${environment}/${application}`;
      const [was, is] = [digests.get(place), promotion == null ? null : this.#parts.trail.decisionOf(environment, application, promotion, entry.seenWith)];
      return was === undefined || is === null ? [] : digestMoves(place, was, is.decision.promotionDigest).map((line) => `${place}: ${line}`);
    });
    return { lines, isWhole: false };
  }

  /** The plan with what was decided first after the merge in the place of what was foreseen. */
  #decided(plan: ProposalPlan, { contents, seenWith }: ReadEntry): ProposalPlan {
    const promotions = plan.promotions.map((planned) => {
      const { environment, application } = planned;
      const merged = contents.places.find((place) => place.environment === environment && place.application === application);
      const decided = merged?.promotion == null ? null : this.#parts.trail.decisionOf(environment, application, merged.promotion, seenWith);
      if (decided === null) return planned;
      const { decision, lock, release } = decided;
      return { ...planned, decision, promotionDigest: decision.promotionDigest, lock: { ...planned.lock, to: lock }, release: { ...planned.release, to: release } };
    });
    return { ...plan, promotions };
  }

  /** Forgets all but these. */
  keepOnly(numbers: ReadonlySet<number>): void {
    for (const key of this.#entries.keys()) if (!numbers.has(Number(key.split(' ')[0]))) this.#entries.delete(key);
  }

  async #entryOf(snapshot: Snapshot, { number, head, mergeCommit }: ForgeProposal, onto: CommitId | null): Promise<Entry | null> {
    const { reader, trail } = this.#parts;
    // A forge that does not say where: a merge commit brings the head itself.
    const merged = mergeCommit ?? head.commit;
    const key = `${number} ${merged}`;
    const known = this.#entries.get(key);
    if (known !== undefined) return known;
    // What the log saw, not what the branch has: nothing is told of a merge before it was judged.
    if (!(await isIn(reader, merged, snapshot.tip))) return null;
    const contents = await this.#contentsOf(snapshot, { head: head.commit, mergeCommit: merged, onto });
    const entry = { contents, seenWith: (await trail.seenWith(reader, merged)) ?? snapshot.state.size };
    this.#entries.set(key, entry);
    return entry;
  }

  async #contentsOf(snapshot: Snapshot, p: { readonly head: CommitId; readonly mergeCommit: CommitId; readonly onto: CommitId | null }): Promise<MergedContents | null> {
    try {
      return await readMerged(this.#parts, { ...p, desired: snapshot.desired });
    } catch (cause) {
      if (cause instanceof GitError && cause.disposition === 'stall') return null;
      throw cause;
    }
  }

  async #tell({ state, desired, evidenceTip }: Snapshot, { seenWith }: Entry, place: MergedContents['places'][number]): Promise<Told> {
    const { artifacts, trail } = this.#parts;
    const { environment, application, promotion } = place;
    const name = `${environment}/${application}`;
    if (evidenceTip !== null) await artifacts.load(evidenceTip, situationArtifacts(state, environment, application));
    const entry = desired.usable.Promotion.get(documentKey('Promotion', name));
    const declared = entry === undefined ? null : requestDigest(entry.document as unknown as DocumentOf<'Promotion'>);
    const asked = promotion === undefined ? declared : promotion;
    const history = asked === null ? null : trail.runOf(environment, application, asked, seenWith);
    const question: SituationQuestion = { state, environment, application, artifact: artifacts.get, declared, ...(asked === null ? {} : { promotion: asked }), ...(history === null ? {} : { history }) };
    return { name, state: STATE[situationCode(question)] ?? 'pending', text: situationHeadline(question, 'merged'), lines: explainSituation(question) };
  }
}

type Told = FateOfOne & { readonly name: string };
