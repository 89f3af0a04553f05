import type { Digest } from '../core/model/digest.ts';
import { compareText } from '../core/model/names.ts';
import type { Runs } from '../core/model/preimages.ts';
import type { Decision, DecisionInput } from '../core/decision/types.ts';
import { renderSticker } from '../core/release/sticker.ts';

/** The sticker that an allow puts on targets: it derives from the decision, so the log holds it before anything runs. */
export function stickerFor(runs: Runs, input: DecisionInput, decision: Decision, lock: Digest | null): Uint8Array {
  if (lock === null || decision.promotionDigest === null) throw new Error('an allow without lock and promotion digest has no sticker');
  return renderSticker({
    environment: input.environment, application: input.application, release: runs.release, lock, components: runs.components.map(({ name, digest }) => ({ name, digest })),
    generation: decision.generation, promotion: decision.promotionDigest, decidedAt: input.asOf, requesters: input.requesters.people,
    approvers: [...new Set(input.approvals.filter((a) => decision.consumes.includes(a.document)).map((a) => a.principal))].sort(compareText),
  });
}
