import { explainDerivation } from '../../core/decision/explain-automatic.ts';
import { renderExplanation, type ExplainLine } from '../../core/decision/explain.ts';
import { appStateOf } from '../../core/evidence/log-state.ts';
import type { CommitId } from '../../core/model/commit-id.ts';
import { isProtected, KINDS, type Kind } from '../../core/model/documents.ts';
import { beforeMerge } from '../../core/proposal/before-merge.ts';
import { explainDocument } from '../../core/proposal/situation-document.ts';
import { explainSituation, explainSubject, type SituationQuestion } from '../../core/proposal/situation.ts';
import type { PlanningWorld } from '../../reconciler/planning.ts';
import { EVIDENCE_OPTIONS, LAYOUT_OPTION, REF_OPTION, seenCommit, type CloneParts } from '../clone.ts';
import { OUTPUT_OPTION, textOption, usageError, type Command, type CommandContext, type ExitCode } from '../command.ts';
import { planSubject, subjectsNamed, type PlannedSubject } from '../plan-subject.ts';
import { rewoundNote } from '../rewound-note.ts';
import { requireEvidence } from '../require-evidence.ts';
import { stopsInForce, stopText, type StopView } from '../stop-view.ts';
import { plain } from '../../core/model/plain-text.ts';

export const command: Command<CloneParts> = {
  name: 'explain',
  summary: 'Say why a promotion runs or waits, and who can act',
  usage: ['stella explain <environment>', 'stella explain <environment>/<application> [--ref REF]', 'stella explain <Kind>/<name> [--ref REF]'],
  help: `
Says what runs, since when, by which records and whose approvals, why it was deployed again, and what the last run
ended as. Then takes the decision about a promotion here, from this clone and its evidence branch, without a server:
each gate with its result and reason, who could still approve and with which command, when time alone would open it,
and each approval that does not count with the reason. Judged now, by the rules in force, for the commit that you
name; so it also tells what a pull request would meet. A release that is not locked yet is resolved at its registry
from here. Of a protected document it says since which record and by whom it is in force, and what another version
that the commit holds waits for.

Example:
  stella explain prod
  stella explain prod/shop --ref my-branch -o json
  stella explain Environment/prod

Exit codes: 0 allowed, it runs already, or it is in force as the commit holds it; 1 waiting or refused; 2 it could
not be judged.`,
  options: { ...REF_OPTION, ...EVIDENCE_OPTIONS, ...LAYOUT_OPTION, ...OUTPUT_OPTION },
  run,
};

async function run(context: CommandContext, parts: () => Promise<CloneParts>): Promise<ExitCode> {
  const [name, ...rest] = context.positionals;
  if (name === undefined || rest.length > 0) throw usageError('Name an environment, an environment and an application (prod/shop), or a protected document (Environment/prod).', command);
  const clone = await parts();
  const repository = await clone.openRepository(context);
  try {
    const evidence = await requireEvidence(context, clone, repository);
    const loaded = await clone.loadCandidate(repository, evidence, textOption(context.values, 'ref') ?? 'HEAD');
    const asOf = context.now().toISOString();
    const world = await clone.worldOf(repository, evidence, loaded, asOf);
    const note = await rewoundNote(repository, evidence);
    if (note !== null) context.terminal.note(context.terminal.paint('yellow', `warning: ${note}`));
    const document = documentNamed(name);
    if (document !== null) return await explainOne(context, world, document);
    const seen: Seen = { world, unmerged: seenCommit(loaded) === loaded.target ? null : seenCommit(loaded) };
    const registry = clone.registryOf(context, repository);
    const found: PlannedSubject[] = [];
    for (const subject of subjectsNamed(world, name)) found.push(await context.terminal.during('Planning', planSubject(world, subject, registry, asOf)));
    await context.terminal.result(found.map((one) => modelOf(one, seen, context.now())), () => found.map((one) => [textOf(one, seen), ...stopsOn(one, world, context.now()).map((stop) => `  Stopped: ${plain(stopText(stop))}.`)].join('\n')).join('\n\n'));
    return found.every((one) => one.extension === null ? one.satisfied || one.decision.outcome === 'allow' : one.extension.decision.outcome === 'allow') ? 0 : 1;
  } finally {
    await repository.close();
  }
}

/** `Environment/prod`; null for the name of a place, which begins with a small letter. */
function documentNamed(text: string): { readonly kind: Kind; readonly name: string } | null {
  const slash = text.indexOf('/');
  const kind = KINDS.find((one) => one === text.slice(0, slash));
  return kind !== undefined && isProtected(kind) ? { kind, name: text.slice(slash + 1) } : null;
}

