import { parseCanonicalJson } from '../core/model/canonical-json.ts';
import type { CommitId } from '../core/model/commit-id.ts';
import type { ExplainLine } from '../core/decision/explain.ts';
import type { DecisionInput } from '../core/decision/types.ts';
import type { LogState } from '../core/evidence/log-state.ts';
import type { PromotionDecisionPredicate } from '../core/evidence/records.ts';
import { explainSubject, replacedArtifacts, situationArtifacts } from '../core/proposal/situation.ts';
import type { GitReader } from '../ports/git-reader.ts';
import type { LedgerReader, PromotionRow } from '../ports/ledger.ts';
import { ArtifactCache } from './artifact-cache.ts';

export type ExplainSources = {
  /** The log as far as it is pushed; null before it was read. */
  readonly log: () => { readonly state: LogState; readonly evidenceTip: CommitId } | null;
  readonly reader: GitReader;
  readonly records: Pick<LedgerReader, 'record'>;
};

/**
 * What became of one promotion, and its last decision gate by gate: the lines of `stella explain`. Artifacts are read beside those of the
 * reconciler, whose judging must not lose any to a reader.
 * @returns no lines before the log was read
 */
export async function explainPromotion({ log, reader, records }: ExplainSources, row: PromotionRow): Promise<readonly ExplainLine[]> {
  const now = log();
  if (now === null) return [];
  const { state, evidenceTip } = now;
  const { environment, application } = row;
  const artifacts = new ArtifactCache(reader);
  const made = predicateIn(await records.record(row.decisionSeq));
  const first = [...situationArtifacts(state, environment, application), ...(made === null ? [] : [made.input])];
  await artifacts.load(evidenceTip, first);
  const replaced = replacedArtifacts(state, environment, application, artifacts.get);
  await artifacts.load(evidenceTip, [...first, ...replaced]);
  const bytes = made === null ? undefined : artifacts.get(made.input);
  const input = bytes === undefined ? undefined : (parseCanonicalJson(bytes) as unknown as DecisionInput | undefined);
  const history = { generation: row.generation, outcome: row.outcomeSeq === null || row.result === null ? null : { seq: row.outcomeSeq, result: row.result } };
  return explainSubject({
    state, environment, application, artifact: artifacts.get, promotion: row.documentDigest, history,
    // A run that has ended is not decided about any more: what is told of it is how it ended.
    decided: made === null || input === undefined || history.outcome !== null ? null : { decision: made.decision, input },
  });
}

/** The mirror holds statements as they were verified when they were read or written. */
function predicateIn(record: Awaited<ReturnType<LedgerReader['record']>>): PromotionDecisionPredicate | null {
  const predicate = record?.type === 'promotion-decision' ? (record.statement['predicate'] as { readonly content?: unknown } | undefined) : undefined;
  return (predicate?.content ?? null) as PromotionDecisionPredicate | null;
}
