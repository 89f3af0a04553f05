import type { Digest } from '../../core/model/digest.ts';
import { replayDecision, type ReplayResult } from '../../core/evidence/replay.ts';
import type { RecordStep } from '../../reconciler/read-evidence.ts';
import { EVIDENCE_OPTIONS, type CloneParts } from '../clone.ts';
import { CliError, OUTPUT_OPTION, usageError, type Command, type CommandContext, type ExitCode } from '../command.ts';
import { plain } from '../terminal.ts';
import { requireEvidence } from '../require-evidence.ts';

export const command: Command<CloneParts> = {
  name: 'replay',
  summary: 'Take recorded decisions again and compare',
  usage: ['stella replay [--all]', 'stella replay <record>'],
  help: `
Rebuilds the input of each recorded decision from the log before it and the artifacts that it names, decides again,
and compares input and decision byte by byte. The evidence is verified first. Offline, as \`stella verify\`.

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

type Replayed = { readonly seq: number; readonly environment: string; readonly application: string; readonly outcome: string; readonly result: ReplayResult };

async function run(context: CommandContext, parts: () => Promise<CloneParts>): Promise<ExitCode> {
  const wanted = recordWanted(context);
  const clone = await parts();
  const repository = await clone.openRepository(context);
  try {
    const replayed: Replayed[] = [];
    const visit = ({ before, record }: RecordStep, artifact: (d: Digest) => Uint8Array | undefined): void => {
      if (record.type !== 'promotion-decision' || (wanted !== null && record.header.seq !== wanted)) return;
      const { environment, application, decision } = record.predicate;
      replayed.push({ seq: record.header.seq, environment, application, outcome: decision.outcome, result: replayDecision(before, record.header, record.predicate, { artifact, openPgp: repository.openPgp }) });
    };
    await requireEvidence(context, clone, repository, visit);
    if (wanted !== null && replayed.length === 0) throw new CliError('NotADecision', `Record ${wanted} is no decision of this log.`, 'See `stella status -o json` for the numbers of decisions.');
    const differing = replayed.filter((r) => !r.result.ok);
    await context.terminal.result({ ok: differing.length === 0, decisions: replayed.length, identical: replayed.length - differing.length, differing }, () => {
      const lines = differing.flatMap(differenceLines);
      return [...lines, `${replayed.length - differing.length} of ${replayed.length} identical`].join('\n');
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
