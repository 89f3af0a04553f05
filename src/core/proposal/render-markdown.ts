import type { ExplainLine } from '../decision/explain.ts';
import type { Finding } from './finding.ts';
import { fitBlocks, type Block, type Form } from './fit-blocks.ts';
import { code, fenced, fold, prose, table } from './markdown.ts';
import type { Change, FileChange, PromotionPlan, ProposalPlan, ProtectedPlan } from './plan-model.ts';
import { inOrder } from './plan-order.ts';
import { planStatus } from './plan-status.ts';
import { basisWords, nextCommands, protectedWords, releaseWords, verdictWords, versionWords } from './plan-words.ts';

export type MarkdownOptions = {
  /** UTF-16 code units that the result has at most. */
  readonly maxChars: number;
  /** none: for a forge that shows no HTML. */
  readonly folds?: 'details' | 'none';
};
type Folds = 'details' | 'none';

/** When a form is taken: what is easily seen elsewhere goes first, who must do what goes last. */
const RANK = { same: 10, diff: 20, lists: 30, notes: 40, gates: 50, changes: 60, findings: 70, rows: 80, commands: 90 } as const;
const FEW = 10;
const SOME = 50;

/**
 * A plan for a comment. Nothing that stands in documents, commits or paths can leave its place, become a link or an image, or call anybody. What does
 * not fit is shortened from the least important on, and a note says so; no construct is cut.
 */
export function renderMarkdown(given: ProposalPlan, { maxChars, folds = 'details' }: MarkdownOptions): string {
  const plan = inOrder(given);
  const heading = `### Plan: ${prose(planStatus(plan).description)}`;
  const blocks: readonly Block[] = [
    { part: 'heading', forms: [{ text: heading, rank: 0 }, { text: `### Plan: ${plan.outcome}`, rank: 1_000 }] },
    ...overview(plan), ...commands(plan), ...findings(plan.findings, folds), ...plan.protectedChanges.flatMap((one) => protectedBlocks(one, folds)), ...plan.promotions.flatMap((one) => promotionBlocks(one, folds)),
    ...releases(plan, folds), { part: 'footer', forms: [{ text: prose(basisWords(plan)), rank: 0 }, { text: '', rank: 999 }] },
  ];
  const fitted = fitBlocks(blocks, maxChars, (shortened) => leftOut(shortened, plan));
  const least = `### Plan: ${plan.outcome}`;
  // Words without any construct may be cut anywhere.
  return fitted ?? (least.length <= maxChars ? least : `Plan: ${plan.outcome}`.slice(0, Math.max(0, maxChars)));
}

function leftOut(shortened: ReadonlyMap<string, number>, { candidate }: ProposalPlan): string {
  const parts = [...shortened].filter(([part]) => part !== 'heading' && part !== 'footer').map(([part, count]) => `${part} (${count})`);
  return parts.length === 0 ? '' : `Shortened to fit: ${parts.join(', ')}. All of it: ${code(`stella plan ${candidate.slice(0, 12)}`)}`;
}

function block(part: string, ...forms: readonly (Form | null)[]): readonly Block[] {
  const kept = forms.filter((form) => form !== null);
  return kept[0] === undefined || kept[0].text === '' ? [] : [{ part, forms: kept }];
}

const gone = (rank: number): Form => ({ text: '', rank });

/** Rows as a table, with fewer of them where there are many. */
function rowsBlock(part: string, head: readonly string[], rows: readonly (readonly string[])[], rank: number): readonly Block[] {
  if (rows.length === 0) return [];
  const first = (count: number): string => table(head, [...rows.slice(0, count), [`… and ${rows.length - count} more`, ...head.slice(1).map(() => '')]]);
  return block(part, { text: table(head, rows), rank: 0 }, rows.length > SOME ? { text: first(SOME), rank } : null, rows.length > FEW ? { text: first(FEW), rank: rank + 1 } : null, gone(rank + 2));
}

function overview({ promotions }: ProposalPlan): readonly Block[] {
  return rowsBlock('places', ['Where', 'Release', 'After the merge'], promotions.map((one) => [code(`${one.environment}/${one.application}`), prose(releaseWords(one)), prose(verdictWords(one))]), RANK.rows);
}

function commands(plan: ProposalPlan): readonly Block[] {
  const next = nextCommands(plan);
  const text = (count: number): string => {
    const shown = next.slice(0, count).map(({ command, who }) => `- ${who.length === 0 ? 'Somebody' : who.slice(0, FEW).map(code).join(', ')}${who.length > FEW ? ` or ${who.length - FEW} more` : ''}:\n\n${indented(fenced(command, 'sh'))}`);
    return [`**Who must act**`, ...shown, ...(next.length > count ? [`… and ${next.length - count} more`] : [])].join('\n\n');
  };
  return next.length === 0 ? [] : block('commands', { text: text(SOME), rank: 0 }, next.length > FEW ? { text: text(FEW), rank: RANK.commands } : null, gone(RANK.commands + 1));
}

