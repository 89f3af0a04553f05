import type { CommitId } from '../core/model/commit-id.ts';
import type { Digest } from '../core/model/digest.ts';
import type { RegistryDocument } from '../core/model/documents.ts';
import type { DigestResolver } from '../ports/digest-resolver.ts';
import type { DocumentParser } from '../ports/document-parser.ts';
import type { GitReader } from '../ports/git-reader.ts';
import type { ArtifactCache } from './artifact-cache.ts';
import type { Candidate } from './candidate.ts';
import type { Conditions } from './conditions.ts';
import type { Loaded } from './declarations.ts';
import type { LoopGuard } from './loop-guard.ts';
import type { LogBatch } from './log-batch.ts';
import type { Frozen } from './rewrites.ts';
import type { TouchingCommits } from './touching-commits.ts';

/** Resolver of a registry Integration in force, and the repository's name inside that registry. */
export type ResolveRegistry = (integration: RegistryDocument) => Promise<DigestResolver> | DigestResolver;

/** Everything that the steps of one reconcile share. Steps read the tip and the log's state, add records to the batch, and set conditions. */
export type Pass = {
  readonly tip: CommitId;
  readonly targetRef: string;
  readonly loaded: Loaded;
  /** In a rehearsal: a commit whose files lie over those of the tip (T18). A server plans what is merged. */
  readonly candidate?: Candidate;
  readonly batch: LogBatch;
  readonly reader: GitReader;
  readonly parser: DocumentParser;
  readonly artifacts: ArtifactCache;
  /** Tip of the evidence branch that the batch builds on; null before genesis. */
  readonly evidenceTip: CommitId | null;
  readonly touching: TouchingCommits;
  readonly registry: ResolveRegistry;
  readonly conditions: Conditions;
  /** The branch left its history: the pass goes on at the last accepted tip, and what the rewrite touches stands still (T25). */
  readonly frozen: Frozen | null;
  /** Absent in a rehearsal, which writes nothing. */
  readonly guard?: Pick<LoopGuard, 'holdsTag'>;
  /** True when tags that are locked already should be looked at again. */
  readonly pollTags: boolean;
};

/** Makes artifacts of the log available to the steps of this pass, as far as the log has them. They stay, whatever else is loaded. */
export async function holdArtifacts({ batch, artifacts, evidenceTip }: Pick<Pass, 'batch' | 'artifacts' | 'evidenceTip'>, digests: readonly Digest[]): Promise<void> {
  if (evidenceTip === null) return;
  const wanted = digests.filter((digest) => batch.artifacts.get(digest) === undefined);
  await artifacts.load(evidenceTip, wanted);
  batch.hold(new Map(wanted.flatMap((digest) => { const bytes = artifacts.get(digest); return bytes === undefined ? [] : [[digest, bytes] as const]; })));
}
