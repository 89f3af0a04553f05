import { parseCanonicalJson } from '../core/model/canonical-json.ts';
import { documentKey, type DocumentOf } from '../core/model/documents.ts';
import { parseInstant } from '../core/model/instant.ts';
import { preimageDigest } from '../core/model/preimages.ts';
import { ApprovalMissing, buildDecisionInput, type BuiltInput } from '../core/decision/build-input.ts';
import { decide } from '../core/decision/decide.ts';
import { extensionOf, type Extension } from '../core/decision/extension.ts';
import type { Decision, DecisionInput } from '../core/decision/types.ts';
import { rootOf, type LogState, type OpenRun } from '../core/evidence/log-state.ts';
import { materialOf } from '../core/evidence/replay.ts';
import { holdArtifacts, type Pass } from './pass.ts';
import type { Planned, Subject } from './planning.ts';

/** The allow of an open run, judged again. */
export type Rejudged = { readonly built: BuiltInput; readonly decision: Decision } & ({ readonly planned: Planned; readonly extension: null } | { readonly planned: null; readonly extension: Extension });

/**
 * Judges the allow of an open run again, from what it was made of: the document, plan and commits in the log, whatever the branch asks for by
 * now. So a freeze, a rejection or a revoked key stops a run whose Promotion was replaced or deleted meanwhile (T23).
 * @throws ApprovalMissing when the log lacks what it named
 */
export async function rejudge(pass: Pass, s: Subject, open: OpenRun): Promise<Rejudged> {
  const { batch } = pass;
  if (open.operation === 'extend') {
    const extension = extensionOf(batch.state, { ...s, attempt: open.attempt }, batch.asOf, batch.sources);
    if (extension !== null) return { built: extension.built, decision: extension.decision, planned: null, extension };
  }
  const planned = await plannedAsAllowed(pass, s, open);
  const built = buildDecisionInput(batch.state, planned.material, batch.asOf, batch.sources);
  return { built, decision: decide(built.input), planned, extension: null };
}

/**
 * Whether judging again says something new. A run whose allow has fallen ends, and is not taken up again. Decided again is an allow that has
 * lapsed, that holds shorter than it said, or that was signed under an earlier root: agents believe the keys of the root in force alone (T29).
 */
export function isRunNews(open: OpenRun, { built, decision }: Rejudged, { state, asOf }: Pick<Pass['batch'], 'state' | 'asOf'>): boolean {
  if (open.fallen) return false;
  if (decision.outcome !== 'allow' || built.relevant !== open.relevant) return true;
  return asOf >= open.notAfter || endsBefore(decision.notAfter, open.notAfter) || open.decision.seq < rootSeq(state);
}

/** Whether `input` is about what the open run does, and not about what replaces it. A raised attempt alone asks for nothing else before the run ends. */
export function isAbout(open: OpenRun | null, input: DecisionInput): boolean {
  return open !== null && (input.promotionDigest === open.promotionDigest || (input.promotion === open.promotion && input.plan === open.plan));
}

function endsBefore(a: string | null, b: string): boolean {
  const [x, y] = [a === null ? null : parseInstant(a), parseInstant(b)];
  return x !== null && y !== null && x < y;
}

/** The record with which the root in force came into force; -1 for genesis, which is in force by the pin. */
function rootSeq(state: LogState): number {
  return state.inForce.get(documentKey('TrustRoot', rootOf(state).metadata.name))?.seq ?? -1;
}

async function plannedAsAllowed(pass: Pass, s: Subject, open: OpenRun): Promise<Planned> {
  const { batch } = pass;
  const { sources } = open;
  await holdArtifacts(pass, [sources.promotion, open.plan, ...(sources.configuration === null ? [] : [sources.configuration]), ...sources.commits.map(({ artifact }) => artifact)]);
  const material = materialOf({ ...s, sources }, batch.lookup);
  if (typeof material === 'string') throw new ApprovalMissing(`${material}; restore the evidence branch from a clone`);
  const { plan } = material;
  if (plan === null) throw new ApprovalMissing(`the allow of record ${open.decision.seq} has no plan`);
  const rendered = plan.runs?.artifacts ?? [];
  await holdArtifacts(pass, rendered.map(({ digest }) => digest));
  const artifacts = rendered.flatMap(({ path, digest }) => {
    const bytes = batch.lookup(digest);
    return bytes === undefined ? [] : [{ name: path, digest, bytes }];
  });
  if (artifacts.length < rendered.length) throw new ApprovalMissing(`the log lacks a rendered file of the plan ${open.plan}; restore the evidence branch from a clone`);
  const bytes = sources.configuration === null ? undefined : batch.lookup(sources.configuration);
  return {
    material, files: [], configuration: bytes === undefined ? null : ((parseCanonicalJson(bytes) as DocumentOf<'Configuration'> | undefined) ?? null),
    lock: batch.state.locks.get(`${s.application}/${open.release ?? ''}`)?.lock ?? null,
    plan: { ok: true, plan, planDigest: open.plan, runsDigest: plan.runs === null ? null : preimageDigest(plan.runs), artifacts },
  };
}