function indented(text: string): string {
  return text.split('\n').map((line) => `  ${line}`).join('\n');
}

function findings(all: readonly Finding[], folds: Folds): readonly Block[] {
  const [notes, grave] = [all.filter(({ severity }) => severity === 'note'), all.filter(({ severity }) => severity !== 'note')];
  const list = (some: readonly Finding[], count: number): string => [...some.slice(0, count).map(findingItem), ...(some.length > count ? [`- … and ${some.length - count} more`] : [])].join('\n');
  return [
    ...(grave.length === 0 ? [] : block('findings', { text: `**Findings**\n\n${list(grave, SOME)}`, rank: 0 }, { text: `**Findings**\n\n${list(grave, FEW)}`, rank: RANK.findings }, { text: `**Findings**: ${grave.length}`, rank: RANK.findings + 1 }, gone(RANK.findings + 2))),
    ...(notes.length === 0 ? [] : block('notes', { text: fold(`${notes.length} ${notes.length === 1 ? 'note' : 'notes'}`, list(notes, SOME), folds), rank: 0 }, gone(RANK.notes))),
  ];
}

function findingItem({ severity, code: name, file, line, commit, subject, message, remedy, command }: Finding): string {
  const place = file !== null ? `${file}${line === null ? '' : `:${line}`}` : commit !== null ? commit.slice(0, 12) : (subject ?? 'repository');
  return `- ${severity} ${code(name)} at ${code(place)}: ${prose(message)}${remedy === null ? '' : ` – ${prose(remedy)}`}${command === null ? '' : ` ${code(command)}`}`;
}

function protectedBlocks(one: ProtectedPlan, folds: Folds): readonly Block[] {
  const voices = [`Quorum: ${prose(one.quorum)}. Approved by ${names(one.approvedBy, 'nobody yet')}.`, ...(one.isMet ? [] : [` Could approve: ${names(one.couldApprove, 'nobody')}.`])].join('');
  const why = one.why === null || one.isMet ? '' : `\n\nWhy not: ${prose(one.why)}`;
  const title = `#### ${code(`${one.kind}/${one.name}`)} ${prose(protectedWords(one))}`;
  return [
    ...block('protected changes', { text: `${title}\n\n${voices}${why}`, rank: 0 }, { text: title, rank: RANK.changes }, gone(RANK.changes + 1)),
    ...(one.diff === null || one.diff === '' ? [] : block('differences', { text: fold(`In force → new: ${one.kind}/${one.name}`, fenced(one.diff, 'diff'), folds), rank: 0 }, gone(RANK.diff + 1))),
  ];
}

function names(list: readonly string[], nobody: string): string {
  return list.length === 0 ? nobody : `${list.slice(0, SOME).map(code).join(', ')}${list.length > SOME ? ` and ${list.length - SOME} more` : ''}`;
}

function promotionBlocks(one: PromotionPlan, folds: Folds): readonly Block[] {
  const place = `${one.environment}/${one.application}`;
  const facts = [
    ...situations(one.lines), ...one.notes.map((note) => `- Note: ${prose(note)}`), ...targetFacts(one), ...(one.strategy === null ? [] : [`- Strategy: ${prose(one.strategy)}`]),
    ...(one.promotionDigest === null ? [] : [`- Promotion digest: ${code(one.promotionDigest)}`]), ...(one.couldPassAt === null ? [] : [`- Could pass at ${prose(one.couldPassAt)} without anybody`]),
  ].join('\n');
  const title = `#### ${code(place)}: ${prose(releaseWords(one))}, ${prose(verdictWords(one))}`;
  // What stays as it is needs no more than its row.
  if (one.effect === 'nothing') return facts === '' ? [] : block('places', { text: fold(`${place}: ${releaseWords(one)}`, facts, folds), rank: 0 }, gone(RANK.same));
  return [
    ...block('places', { text: title, rank: 0 }, gone(RANK.gates + 2)), ...gates(one.lines, folds),
    ...rowsBlock('components', ['Component', 'Now', 'New'], one.components.filter(({ change }) => change !== 'unchanged').map(({ name, from, to }) => [code(name), code(versionWords(from, true)), code(versionWords(to, true))]), RANK.lists + 5),
    ...rowsBlock('settings', ['Setting', 'Now', 'New'], [...settings('', one.variables), ...settings('secret ', one.secrets)], RANK.lists),
    ...block('facts', facts === '' ? null : { text: facts, rank: 0 }, gone(RANK.gates)), ...fileBlocks(one.files, folds), ...unchanged(one, folds),
  ];
}

