import { canonicalText, parseCanonicalJson } from '../model/canonical-json.ts';
import type { Digest } from '../model/digest.ts';
import { requestDigest, type AnyDocument } from '../model/documents.ts';
import { preimageDigest, type Plan } from '../model/preimages.ts';
import { decide } from '../decision/decide.ts';
import { brokenGlass } from '../decision/mode.ts';
import { buildDecisionInput, type DecisionMaterial } from '../decision/build-input.ts';
import { buildExtensionInput } from '../decision/extension.ts';
import type { TouchingCommit } from '../trust/requesters.ts';
import { extensionMembers, promotionMembers } from './decision-members.ts';
import type { ArtifactLookup, LogSources } from './fold.ts';
import type { LogState } from './log-state.ts';
import type { PromotionDecisionPredicate, RecordHeader } from './records.ts';

export type ReplayResult =
  | { readonly ok: true }
  | { readonly ok: false; readonly code: 'ArtifactMissing' | 'InputDiffers' | 'DecisionDiffers' | 'RecordDiffers'; readonly message: string; readonly recorded?: string; readonly replayed?: string };

/**
 * Decides again what a record says was decided: rebuilds the input from the log before it and the artifacts it names, and
 * compares the bytes of input and decision (EVIDENCE "Verifying and replaying"), and what the record says besides: that is what the state of the log
 * is made of, and what agents are shown.
 * @param state the log's state before the record
 */
export function replayDecision(state: LogState, header: RecordHeader, p: PromotionDecisionPredicate, sources: LogSources): ReplayResult {
  const { artifact } = sources;
  const material = materialOf(p, artifact);
  if (typeof material === 'string') return { ok: false, code: 'ArtifactMissing', message: `record ${header.seq}: ${material}` };
  const recorded = artifact(p.input);
  if (recorded === undefined) return { ok: false, code: 'ArtifactMissing', message: `record ${header.seq}: its input ${p.input} is not in the log` };
  const recordedText = new TextDecoder().decode(recorded);
  const { plan } = material;
  const built = plan?.operation === 'extend' ? buildExtensionInput(state, { ...material, plan, attempt: p.attempt }, p.decidedAt, sources) : buildDecisionInput(state, material, p.decidedAt, sources);
  const replayedText = canonicalText(built.input);
  if (replayedText !== recordedText || built.relevant !== p.relevant || built.input.operation !== p.operation) {
    return { ok: false, code: 'InputDiffers', message: `record ${header.seq}: the input that the log gives differs from the recorded one`, recorded: recordedText, replayed: replayedText };
  }
  const decision = decide(built.input);
  // T27: what the record says of broken glass decides who may review it.
  const breakGlass = p.operation === 'extend' ? null : brokenGlass(built.input, decision);
  const [made, was] = [canonicalText({ decision, breakGlass }), canonicalText({ decision: p.decision, breakGlass: p.breakGlass })];
  if (made !== was) return { ok: false, code: 'DecisionDiffers', message: `record ${header.seq}: the same input decides otherwise`, recorded: was, replayed: made };
  const { sources: stored, input } = p;
  const members = plan?.operation === 'extend' ? extensionMembers(state, { built, decision }, { plan: stored.plan, input }) : promotionMembers(state, { material, built, decision }, { ...stored, input });
  const { strangers: _, artifacts: __, ...said } = p;
  const [follows, says] = [canonicalText(members), canonicalText(said)];
  if (follows === says) return { ok: true };
  return { ok: false, code: 'RecordDiffers', message: `record ${header.seq}: it says something else than what was decided`, recorded: says, replayed: follows };
}

/** The material of a recorded decision from its artifacts, or what is missing. */
export function materialOf(p: Pick<PromotionDecisionPredicate, 'environment' | 'application' | 'sources'>, artifact: ArtifactLookup): DecisionMaterial | string {
  const promotion = readJson<AnyDocument>(p.sources.promotion, artifact);
  if (promotion?.kind !== 'Promotion' || requestDigest(promotion) !== p.sources.promotionDocument) return `the promotion ${p.sources.promotionDocument} is not in the log`;
  const plan = p.sources.plan === null ? null : readJson<Plan>(p.sources.plan, artifact);
  if (plan === undefined || (plan !== null && preimageDigest(plan) !== p.sources.plan)) return `the plan ${String(p.sources.plan)} is not in the log`;
  const commits: TouchingCommit[] = [];
  for (const { commit, artifact: digest, touched } of p.sources.commits) {
    const raw = artifact(digest);
    if (raw === undefined) return `commit ${commit} is not in the log`;
    commits.push({ commit, raw, touched });
  }
  return { environment: p.environment, application: p.application, promotion, derived: p.sources.derived, ended: p.sources.ended, plan, problems: p.sources.problems, commits };
}

function readJson<T>(digest: Digest, artifact: ArtifactLookup): T | undefined {
  const bytes = artifact(digest);
  return bytes === undefined ? undefined : (parseCanonicalJson(bytes) as T | undefined);
}
