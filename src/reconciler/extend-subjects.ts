import { canonicalBytes, type JsonObject } from '../core/model/canonical-json.ts';
import type { Digest } from '../core/model/digest.ts';
import { compareText } from '../core/model/names.ts';
import type { Extension } from '../core/decision/extension.ts';
import { appStateOf, type AppState } from '../core/evidence/log-state.ts';
import type { PromotionDecisionPredicate } from '../core/evidence/records.ts';
import { EVIDENCE_FILE, STICKER } from '../core/release/sticker.ts';
import { stickerFor } from './decision-sticker.ts';
import type { Pass } from './pass.ts';
import type { Subject } from './planning.ts';

/** What deciding about an extension looks up synchronously. */
export function extensionArtifacts({ standing, openRun }: AppState): readonly Digest[] {
  if (standing === null) return [];
  return [standing.input, standing.plan, ...standing.sources.approvals, ...(openRun?.operation === 'extend' ? [openRun.plan] : [])];
}

/**
 * Records the decision about an extension. It names what the allow that it extends named, so that an agent finds the same requesters and
 * approvals; only plan, input and decision are its own.
 */
export function recordExtension(pass: Pass, s: Subject, extension: Extension): void {
  const { batch } = pass;
  const { plan, decision, built } = extension;
  const { input } = built;
  const { standing, lastDecision } = appStateOf(batch.state, s.environment, s.application);
  if (standing === null) throw new Error(`nothing stands in ${s.environment}/${s.application} that could be extended`);
  const json = (value: unknown): Digest => batch.artifact(canonicalBytes(value as JsonObject));
  const predicate: PromotionDecisionPredicate = {
    environment: s.environment, application: s.application, operation: 'extend', release: input.release, attempt: input.attempt, lock: input.lock, runs: input.runs,
    requestedAt: lastDecision?.promotion === input.promotion ? lastDecision.requestedAt : input.asOf, decidedAt: input.asOf, input: json(input), relevant: built.relevant,
    sources: { ...standing.sources, ended: null, problems: input.problems, plan: json(plan), approvals: built.candidates, extends: standing.input },
    strangers: 0, decision, breakGlass: null, artifacts: decision.outcome === 'allow' ? allowArtifacts(pass, extension) : [],
  };
  batch.add({ type: 'promotion-decision', predicate });
}

/** The rendered files are those that the approved plan names; sticker and evidence file are of this decision. */
function allowArtifacts({ batch }: Pass, { plan, decision, built: { input } }: Extension): PromotionDecisionPredicate['artifacts'] {
  const rendered = (plan.runs?.artifacts ?? []).map(({ path, digest }) => ({ name: path, digest }));
  const evidence = canonicalBytes({ type: 'stella/release-evidence/v1', input, decision } as unknown as JsonObject);
  const own = plan.runs === null ? [] : [{ name: STICKER, digest: batch.artifact(stickerFor(plan.runs, input, decision, input.lock)) }];
  return [...rendered, { name: EVIDENCE_FILE, digest: batch.artifact(evidence) }, ...own].sort((a, b) => compareText(a.name, b.name));
}