function targetFacts({ targets: { all, added, removed } }: PromotionPlan): readonly string[] {
  if (all.length === 0 && removed.length === 0) return [];
  return [`- Targets: ${names(all, 'none')}${added.length === 0 ? '' : `; new: ${names(added, '')}`}${removed.length === 0 ? '' : `; gone: ${names(removed, '')}`}`];
}

function settings(kind: string, list: readonly ({ readonly name: string } & Change<string>)[]): readonly (readonly string[])[] {
  const shown = (value: string | null): string => (value === null ? 'none' : value === '' ? 'empty' : code(value.length > 200 ? `${value.slice(0, 200)}…` : value));
  return list.map(({ name, from, to }) => [`${kind}${code(name)}`, shown(from), shown(to)]);
}

/** How the place stands now: what runs and why, what became of runs and requests. */
function situations(lines: readonly ExplainLine[]): readonly string[] {
  return lines.filter(({ about }) => about === 'situation').map(({ text, remedy, command }) => `- ${[prose(text), remedy === null ? '' : prose(remedy), command === null ? '' : code(command)].filter((part) => part !== '').join(' ')}`);
}

function gates(lines: readonly ExplainLine[], folds: Folds): readonly Block[] {
  const row = ({ gate, subject, outcome, text, remedy, who, command, opensAt }: ExplainLine): readonly string[] => [
    prose(`${gate ?? ''} ${subject}`.trim()), prose(outcome ?? ''), [prose(text), remedy === null ? '' : prose(remedy), opensAt === null ? '' : `Passes at ${prose(opensAt)}.`].filter((part) => part !== '').join(' '),
    [who.length === 0 ? '' : names(who, ''), command === null ? '' : code(command)].filter((part) => part !== '').join(' '),
  ];
  const head = ['Gate', 'Result', 'Why', 'Who could, and how'];
  const [held, passed] = [lines.filter(({ about, outcome }) => about === 'gate' && outcome !== 'passed'), lines.filter(({ about, outcome }) => about === 'gate' && outcome === 'passed')];
  const said = lines.filter(({ about }) => about === 'rejected-approval' || about === 'next').map(({ text, remedy }) => `- ${prose(text)}${remedy === null ? '' : ` ${prose(remedy)}`}`);
  return [
    ...rowsBlock('gates', head, held.map(row), RANK.gates), ...(passed.length === 0 ? [] : block('passed gates', { text: fold(`${passed.length} ${passed.length === 1 ? 'gate' : 'gates'} passed`, table(head, passed.map(row)), folds), rank: 0 }, gone(RANK.same + 2))),
    ...(said.length === 0 ? [] : block('approvals that do not count', { text: said.slice(0, SOME).join('\n'), rank: 0 }, gone(RANK.notes + 1))),
  ];
}

function fileBlocks(files: readonly FileChange[], folds: Folds): readonly Block[] {
  return files.filter(({ change }) => change !== 'unchanged').flatMap(({ path, change, diff, from, to }) => {
    const line = `- File ${code(path)} ${change}${change === 'changed' && from === to ? ' in its mode' : ''}`;
    if (diff === null || diff === '') return block('files', { text: line, rank: 0 }, gone(RANK.lists + 3));
    return block('differences', { text: fold(`${path} ${change}`, fenced(diff, 'diff'), folds), rank: 0 }, { text: line, rank: RANK.diff }, gone(RANK.lists + 3));
  });
}

function unchanged({ files, components }: PromotionPlan, folds: Folds): readonly Block[] {
  const same = [...components.filter(({ change }) => change === 'unchanged').map(({ name, to }) => `- ${code(name)} ${code(versionWords(to, true))}`), ...files.filter(({ change }) => change === 'unchanged').map(({ path }) => `- ${code(path)}`)];
  if (same.length === 0) return [];
  return block('unchanged parts', { text: fold(`${same.length} unchanged`, [...same.slice(0, SOME), ...(same.length > SOME ? [`- … and ${same.length - SOME} more`] : [])].join('\n'), folds), rank: 0 }, gone(RANK.same + 1));
}

function releases({ releases: all }: ProposalPlan, folds: Folds): readonly Block[] {
  const rows = all.map(({ name, change, lock, components }) => `- ${code(name)} ${change}${change === 'removed' ? '' : lock === null ? ', not locked' : `, locked as ${code(lock)}`}${components.map((one) => `\n  - ${code(one.name)} ${code(versionWords(one, true))}`).join('')}`);
  const list = (count: number): string => fold(`${all.length} ${all.length === 1 ? 'release' : 'releases'}`, [...rows.slice(0, count), ...(rows.length > count ? [`- … and ${rows.length - count} more`] : [])].join('\n'), folds);
  return rows.length === 0 ? [] : block('releases', { text: list(SOME), rank: 0 }, { text: list(FEW), rank: RANK.lists + 2 }, gone(RANK.lists + 4));
}
