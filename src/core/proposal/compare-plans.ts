import { canonicalText, type Json } from '../model/canonical-json.ts';
import type { Digest } from '../model/digest.ts';
import { compareText } from '../model/names.ts';
import { compareVersions } from '../release/versions.ts';
import type { PromotionPlan, ProposalPlan, ProtectedPlan } from './plan-model.ts';
import { findingText } from './finding.ts';
import { inOrder } from './plan-order.ts';
import { verdictWords } from './plan-words.ts';

/**
 * What moved between what was planned and what is planned or decided now, one sentence each, the same for the same two plans; empty where nothing did.
 * Time that went by, a log that grew and another tip are no difference by themselves: what they changed is.
 */
export function comparePlans(planned: ProposalPlan, found: ProposalPlan): readonly string[] {
  const [before, after] = [inOrder(planned), inOrder(found)];
  const places = paired(before.promotions, after.promotions, ({ environment, application }) => `${environment}/${application}`);
  const changes = paired(before.protectedChanges, after.protectedChanges, ({ kind, name }) => `${kind}/${name}`);
  return [
    ...(before.candidate === after.candidate ? [] : [`it is another commit: ${after.candidate.slice(0, 12)}, and was ${before.candidate.slice(0, 12)}`]),
    ...places.flatMap(([place, old, now]) => promotionMoves(place, old, now).map((line) => `${place}: ${line}`)),
    ...changes.flatMap(([name, old, now]) => protectedMoves(old, now).map((line) => `${name}: ${line}`)), ...findingMoves(before, after),
  ];
}

function paired<T>(before: readonly T[], after: readonly T[], nameOf: (one: T) => string): readonly (readonly [string, T | null, T | null])[] {
  const [old, now] = [before, after].map((list) => new Map(list.map((one) => [nameOf(one), one])));
  const names = new Set([...(old?.keys() ?? []), ...(now?.keys() ?? [])]);
  return [...names].sort(compareText).map((name) => [name, old?.get(name) ?? null, now?.get(name) ?? null]);
}

function promotionMoves(place: string, old: PromotionPlan | null, now: PromotionPlan | null): readonly string[] {
  if (now === null) return ['nothing is planned here any more'];
  if (old === null) return [`is planned now: ${now.release.to ?? 'nothing'}, ${verdictWords(now)}`];
  return [...whatRuns(old, now), ...whatWould(old, now), ...where(old, now), ...rules(old, now), ...digestMoves(place, old.promotionDigest, now.promotionDigest)];
}

function whatRuns(old: PromotionPlan, now: PromotionPlan): readonly string[] {
  if (old.release.from !== now.release.from) {
    const order = old.release.from === null || now.release.from === null ? null : compareVersions(now.release.from, old.release.from);
    return [`${now.release.from ?? 'nothing'} runs now${order === null || order === 0 ? '' : order > 0 ? ', which is newer' : ', which is older'}, and ${old.release.from ?? 'nothing'} did`];
  }
  return old.lock.from === now.lock.from ? [] : [`${now.release.from ?? 'nothing'} runs now from another lock`];
}

function whatWould(old: PromotionPlan, now: PromotionPlan): readonly string[] {
  const lines = old.release.to === now.release.to ? [] : [`would run ${now.release.to ?? 'nothing'}, and was planned as ${old.release.to ?? 'nothing'}`];
  for (const [name, was, is] of paired(old.components, now.components, ({ name: one }) => one)) {
    if (was?.to?.digest === is?.to?.digest) continue;
    lines.push(is?.to == null ? `component ${name} is not part of it any more` : was?.to == null ? `component ${name} is part of it now` : `${name}${is.to.tag === null ? '' : ` ${is.to.tag}`} now resolves to ${is.to.digest}, and was ${was.to.digest}`);
  }
  for (const [path, was, is] of paired(old.files, now.files, ({ path: one }) => one)) if ((was?.to ?? null) !== (is?.to ?? null)) lines.push(`file ${path} has another content than was planned`);
  for (const [kind, was, is] of [['variable', old.variables, now.variables], ['secret', old.secrets, now.secrets]] as const) {
    // One that is listed on one side alone has come to be what runs, or has ceased to: then what runs is another, and that is said.
    const isComparable = old.lock.from === now.lock.from;
    for (const [name, a, b] of paired(was, is, ({ name: one }) => one)) if ((a?.to ?? null) !== (b?.to ?? null) && (isComparable || (a !== null && b !== null))) lines.push(`${kind} ${name} differs from what was planned`);
  }
  return lines;
}

