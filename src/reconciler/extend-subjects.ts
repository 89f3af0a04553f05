import { canonicalBytes, type JsonObject } from '../core/model/canonical-json.ts';
import type { Digest } from '../core/model/digest.ts';
import { compareText } from '../core/model/names.ts';
import type { Extension } from '../core/decision/extension.ts';
import { extensionMembers } from '../core/evidence/decision-members.ts';
import type { AppState } from '../core/evidence/log-state.ts';
import type { PromotionDecisionPredicate } from '../core/evidence/records.ts';
import { EVIDENCE_FILE, STICKER } from '../core/release/sticker.ts';
import { stickerFor } from './decision-sticker.ts';
import type { Pass } from './pass.ts';

/** What deciding about an extension looks up synchronously. */
export function extensionArtifacts({ standing, openRun }: AppState): readonly Digest[] {
  if (standing === null) return [];
  return [standing.input, standing.plan, ...standing.sources.approvals, ...(openRun?.operation === 'extend' ? [openRun.plan] : [])];
}

/** Records the decision about an extension. */
export function recordExtension(pass: Pass, extension: Extension): void {
  const { batch } = pass;
  const { plan, decision, built } = extension;
  const json = (value: unknown): Digest => batch.artifact(canonicalBytes(value as JsonObject));
  const members = extensionMembers(batch.state, { built, decision }, { input: json(built.input), plan: json(plan) });
  batch.add({ type: 'promotion-decision', predicate: { ...members, strangers: 0, artifacts: decision.outcome === 'allow' ? allowArtifacts(pass, extension) : [] } });
}

/** The rendered files are those that the approved plan names; sticker and evidence file are of this decision. */
function allowArtifacts({ batch }: Pass, { plan, decision, built: { input } }: Extension): PromotionDecisionPredicate['artifacts'] {
  const rendered = (plan.runs?.artifacts ?? []).map(({ path, digest }) => ({ name: path, digest }));
  const evidence = canonicalBytes({ type: 'stella/release-evidence/v1', input, decision } as unknown as JsonObject);
  const own = plan.runs === null ? [] : [{ name: STICKER, digest: batch.artifact(stickerFor(plan.runs, input, decision, input.lock)) }];
  return [...rendered, { name: EVIDENCE_FILE, digest: batch.artifact(evidence) }, ...own].sort((a, b) => compareText(a.name, b.name));
}