async function explainOne({ terminal }: CommandContext, world: PlanningWorld, { kind, name }: { readonly kind: Kind; readonly name: string }): Promise<ExitCode> {
  const lines = explainDocument({ state: world.state, desired: world.desired, openPgp: world.openPgp }, kind, name);
  await terminal.result({ kind, name, commit: world.candidate?.commit ?? world.tip, lines }, () => renderExplanation(lines));
  return lines.length === 1 && lines[0]?.code === 'InForce' ? 0 : 1;
}

/** `unmerged`: the commit that is looked at, where the target branch does not hold it. */
type Seen = { readonly world: PlanningWorld; readonly unmerged: CommitId | null };

/** How its place stands, and the decision that was taken here. */
function linesOf(one: PlannedSubject, { world, unmerged }: Seen): readonly ExplainLine[] {
  const { decision, built } = one.extension ?? one;
  const question: SituationQuestion = { state: world.state, ...one.subject, artifact: world.lookup, decided: { decision, input: built.input } };
  return one.satisfied && one.extension === null ? explainSituation({ ...question, isSatisfied: true }) : beforeMerge(explainSubject(question), built.input, unmerged);
}

/** What was not taken where the place is automatic. */
function heldBack({ derivation }: PlannedSubject): readonly string[] {
  return derivation === null ? [] : explainDerivation(derivation);
}

/** @param one what is explained is its extension, where there is one */
function modelOf(one: PlannedSubject, seen: Seen, now: Date): object {
  const { world } = seen;
  const { decision, built } = one.extension ?? one;
  return {
    environment: one.subject.environment, application: one.subject.application, release: built.input.release, commit: world.candidate?.commit ?? world.tip, target: world.tip, satisfied: one.satisfied,
    derived: built.input.derived, heldBack: heldBack(one), extends: one.extension?.plan.targets.map((t) => t.name) ?? [],
    lock: { digest: built.input.lock, basis: one.basis, fault: one.lockFault }, decision, requesters: built.input.requesters, approvals: built.input.approvals,
    rejected: built.input.rejected, stops: stopsOn(one, world, now), lastOutcome: appStateOf(world.state, one.subject.environment, one.subject.application).lastOutcome, lines: linesOf(one, seen),
  };
}

/** The stops that hold it, with their reasons: those that the freeze gate names. */
function stopsOn(one: PlannedSubject, { state }: PlanningWorld, now: Date): readonly StopView[] {
  const { decision } = one.extension ?? one;
  const named = new Set(decision.gates.flatMap(({ gate, subject, outcome }) => (gate === 'freeze' && outcome !== 'passed' ? [subject] : [])));
  return stopsInForce(state, now.getTime()).filter(({ kind, name }) => named.has(kind === 'Agent' ? `agent/${name}` : kind === 'Freeze' ? name : ''));
}

function textOf(one: PlannedSubject, seen: Seen): string {
  const { world } = seen;
  const lines = [renderExplanation(linesOf(one, seen)), ...heldBack(one).map((text) => `  ${plain(text)}`)];
  if (one.extension !== null) return [...lines, ...extensionText(one.extension, world)].join('\n');
  if (one.satisfied) return lines.join('\n');
  if (one.basis === 'resolved-here') lines.push('  The release is not locked yet: its tags were resolved from here, and the server locks what they point to when it sees the merge, or what an approval names.');
  if (one.lockFault !== null) lines.push(`  The release could not be locked from here: ${one.lockFault}`);
  lines.push(`  Judged for commit ${commitText(world)}, by record ${world.state.size - 1} of the log (${world.state.asOf ?? 'never'}).`);
  return lines.join('\n');
}

function extensionText({ plan }: NonNullable<PlannedSubject['extension']>, world: PlanningWorld): readonly string[] {
  const targets = plan.targets.map((t) => t.name).join(', ');
  return [
    `  It runs already but on ${targets}, where it is brought under the approvals that it has.`,
    `  Judged by record ${world.state.size - 1} of the log (${world.state.asOf ?? 'never'}).`,
  ];
}

function commitText({ tip, candidate }: PlanningWorld): string {
  return candidate === undefined ? tip.slice(0, 12) : `${candidate.commit.slice(0, 12)} laid over ${tip.slice(0, 12)}`;
}
