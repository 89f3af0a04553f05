import type { OpenPgpVerifier } from '../../core/commit/openpgp.ts';
import { renderMarkdown } from '../../core/proposal/render-markdown.ts';
import type { DocumentParser } from '../../ports/document-parser.ts';
import type { EvidenceWriter } from '../../ports/evidence-writer.ts';
import type { Forge } from '../../ports/forge.ts';
import type { GitReader } from '../../ports/git-reader.ts';
import type { GitRemote } from '../../ports/git-remote.ts';
import type { Signers } from '../../ports/signing.ts';
import { ArtifactCache } from '../artifact-cache.ts';
import type { ResolveRegistry } from '../pass.ts';
import { planProposal } from '../plan-proposal.ts';
import type { Reconciler } from '../reconciler.ts';
import { RegistryBackOff } from '../registry-back-off.ts';
import { TouchingCommits } from '../touching-commits.ts';
import { MergedFates } from './merged-fate.ts';
import { PlanAllowance } from './plan-allowance.ts';
import { PlansBranch } from './plans-branch.ts';
import type { PromotionTrail } from './promotion-trail.ts';
import { Proposals, type ProposalSettings } from './proposals.ts';
import type { Render } from './wanted.ts';

/** One mirror with both sides of it. */
type MirrorSides = { readonly reader: GitReader; readonly remote: GitRemote; readonly writer: EvidenceWriter };

export type ProposalsWorld = {
  readonly reconciler: Pick<Reconciler, 'snapshot' | 'conditions'>;
  /** Is told of each record that is pushed, by the reconciler. */
  readonly trail: PromotionTrail;
  readonly declarations: MirrorSides;
  readonly evidence: MirrorSides;
  readonly parser: DocumentParser;
  readonly openPgp: OpenPgpVerifier;
  readonly registry: ResolveRegistry;
  readonly signers: Signers;
  readonly author: { readonly name: string; readonly email: string };
  readonly forge: Forge | null;
  /** Whether the forge's comments can be folded. */
  readonly folds: 'details' | 'none';
  readonly settings: ProposalSettings;
  /** Full name of the branch with plans, in the repository of the log. */
  readonly plansRef: string;
  readonly now: () => Date;
};

/** Everything that proposals need beside what reconciling has: what is kept for planning is its own, so that neither takes from the other. */
export function createProposals(world: ProposalsWorld): Proposals {
  const { reconciler, trail, declarations, evidence, parser, openPgp, signers, author, forge, folds, settings, plansRef, now } = world;
  const { reader, remote, writer } = declarations;
  const render: Render = { markdown: (plan, maxChars) => renderMarkdown(plan, { maxChars, folds }), json: (plan) => JSON.stringify(plan, null, 2) };
  const allowance = new PlanAllowance();
  const [planParser, registry] = [allowance.parser(parser), allowance.registry(new RegistryBackOff(world.registry, now).resolverOf)];
  const [artifacts, touching] = [new ArtifactCache(evidence.reader), new TouchingCommits(reader, parser)];
  return new Proposals({
    snapshot: () => reconciler.snapshot, conditions: reconciler.conditions, reader, remote, forge, render, settings, now,
    forget: async (ref, commit) => void (await writer.openBranch(ref).moveTo(commit, null)),
    plan: async (snapshot, commit, asOf) => {
      allowance.begin();
      const plan = await planProposal({ ...snapshot, reader, parser: planParser, openPgp, artifacts, touching, registry }, { commit, asOf: asOf.toISOString() });
      return { plan, isOwed: allowance.isOwed };
    },
    fates: new MergedFates({ reader, parser, openPgp, trail, artifacts: new ArtifactCache(evidence.reader) }),
    plansBranch: new PlansBranch({ reader: evidence.reader, remote: evidence.remote, branch: evidence.writer.openBranch(plansRef), signers, author, now }),
    rest: () => new Promise((resolve) => setImmediate(resolve)),
  });
}
