import type { Digest } from '../../core/model/digest.ts';
import { replayDecision, type ReplayResult } from '../../core/evidence/replay.ts';
import type { EvidenceRecord } from '../../core/evidence/records.ts';
import type { RecordStep } from '../../reconciler/read-evidence.ts';
import { EVIDENCE_OPTIONS, type CloneParts } from '../clone.ts';
import { CliError, OUTPUT_OPTION, usageError, type Command, type CommandContext, type ExitCode } from '../command.ts';
import { plain } from '../../core/model/plain-text.ts';
import { requireEvidence } from '../require-evidence.ts';

export const command: Command<CloneParts> = {
  name: 'replay',
  summary: 'Take recorded decisions again and compare',
  usage: ['stella replay [--all]', 'stella replay <record>'],
  help: `
Rebuilds the input of each recorded decision from the log before it and the artifacts that it names, decides again,
and compares input, decision and everything else that the record says byte by byte. Changes of protected documents, accepted rewrites and reviews are judged
again from the raw approvals: a log in which one was not entitled is refused. Offline, as \`stella verify\`.

Example:
  stella replay
  stella replay 42

Exit codes: 0 all identical, 1 a decision differs (the difference is shown), 2 it could not be checked.`,
  options: {
    all: { type: 'boolean', description: 'Every decision of the log (the default)' },
    repo: { type: 'string', value: 'PATH', description: 'Repository to look at (default: this one)' }, ...EVIDENCE_OPTIONS, ...OUTPUT_OPTION,
  },
  run,
};

/** Records that the fold itself judges again from raw approvals, so that reading past one is judging it (T14, T15, T25, T27). */
const JUDGED: ReadonlySet<EvidenceRecord['type']> = new Set(['protected-change', 'anchor', 'review']);

type Replayed = { readonly seq: number; readonly environment: string; readonly application: string; readonly outcome: string; readonly result: ReplayResult };

async function run(context: CommandContext, parts: () => Promise<CloneParts>): Promise<ExitCode> {
  const wanted = recordWanted(context);
  const clone = await parts();
  const repository = await clone.openRepository(context);
  try {
    const replayed: Replayed[] = [];
    let judged = 0;
    const visit = ({ before, record }: RecordStep, artifact: (d: Digest) => Uint8Array | undefined): void => {
      if (wanted !== null && record.header.seq !== wanted) return;
      if (JUDGED.has(record.type)) judged += 1;
      if (record.type !== 'promotion-decision') return;
      const { environment, application, decision } = record.predicate;
      replayed.push({ seq: record.header.seq, environment, application, outcome: decision.outcome, result: replayDecision(before, record.header, record.predicate, { artifact, openPgp: repository.openPgp }) });
    };
    await requireEvidence(context, clone, repository, visit);
    if (wanted !== null && replayed.length + judged === 0) throw new CliError('NotADecision', `Record ${wanted} is no decision of this log.`, 'See `stella status -o json` for the numbers of decisions.');
    const differing = replayed.filter((r) => !r.result.ok);
    await context.terminal.result({ ok: differing.length === 0, decisions: replayed.length, identical: replayed.length - differing.length, judged, differing }, () => {
      const lines = differing.flatMap(differenceLines);
      const summary = `${replayed.length - differing.length} of ${replayed.length} identical`;
      return [...lines, summary, `${judged} protected changes, rewrites and reviews judged again`].join('\n');
    });
    return differing.length === 0 ? 0 : 1;
  } finally {
    await repository.close();
  }
}

function recordWanted(context: CommandContext): number | null {
  const [first, ...rest] = context.positionals;
  if (first === undefined) return null;
  if (rest.length > 0 || !/^\d{1,9}$/.test(first)) throw usageError('Name one record by its number.', command);
  return Number(first);
}

function differenceLines({ seq, environment, application, result }: Replayed): readonly string[] {
  if (result.ok) return [];
  const head = `record ${seq} ${environment}/${application}: ${result.code}: ${result.message}`;
  if (result.recorded === undefined || result.replayed === undefined) return [plain(head)];
  const at = firstDifference(result.recorded, result.replayed);
  const around = (text: string): string => plain(text.slice(Math.max(0, at - 60), at + 60));
  return [plain(head), `  recorded: …${around(result.recorded)}…`, `  replayed: …${around(result.replayed)}…`];
}

function firstDifference(a: string, b: string): number {
  let at = 0;
  while (at < a.length && a[at] === b[at]) at += 1;
  return at;
}
