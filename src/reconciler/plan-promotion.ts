import type { Digest } from '../core/model/digest.ts';
import { documentKey, type DocumentOf } from '../core/model/documents.ts';
import { limits } from '../core/model/limits.ts';
import { parseInstant } from '../core/model/instant.ts';
import { parseCanonicalJson } from '../core/model/canonical-json.ts';
import { preimageDigest, type Plan, type Runs } from '../core/model/preimages.ts';
import { derivedFrom, explainDerivation } from '../core/decision/explain-automatic.ts';
import { decide } from '../core/decision/decide.ts';
import { goesBack } from '../core/decision/mode.ts';
import type { Decision } from '../core/decision/types.ts';
import type { DesiredState } from '../core/desired/desired-state.ts';
import { appStateOf, type AppState, type LogState } from '../core/evidence/log-state.ts';
import { compareRuns, downgradeNotes, strategyText, type RunsDifference, type Side } from '../core/proposal/compare-runs.ts';
import type { FileChange, PromotionEffect, PromotionPlan } from '../core/proposal/plan-model.ts';
import { explainSubject, replacedArtifacts, situationArtifacts } from '../core/proposal/situation.ts';
import { bytesDiff } from '../core/proposal/unified-diff.ts';
import { beforeMerge } from '../core/proposal/before-merge.ts';
import type { Judged } from './decide-subjects.ts';
import { holdArtifacts, type Pass } from './pass.ts';
import { lineageNotes } from './release-lineage.ts';

/**
 * What one subject's judgement means for those who read a plan: what runs now against what would.
 * @param pass of the rehearsal, with its batch
 * @param before the log and the target branch without the candidate
 */
export async function planPromotion(pass: Pass, before: { readonly state: LogState; readonly desired: DesiredState }, given: Judged): Promise<PromotionPlan> {
  const judged = { ...given, made: given.made === null ? null : { ...given.made, decision: withoutOwnEnd(given.made) } };
  const { subject: { environment, application }, made, planned } = judged;
  const app = appStateOf(before.state, environment, application);
  const now = await whatRuns(pass, app);
  const plan = judged.extension?.plan ?? (planned?.plan?.ok === true ? planned.plan.plan : null);
  const effect = effectOf(judged, app, plan);
  const stays = plan === null || effect === 'nothing' || effect === 'withdraw';
  const to = stays ? { runs: now.runs, targets: now.targets } : { runs: plan.runs, targets: effect === 'extend' ? [...now.targets, ...plan.targets.map((t) => t.name)] : plan.targets.map((t) => t.name) };
  const from: Side = { ...now, tagOf: tagsIn(before.desired, application, app.release) };
  const difference = compareRuns(from, { ...to, tagOf: tagsIn(pass.loaded.state, application, to.runs?.release ?? null) });
  const lock = to.runs?.lock ?? null;
  const goes = effect === 'remove' ? null : (to.runs?.release ?? app.release);
  return {
    environment, application, effect, release: { from: app.release, to: goes }, lock: { from: app.lock, to: effect === 'remove' ? null : (lock ?? app.lock) },
    ...difference, files: await withDiffs(pass, difference, judged), strategy: plan === null ? null : strategyText(plan), notes: await notesOn(pass, judged, app, { effect, difference }),
    promotionDigest: made?.decision.promotionDigest ?? null, decision: made?.decision ?? null, lines: await linesOf(pass, before.state, judged), couldPassAt: couldPassAt(made?.decision ?? null),
  };
}

/** An allow begins with the merge, whenever that is: of a planned one time changes only what would end it sooner, such as a window or a freeze. */
function withoutOwnEnd({ input, decision }: NonNullable<Judged['made']>): Decision {
  if (decision.outcome !== 'allow') return decision;
  return { ...decision, nextChangeAt: decide({ ...input, allowSeconds: Number.MAX_SAFE_INTEGER }).nextChangeAt };
}

/** How the place stands by the log as it is, and the decision as it would be: the lines of `stella explain`. */
async function linesOf(pass: Pass, state: LogState, { subject, made, due, promotion }: Judged): Promise<PromotionPlan['lines']> {
  const { environment, application } = subject;
  const { lookup } = pass.batch;
  await holdArtifacts(pass, situationArtifacts(state, environment, application));
  await holdArtifacts(pass, replacedArtifacts(state, environment, application, lookup));
  const lines = explainSubject({ state, environment, application, artifact: lookup, decided: made, isSatisfied: due === 'nothing' && promotion !== null });
  return made === null ? lines : beforeMerge(lines, made.input, pass.candidate?.commit ?? null);
}

