import { artifactOfPath } from '../../core/evidence/layout.ts';
import { PREDICATE_TYPES } from '../../core/evidence/records.ts';
import type { Digest } from '../../core/model/digest.ts';
import { TipCheck } from '../check-tips.ts';
import { RecordCheck } from '../check-records.ts';
import { EVIDENCE_OPTIONS, type CloneParts, type Evidence, type Repository } from '../clone.ts';
import { OUTPUT_OPTION, type Command, type CommandContext, type ExitCode } from '../command.ts';
import { plain } from '../../core/model/plain-text.ts';
import { columns } from '../terminal.ts';

export const command: Command<CloneParts> = {
  name: 'verify',
  summary: 'Check the whole evidence of a clone, offline',
  usage: ['stella verify [--repo PATH] [--genesis sha256:…]'],
  help: `
Checks the evidence branch from the pinned genesis root on, with nothing but this clone: no network, no database, no
clock, none of your git configuration. That every commit is signed by a key of the root, every record is signed,
chained and follows from the records before it, every protected change was entitled, every artifact has its digest,
every approval and receipt verifies from raw bytes, and the readable files are what the records say.

That each decision follows from its recorded input is what \`stella replay\` checks. A clone cannot tell what
came after it: compare the number of records with another clone.

Example:
  stella verify
  stella verify --repo /mnt/usb/shop.git --genesis sha256:…

Exit codes: 0 everything holds, 1 something is wrong (the first thing is named), 2 it could not be checked.`,
  options: { repo: { type: 'string', value: 'PATH', description: 'Repository to check (default: this one)' }, ...EVIDENCE_OPTIONS, ...OUTPUT_OPTION },
  run,
};

type Finding = { readonly code: string; readonly message: string; readonly seq: number | null };

async function run(context: CommandContext, parts: () => Promise<CloneParts>): Promise<ExitCode> {
  const clone = await parts();
  const repository = await clone.openRepository(context);
  try {
    const pin = await clone.pinOf(context, repository);
    const check = new RecordCheck();
    const tips = new TipCheck();
    const opened = await clone.openEvidence(context, repository, pin, (step, artifact) => {
      check.visit(step, artifact);
      tips.visit(step);
    });
    const { fault, checked } = opened.ok ? await tips.against(repository.reader) : { fault: null, checked: 0 };
    const finding: Finding | null = opened.ok ? (check.fault ?? strayArtifact(await pathsOf(opened.evidence), opened.evidence.artifact) ?? fault) : opened;
    await report(context, { pin, finding, check, tips: checked, evidence: opened.ok ? opened.evidence : null, repository });
    return finding === null ? 0 : 1;
  } finally {
    await repository.close();
  }
}

async function pathsOf({ reader, commit }: Evidence): Promise<readonly string[]> {
  const { entries } = await reader.readTree(commit, { under: 'artifacts' });
  return entries.map((e) => e.path);
}

/** T30: a file under the name of a digest has that digest, whether a record names it or not. */
function strayArtifact(paths: readonly string[], artifact: (digest: Digest) => Uint8Array | undefined): Finding | null {
  const damaged = paths.find((path) => {
    const digest = artifactOfPath(path);
    return digest !== null && artifact(digest) === undefined;
  });
  return damaged === undefined ? null : { code: 'ArtifactDamaged', message: `${damaged} does not have the digest in its name`, seq: null };
}

type Report = { readonly pin: Digest; readonly finding: Finding | null; readonly check: RecordCheck; readonly tips: number; readonly evidence: Evidence | null; readonly repository: Repository };

async function report({ terminal }: CommandContext, { pin, finding, check, tips, evidence, repository }: Report): Promise<void> {
  const { population } = check;
  const fault = finding === null ? null : { code: finding.code, message: finding.message, seq: finding.seq };
  const value = {
    ok: fault === null, logId: pin, repository: evidence?.repository ?? repository.folder, branch: evidence?.ref ?? null, commit: evidence?.commit ?? null,
    counts: evidence?.counts ?? null, population, tips, lastRecordAt: evidence?.state.asOf ?? null, head: evidence?.state.head ?? null, fault,
  };
  await terminal.result(value, () => {
    if (fault !== null) return `${terminal.paint('red', 'WRONG')}  ${fault.code}: ${plain(fault.message)}\n\nNothing after this point was looked at. Log ${pin}`;
    const rows = [
      ...PREDICATE_TYPES.map((type) => [`  ${type}`, String(population.byType[type] ?? 0)]),
      ['  tips in order', String(tips)], ['  approvals observed', String(population.approvals)], ['  receipts verified', String(population.receipts)], ['  artifacts', String(value.counts?.artifacts ?? 0)],
      ['  files for readers', String(value.counts?.projections ?? 0)], ['  signed commits', String(value.counts?.commits ?? 0)],
    ];
    return [
      `${terminal.paint('green', 'HOLDS')}  ${value.counts?.records ?? 0} records, the last of ${value.lastRecordAt ?? 'never'}`,
      `  log     ${pin}`, `  head    ${value.head ?? 'none'}`, `  branch  ${value.branch ?? ''} at ${value.commit ?? ''}`, '', columns(rows),
    ].join('\n');
  });
}
