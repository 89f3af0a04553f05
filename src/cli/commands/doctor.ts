import { keyFault, keyRingIn } from '../../core/trust/key-ring.ts';
import { EVIDENCE_OPTIONS, KEY_OPTION, type CloneParts, type Evidence, type PersonalKey, type Repository } from '../clone.ts';
import { CliError, OUTPUT_OPTION, textOption, type Command, type CommandContext, type ExitCode } from '../command.ts';
import { plain } from '../../core/model/plain-text.ts';
import { type Check, fail, ok, warn } from '../doctor-check.ts';
import { askForge } from '../forge-setting.ts';
import { protectionChecks } from '../protection-checks.ts';
import { type Paint } from '../terminal.ts';

export const command: Command<CloneParts> = {
  name: 'doctor',
  summary: 'Check that this clone and this machine are set up',
  usage: ['stella doctor'],
  help: `
Looks at git, ssh-keygen, your signing key, the genesis pin, the evidence branch and the history of this clone, and
says for each what is wrong and what to do. Changes nothing.

Where the clone names its forge (git config stella.forge github:acme/deploy, and a token in STELLA_FORGE_TOKEN), it
also looks at what protects the target branch and the evidence branch there. What the forge does not tell is said as
that.

Example:
  stella doctor

Exit codes: 0 nothing fails (warnings may be), 1 something fails, 2 it could not be checked.`,
  options: { ...KEY_OPTION, ...EVIDENCE_OPTIONS, ...OUTPUT_OPTION },
  run,
};

async function run(context: CommandContext, parts: () => Promise<CloneParts>): Promise<ExitCode> {
  const clone = await parts();
  const checks: Check[] = [];
  const repository = await attempt('repository', checks, () => clone.openRepository(context), (r) => ok('repository', r.folder));
  try {
    if (repository !== null) await lookAt(context, clone, repository, checks);
    checks.push((await clone.hasSshKeygen(context)) ? ok('ssh-keygen', 'can sign') : fail('ssh-keygen', 'is missing or cannot sign', 'Install OpenSSH 8.9 or newer.'));
  } finally {
    await repository?.close();
  }
  const { terminal } = context;
  const colour: Readonly<Record<Check['result'], Paint>> = { ok: 'green', warn: 'yellow', fail: 'red' };
  const failed = checks.some((c) => c.result === 'fail');
  await terminal.result({ ok: !failed, checks }, () =>
    checks.map((c) => `${terminal.paint(colour[c.result], c.result.padEnd(4))}  ${c.name}: ${plain(c.text)}${c.remedy === null ? '' : `\n      ${plain(c.remedy)}`}`).join('\n'),
  );
  return failed ? 1 : 0;
}

async function lookAt(context: CommandContext, clone: CloneParts, repository: Repository, checks: Check[]): Promise<void> {
  checks.push(await gitVersion(repository));
  const faults = await repository.reader.findHistoryFaults();
  checks.push(...(faults.length === 0 ? [ok('history', 'complete; no replace refs, grafts or shallow boundary')] : faults.map((f) => fail('history', f.code, f.remedy))));
  const pin = await attempt('pin', checks, () => clone.pinOf(context, repository), (p) => ok('pin', p));
  const evidence = pin === null ? null : await evidenceOf(context, clone, repository, pin, checks);
  const key = await attempt('signing key', checks, () => clone.personalKey(context, repository), (k) => ok('signing key', `${k.fingerprint} (${k.gitConfig.map(([, value]) => value).join(' ')})`), 'warn');
  if (key !== null && evidence !== null) checks.push(holderOf(evidence, key, context.now()));
  await lookAtForge(context, clone, repository, evidence, checks);
  const signs = await repository.git.tryRun(['config', '--get', 'commit.gpgSign']);
  checks.push(signs === 'true' ? ok('commit signing', 'every commit is signed') : warn('commit signing', 'commits are not signed by default', 'git config commit.gpgSign true, so that your edits tell who asked.'));
}

async function lookAtForge(context: CommandContext, clone: CloneParts, repository: Repository, evidence: Evidence | null, checks: Check[]): Promise<void> {
  const forge = await attempt('forge', checks, () => clone.openForge(context, repository), () => null);
  if (forge === null) return;
  const account = await attempt('forge', checks, () => askForge(forge.whoAmI()), (name) => ok('forge', `${forge.type}, as ${name}`));
  if (account === null) return;
  // A log that lies elsewhere is protected elsewhere.
  const isHere = textOption(context.values, 'evidence') === undefined;
  const branches = { target: evidence?.state.tip?.ref ?? null, evidence: isHere ? `refs/heads/${textOption(context.values, 'evidence-branch') ?? 'stella/evidence'}` : null };
  const found = await attempt('protection', checks, () => protectionChecks(forge, branches), () => null);
  checks.push(...(found ?? []));
}

/** Runs one step; its failure is a check and not the end. */
async function attempt<T>(name: string, checks: Check[], step: () => Promise<T>, good: (value: T) => Check | null, severity: 'warn' | 'fail' = 'fail'): Promise<T | null> {
  try {
    const value = await step();
    const check = good(value);
    if (check !== null) checks.push(check);
    return value;
  } catch (error) {
    if (!(error instanceof Error)) throw error;
    checks.push({ name, result: severity, text: error.message, remedy: error instanceof CliError ? error.remedy : null });
    return null;
  }
}

async function gitVersion(repository: Repository): Promise<Check> {
  const text = (await repository.git.tryRun(['--version'])) ?? '';
  const [, major = '0', minor = '0'] = /(\d+)\.(\d+)/.exec(text) ?? [];
  const isNewEnough = Number(major) > 2 || (Number(major) === 2 && Number(minor) >= 39);
  return isNewEnough ? ok('git', text) : fail('git', text === '' ? 'could not be started' : text, 'Install git 2.39 or newer.');
}

async function evidenceOf(context: CommandContext, clone: CloneParts, repository: Repository, pin: Awaited<ReturnType<CloneParts['pinOf']>>, checks: Check[]): Promise<Evidence | null> {
  const opened = await clone.openEvidence(context, repository, pin);
  if (!opened.ok) {
    checks.push(opened.code === 'LogMissing' ? warn('evidence', opened.message, null) : fail('evidence', `${opened.code}: ${opened.message}`, 'Run `stella verify`, and compare with another clone.'));
    return null;
  }
  const { counts, state, ref } = opened.evidence;
  checks.push(ok('evidence', `${counts.records} records on ${ref}, the last of ${state.asOf ?? 'never'}`));
  return opened.evidence;
}

function holderOf(evidence: Evidence, key: PersonalKey, now: Date): Check {
  const holder = keyRingIn(evidence.state, evidence.openPgp).get(key.fingerprint);
  if (holder === undefined) return warn('principal', 'your key belongs to no principal in force', 'Approvals and requests signed with it do not count. Sign with the right key, or have yours put in force.');
  const fault = keyFault(holder, now.getTime());
  const { name } = holder.principal.metadata;
  return fault === null ? ok('principal', name) : fail('principal', `${name}: this key may not sign now (${fault})`, 'Use an active key.');
}