/** What is deployed, to the last variable, and where. */
async function whatRuns(pass: Pass, app: AppState): Promise<Pick<Side, 'runs' | 'targets'>> {
  await holdArtifacts(pass, [app.runs, app.plan].filter((digest) => digest !== null));
  const read = <T>(digest: Digest | null): T | null => {
    const bytes = digest === null ? undefined : pass.batch.lookup(digest);
    return bytes === undefined ? null : ((parseCanonicalJson(bytes) as T | undefined) ?? null);
  };
  const reached = (app.standing?.targets ?? []).filter(({ succeeded }) => succeeded).map(({ target }) => target);
  return { runs: read<Runs>(app.runs), targets: reached.length > 0 ? reached : (read<Plan>(app.plan)?.targets ?? []).map((target) => target.name) };
}

function tagsIn(desired: DesiredState, application: string, release: string | null): Side['tagOf'] {
  const entry = release === null ? undefined : desired.usable.Release.get(documentKey('Release', `${application}/${release}`));
  const components = (entry?.document as unknown as DocumentOf<'Release'> | undefined)?.spec.components ?? {};
  return (name) => (Object.hasOwn(components, name) ? (components[name]?.tag ?? null) : null);
}

function effectOf({ due, promotion, extension, made, planned }: Judged, app: AppState, plan: Plan | null): PromotionEffect {
  if (promotion === null) return isWaiting(app) ? 'withdraw' : 'nothing';
  if (due === 'nothing') return 'nothing';
  if (extension !== null) return 'extend';
  if (made?.input.operation === 'remove') return made.input.problems.length > 0 ? 'unplannable' : 'remove';
  if (plan === null || planned?.lock == null || made === null) return 'unplannable';
  if (goesBack(made.input.state.previous, made.input)) return 'rollback';
  return preimageDigest(planned.lock) === app.lock ? 'redeploy' : 'deploy';
}

function isWaiting({ lastDecision: last }: AppState): boolean {
  return last !== null && !last.ended && last.outcome !== 'allow' && last.operation !== 'extend';
}

async function notesOn(pass: Pass, { promotion, planned, subject, derivation, made }: Judged, app: AppState, found: { readonly effect: PromotionEffect; readonly difference: RunsDifference }): Promise<readonly string[]> {
  const byItself = [...(made === null || made.input.derived === null ? [] : [`nobody promotes here: ${derivedFrom(made.input.derived)}`]), ...(derivation === null ? [] : explainDerivation(derivation))];
  if (promotion === null && derivation !== null) return byItself;
  if (promotion === null) {
    const runs = app.release === null ? 'nothing runs here' : `${app.release} keeps running`;
    return [`the Promotion is deleted: ${runs}${found.effect === 'withdraw' ? `, and the request for ${app.lastDecision?.release ?? 'its removal'} is withdrawn` : ''}`];
  }
  if (found.effect === 'nothing' || found.effect === 'remove') return byItself;
  const from = app.release === null ? undefined : pass.batch.state.locks.get(`${subject.application}/${app.release}`);
  const lineage = planned?.lock == null ? [] : await lineageNotes(pass.reader, from?.digest === app.lock ? (from?.lock ?? null) : null, planned.lock);
  return [...byItself, ...lineage, ...downgradeNotes(found.difference.components), ...runNotes(app)];
}

function runNotes({ openRun }: AppState): readonly string[] {
  return openRun === null ? [] : [`a run of ${openRun.release ?? 'a removal'} is open here, so what runs may be another release until it ends`];
}

async function withDiffs(pass: Pass, { files }: RunsDifference, judged: Judged): Promise<readonly FileChange[]> {
  const own = new Map<Digest, Uint8Array>((judged.planned?.plan?.ok === true ? judged.planned.plan.artifacts : []).map(({ digest, bytes }) => [digest, bytes]));
  for (const { digest, bytes } of judged.planned?.files ?? []) own.set(digest, bytes);
  const shown = new Set(files.filter(({ change, from, to }) => change !== 'unchanged' && from !== to).slice(0, limits.diffFiles));
  const wanted = [...shown].flatMap(({ from, to }) => [from, to]).filter((digest) => digest !== null && !own.has(digest));
  await holdArtifacts(pass, wanted as Digest[]);
  const bytesOf = (digest: Digest | null): Uint8Array | null | undefined => (digest === null ? null : (own.get(digest) ?? pass.batch.lookup(digest)));
  return files.map((file) => {
    const [from, to] = shown.has(file) ? [bytesOf(file.from), bytesOf(file.to)] : [undefined, undefined];
    return { ...file, diff: from === undefined || to === undefined ? null : bytesDiff(from, to) };
  });
}

/** When the last of the gates that hold it opens by itself; null where one of them waits for somebody. */
function couldPassAt(decision: Decision | null): string | null {
  const held = (decision?.gates ?? []).filter(({ outcome }) => outcome !== 'passed');
  if (held.length === 0 || held.some(({ opensAt }) => opensAt === null)) return null;
  const times = held.flatMap(({ opensAt }) => (opensAt === null ? [] : [opensAt]));
  return times.reduce((latest, at) => ((parseInstant(at) ?? 0) > (parseInstant(latest) ?? 0) ? at : latest));
}
