import { randomBytes } from 'node:crypto';
import { access, chmod, lstat, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { directGitCommands } from '../../adapters/git/git-command.ts';
import type { GitSettings } from '../../adapters/git/git-folder.ts';
import { openGitReader } from '../../adapters/git/native-git-reader.ts';
import { objectIdOf } from '../../adapters/git/object-store.ts';
import { openOpenPgpVerifier } from '../../adapters/openpgp/open-verifier.ts';
import { hasSshKeygen as sshKeygenThere } from '../../adapters/ssh/ssh-keygen.ts';
import { createDocumentParser } from '../../adapters/yaml/document-parser.ts';
import type { BlobId } from '../../core/model/commit-id.ts';
import { isDigest, type Digest } from '../../core/model/digest.ts';
import type { RegistryDocument } from '../../core/model/documents.ts';
import { limits } from '../../core/model/limits.ts';
import { applyFiles, emptyDesiredState, type DesiredState, type FileChange } from '../../core/desired/desired-state.ts';
import type { DigestResolver } from '../../ports/digest-resolver.ts';
import type { Forge } from '../../ports/forge.ts';
import { ArtifactCache } from '../../reconciler/artifact-cache.ts';
import { isDeclarationPath } from '../../core/desired/parsed-file.ts';
import { observeApprovals } from '../../reconciler/observe-approvals.ts';
import type { PlanningWorld } from '../../reconciler/planning.ts';
import { readEvidence, type RecordStep } from '../../reconciler/read-evidence.ts';
import { TouchingCommits } from '../../reconciler/touching-commits.ts';
import type { Evidence, LoadedDeclarations, OpenEvidence, Repository } from '../clone.ts';
import { rehearsalOf, unharvestedApprovals } from '../rehearsal.ts';
import { CliError, textOption, type CommandContext } from '../command.ts';
import { localConfig } from './local-config.ts';
import { openUserGit } from './user-git.ts';

export { commitNamed, loadCandidate, loadCommit, targetTip } from './load-candidate.ts';
export { personalKey } from './personal-key.ts';

/** Opens the repository around `--repo` or the current folder. @throws CliError `NotARepository` */
export async function openRepository(context: CommandContext): Promise<Repository> {
  const start = resolve(context.cwd, textOption(context.values, 'repo') ?? '.');
  const folder = await findTop(start);
  if (folder === null) throw new CliError('NotARepository', `${start} is not in a Git repository.`, 'Go into your clone, or name it with -C DIR.');
  const settings: GitSettings = { environment: context.environment, commands: directGitCommands() };
  const reader = await openGitReader(folder, settings);
  const openPgp = openOpenPgpVerifier();
  return {
    folder, reader, parser: createDocumentParser(), openPgp, isBare: !(await isThere(join(folder, '.git'))),
    git: openUserGit(folder, context.environment),
    close: async () => {
      await openPgp.close();
      await reader.close();
    },
  };
}

/** The nearest folder upwards with a `.git`, or that is a bare repository itself. */
async function findTop(start: string): Promise<string | null> {
  for (let at = start; ; at = dirname(at)) {
    if (await isThere(join(at, '.git'))) return at;
    if ((await isThere(join(at, 'HEAD'))) && (await isThere(join(at, 'objects'))) && (await isThere(join(at, 'refs')))) return at;
    if (at === dirname(at)) return null;
  }
}

async function isThere(path: string): Promise<boolean> {
  return access(path).then(() => true, () => false);
}

export async function pinOf(context: CommandContext, repository: Repository): Promise<Digest> {
  const given = textOption(context.values, 'genesis') ?? context.environment['STELLA_GENESIS'] ?? (await localConfig(context, repository.folder, 'stella.genesis'));
  if (given === null || given === '') {
    // T13: the repository's own word for it would be trust on first use.
    throw new CliError('PinMissing', 'This clone does not pin a log.', 'Ask a colleague for the genesis pin (not the repository), then: git config stella.genesis sha256:…');
  }
  if (!isDigest(given)) throw new CliError('PinMalformed', `The genesis pin ${JSON.stringify(given.slice(0, 80))} is no digest.`, 'It is sha256: and 64 lower-case hexadecimal digits.');
  return given;
}

export async function openEvidence(
  context: CommandContext, repository: Repository, pin: Digest, visit?: (step: RecordStep, artifact: (d: Digest) => Uint8Array | undefined) => void,
): Promise<OpenEvidence> {
  const elsewhere = textOption(context.values, 'evidence');
  const name = textOption(context.values, 'evidence-branch') ?? 'stella/evidence';
  const settings: GitSettings = { environment: context.environment, commands: directGitCommands() };
  const folder = elsewhere === undefined ? repository.folder : resolve(context.cwd, elsewhere);
  const reader = elsewhere === undefined ? repository.reader : await openGitReader(folder, settings);
  // T6: a history that is not the one that was signed proves nothing.
  const [fault] = await reader.findHistoryFaults();
  if (fault !== undefined) return { ok: false, code: fault.code, message: fault.remedy, seq: null };
  for (const ref of [`refs/remotes/origin/${name}`, `refs/heads/${name}`]) {
    const commit = await reader.resolveRef(ref);
    if (commit === null) continue;
    const read = await context.terminal.during('Reading and verifying the evidence', readEvidence({ reader, openPgp: repository.openPgp }, commit, pin, visit));
    if (!read.ok) return { ok: false, ...read.fault };
    const artifact = (digest: Digest): Uint8Array | undefined => read.artifacts.get(digest);
    return { ok: true, evidence: { repository: folder, ref, commit, reader, state: read.state, openPgp: repository.openPgp, counts: read.counts, artifact } };
  }
  return { ok: false, code: 'LogMissing', message: `${folder} has no evidence branch ${name}. Fetch it (git fetch origin), or start the log: stella serve --create-log`, seq: null };
}

export async function loadWorktree(repository: Repository): Promise<DesiredState> {
  if (repository.isBare) throw new CliError('NoWorktree', `${repository.folder} is a bare repository.`, 'Name a commit with --ref.');
  const listed = await repository.git.run(['ls-files', '-z', '--cached', '--others', '--exclude-standard']);
  const paths = [...new Set(listed.split('\0'))].filter(isDeclarationPath).sort();
  const changes: FileChange[] = [];
  for (const path of paths) {
    const file = join(repository.folder, path);
    const found = await lstat(file).catch(() => null);
    // As in a commit: a link under a document's name says nothing.
    if (found === null || !found.isFile()) continue;
    const bytes = found.size > limits.documentBytes ? new Uint8Array(found.size) : await readFile(file);
    const blob = objectIdOf(repository.reader.objectFormat, 'blob', bytes) as BlobId;
    changes.push({ path, parsed: repository.parser.parseFile({ path, blob, bytes }) });
  }
  return applyFiles(emptyDesiredState(), changes).state;
}

export async function worldOf(repository: Repository, evidence: Evidence, loaded: LoadedDeclarations, asOf: string): Promise<PlanningWorld> {
  const { reader, parser } = repository;
  const batch = rehearsalOf(repository, evidence, loaded, asOf);
  observeApprovals({ batch }, await unharvestedApprovals(repository, loaded, batch));
  return {
    state: batch.state, desired: loaded.desired, tip: loaded.tip, ...(loaded.candidate === undefined ? {} : { candidate: loaded.candidate }), reader, parser, artifacts: new ArtifactCache(evidence.reader), evidenceTip: evidence.commit,
    touching: new TouchingCommits(reader, parser), lookup: batch.lookup, openPgp: repository.openPgp,
  };
}

/** Loaded only by those who ask a registry. */
export function registryOf(context: CommandContext, repository: Repository): (integration: RegistryDocument) => Promise<DigestResolver> {
  const opened = import('./registries.ts').then((module) => module.openRegistries(context, repository));
  return async (integration) => (await opened)(integration);
}

export function randomHex(bytes: number): string {
  return randomBytes(bytes).toString('hex');
}

export async function readText(file: string): Promise<string | null> {
  return readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return null;
    throw error;
  });
}

export async function writeText(file: string, text: string): Promise<void> {
  await mkdir(dirname(file), { recursive: true });
  await writeFile(file, text);
}

export async function writeProgram(file: string, text: string): Promise<void> {
  await mkdir(dirname(file), { recursive: true });
  await writeFile(file, text, { mode: 0o755 });
  await chmod(file, 0o755);
}

export async function removeFile(file: string): Promise<void> {
  await rm(file, { force: true });
}

/** Loaded only by those who ask a forge. */
export async function openForge(context: CommandContext, repository: Repository): Promise<Forge | null> {
  return (await import('./forge.ts')).openForgeOf(context, repository);
}

export function hasSshKeygen(context: CommandContext): Promise<boolean> {
  return sshKeygenThere(context.environment);
}