function where(old: PromotionPlan, now: PromotionPlan): readonly string[] {
  const [before, after] = [old.targets.all, now.targets.all];
  return [
    ...after.filter((name) => !before.includes(name)).map((name) => `target ${name} added`), ...before.filter((name) => !after.includes(name)).map((name) => `target ${name} removed`),
    ...(old.strategy === now.strategy ? [] : [`strategy is ${now.strategy ?? 'none'}, and was ${old.strategy ?? 'none'}`]),
  ];
}

/** Of each gate what it demands, and of the whole what is decided. */
function rules(old: PromotionPlan, now: PromotionPlan): readonly string[] {
  const demands = ({ decision }: PromotionPlan): readonly { readonly name: string; readonly need: string }[] => (decision?.gates ?? []).filter(({ gate }) => gate === 'approvals').map(({ subject, detail }) => ({ name: subject, need: String(detail['need'] ?? 0) }));
  const gatesOf = ({ decision }: PromotionPlan): readonly { readonly name: string; readonly outcome: string }[] => (decision?.gates ?? []).map(({ gate, subject, outcome }) => ({ name: `${gate}${subject === '' ? '' : ` ${subject}`}`, outcome }));
  const quorums = paired(demands(old), demands(now), ({ name }) => name).filter(([, was, is]) => was?.need !== is?.need);
  const lines = quorums.map(([name, was, is]) => `quorum${name === '' ? '' : ` of ${name}`} changed: ${is?.need ?? 'none'}, and was ${was?.need ?? 'none'}`);
  for (const [name, was, is] of paired(gatesOf(old), gatesOf(now), (one) => one.name)) if (was?.outcome !== is?.outcome) lines.push(`gate ${name} ${is === null ? 'is not asked any more' : `${is.outcome}${was === null ? ', and was not asked' : `, and was ${was.outcome}`}`}`);
  const [before, after] = [verdictWords(old), verdictWords(now)];
  return before === after ? lines : [...lines, `now ${after}; was: ${before}`];
}

/** Whether approvals of what was planned count for what is decided now. */
export function digestMoves(place: string, was: Digest | null, is: Digest | null): readonly string[] {
  if (was === is || is === null) return [];
  return [`the promotion digest is ${is}${was === null ? '' : `, and was ${was}: approvals of that do not count; stella approve ${place}`}`];
}

function protectedMoves(old: ProtectedPlan | null, now: ProtectedPlan | null): readonly string[] {
  if (now === null) return ['is no change any more'];
  if (old === null) return [`is a change now, and needs ${now.quorum}`];
  return [
    ...(old.quorum === now.quorum ? [] : [`quorum changed: ${now.quorum}, and was ${old.quorum}`]), ...(old.digest === now.digest ? [] : [`the change digest is ${now.digest ?? 'none'}, and was ${old.digest ?? 'none'}: approvals of that do not count`]),
    ...(canonicalText(old.approvedBy as unknown as Json) === canonicalText(now.approvedBy as unknown as Json) ? [] : [`approved by ${now.approvedBy.join(', ') || 'nobody'}, and was by ${old.approvedBy.join(', ') || 'nobody'}`]),
    ...(old.isMet === now.isMet ? [] : [now.isMet ? 'would come into force now' : 'would not come into force any more']),
  ];
}

/** What is refused now and was not, or was and is not. */
function findingMoves(before: ProposalPlan, after: ProposalPlan): readonly string[] {
  const refused = ({ findings }: ProposalPlan): readonly string[] => findings.filter(({ severity }) => severity === 'refused').map((one) => findingText({ ...one, remedy: null, command: null }));
  const [old, now] = [refused(before), refused(after)];
  return [...now.filter((one) => !old.includes(one)).map((one) => `new: ${one}`), ...old.filter((one) => !now.includes(one)).map((one) => `no more: ${one}`)];
}
