import { renderExplanation } from '../decision/explain.ts';
import { plain } from '../model/plain-text.ts';
import { findingText } from './finding.ts';
import type { Change, PromotionPlan, ProposalPlan, ProtectedPlan, ReleasePlan } from './plan-model.ts';
import { inOrder } from './plan-order.ts';
import { planStatus } from './plan-status.ts';
import { basisWords, protectedWords, releaseWords, verdictWords, versionWords } from './plan-words.ts';

/** A plan for a terminal: everything that it says, two columns of indentation, no colours. */
export function renderText(given: ProposalPlan): string {
  const plan = inOrder(given);
  const parts = [
    headline(plan), ...plan.promotions.map(promotionText), ...plan.protectedChanges.map(protectedText), ...(plan.releases.length === 0 ? [] : [['Releases:', ...plan.releases.flatMap(releaseText)].join('\n')]),
    ...(plan.findings.length === 0 ? [] : [['Findings:', ...plan.findings.map(findingText)].join('\n')]), plain(basisWords(plan)),
  ];
  return parts.join('\n\n');
}

function headline(plan: ProposalPlan): string {
  return `Plan: ${plain(planStatus(plan).description)}`;
}

function promotionText(one: PromotionPlan): string {
  const { components, files, variables, secrets, targets } = one;
  const rows = [
    `${one.environment}/${one.application}: ${releaseWords(one)} (${one.effect}): ${verdictWords(one)}`,
    ...one.notes.map((note) => `  note: ${note}`),
    ...components.filter(({ change }) => change !== 'unchanged').map(({ name, from, to }) => `  component ${name}: ${versionWords(from, false)} → ${versionWords(to, false)}`),
    ...settingRows('variable', variables), ...settingRows('secret', secrets),
    ...targetRows(one), ...(one.strategy === null || targets.all.length === 0 ? [] : [`  strategy: ${one.strategy}`]),
    ...(one.promotionDigest === null ? [] : [`  promotion digest: ${one.promotionDigest}`]),
    ...(one.couldPassAt === null ? [] : [`  could pass at: ${one.couldPassAt}`]),
  ].map(plain);
  const changed = files.filter(({ change }) => change !== 'unchanged').flatMap(({ path, change, diff }) => [plain(`  file ${path} ${change}`), ...diffRows(diff)]);
  return [...rows, ...changed, ...(one.lines.length === 0 ? [] : [renderExplanation(one.lines)])].join('\n');
}

function settingRows(kind: string, list: readonly ({ readonly name: string } & Change<string>)[]): readonly string[] {
  return list.map(({ name, from, to }) => `  ${kind} ${name}: ${from ?? 'none'} → ${to ?? 'none'}`);
}

function targetRows({ targets: { all, added, removed } }: PromotionPlan): readonly string[] {
  if (all.length === 0 && removed.length === 0) return [];
  const moves = [...added.map((name) => `+${name}`), ...removed.map((name) => `-${name}`)];
  return [`  targets: ${all.join(', ') || 'none'}${moves.length === 0 ? '' : ` (${moves.join(', ')})`}`];
}

function protectedText(one: ProtectedPlan): string {
  const rows = [
    `${one.kind}/${one.name} ${protectedWords(one)}`, ...(one.why === null || one.isMet ? [] : [`  why not: ${one.why}`]), `  quorum: ${one.quorum}`, `  approved by: ${one.approvedBy.join(', ') || 'nobody yet'}`,
    ...(one.isMet ? [] : [`  who could: ${one.couldApprove.join(', ') || 'nobody'}`, ...(one.command === null ? [] : [`  command: ${one.command}`])]),
  ].map(plain);
  return [...rows, ...diffRows(one.diff)].join('\n');
}

function releaseText({ name, change, lock, components }: ReleasePlan): readonly string[] {
  const rows = [`  ${name} ${change}${change === 'removed' ? '' : lock === null ? ', not locked' : `, locked as ${lock}`}`, ...components.map((component) => `    ${component.name}: ${versionWords(component, false)}`)];
  return rows.map(plain);
}

function diffRows(diff: string | null): readonly string[] {
  return diff === null || diff === '' ? [] : diff.split('\n').map((line) => `    ${line.split('\t').map(plain).join('\t')}`);
}
