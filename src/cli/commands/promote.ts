import { canonicalBytes } from '../../core/model/canonical-json.ts';
import type { Digest } from '../../core/model/digest.ts';
import { documentKey, type DocumentOf } from '../../core/model/documents.ts';
import { isPairName, splitPair } from '../../core/model/names.ts';
import { intentPreimage, releaseSpecDigest } from '../../core/model/preimages.ts';
import type { BlobId } from '../../core/model/commit-id.ts';
import { findDocument, type DesiredState } from '../../core/desired/desired-state.ts';
import { formatDiagnostic } from '../../core/desired/diagnostic.ts';
import { signerOf } from '../approval-document.ts';
import { EVIDENCE_OPTIONS, KEY_OPTION, type CloneParts, type PersonalKey, type Repository } from '../clone.ts';
import { CliError, flagOption, OUTPUT_OPTION, textOption, usageError, type Command, type CommandContext, type ExitCode } from '../command.ts';
import { authorEnvironment } from '../publish-approval.ts';

export const command: Command<CloneParts> = {
  name: 'promote',
  summary: 'Ask for a release to run in an environment',
  usage: ['stella promote <application>/<version> --to <environment>', 'stella promote <environment>/<application> <version>'],
  help: `
Writes the Promotion document, signs it as your request, and commits it, signed with the same key. Comments in the
file stay. Push the commit or open a pull request: editing this document is the promotion, reverting it is the
rollback. Your signature lies in the document itself, so a squash by a forge does not lose who asked. Who asks does
not approve, unless the rules say so.

The same command adopts a request whose author is not known: you sign it as yours.

Example:
  stella promote shop/1.5.0 --to prod
  stella promote shop/1.5.0 --to prod --branch promote-1.5.0
  stella promote shop/1.5.0 --to prod --retry

Exit codes: 0 written, 2 error.`,
  options: {
    to: { type: 'string', value: 'NAME', description: 'The environment' },
    retry: { type: 'boolean', description: 'Raise spec.attempt, after a run that failed' },
    branch: { type: 'string', value: 'NAME', description: 'Make this branch and commit there' },
    'no-commit': { type: 'boolean', description: 'Only write the file' },
    ...KEY_OPTION, ...EVIDENCE_OPTIONS, ...OUTPUT_OPTION,
  },
  run,
};

type Wanted = { readonly environment: string; readonly application: string; readonly version: string };

async function run(context: CommandContext, parts: () => Promise<CloneParts>): Promise<ExitCode> {
  const wanted = wantedIn(context);
  const clone = await parts();
  const repository = await clone.openRepository(context);
  try {
    const pin = await clone.pinOf(context, repository);
    const desired = await clone.loadWorktree(repository);
    const release = releaseIn(desired, wanted);
    const key = await clone.personalKey(context, repository);
    const principal = await principalOf(context, clone, repository, pin, key);
    const file = fileOf(desired, wanted);
    const unsigned = await promotionText(clone, repository, file, wanted, flagOption(context.values, 'retry'));
    const promotion = parsed(repository, file, unsigned);
    const preimage = canonicalBytes(intentPreimage({ logId: pin, promotion, releaseSpec: releaseSpecDigest(release) }));
    const { editYaml } = await import('../write-repository.ts');
    const text = editYaml(unsigned, [{ path: ['signatures'], value: [{ format: 'sshsig', signature: await key.sign(preimage, 'stella-intent') }] }]);
    const commit = await write({ context, clone, repository, key, principal }, file, text, wanted);
    const model = { ...wanted, file, commit, principal, fingerprint: key.fingerprint, attempt: promotion.spec.attempt ?? 1 };
    await context.terminal.result(model, () => doneText(wanted, file, commit));
    return 0;
  } finally {
    await repository.close();
  }
}

/** Both orders that people try: what to where, or where with what. */
function wantedIn({ positionals, values }: CommandContext): Wanted {
  const [first = '', second, ...rest] = positionals;
  const to = textOption(values, 'to');
  if (!isPairName(first) || rest.length > 0 || (to === undefined) === (second === undefined)) {
    throw usageError('Name a release and where it is to run: stella promote shop/1.5.0 --to prod.', command);
  }
  const [a, b] = splitPair(first);
  const wanted = to === undefined ? { environment: a, application: b, version: second ?? '' } : { environment: to, application: a, version: b };
  if (!isPairName(`${wanted.environment}/${wanted.version}`)) throw usageError('An environment and a version are small letters, digits, `.`, `_` and `-`.', command);
  return wanted;
}

function releaseIn(desired: DesiredState, { application, version }: Wanted): DocumentOf<'Release'> {
  const name = `${application}/${version}`;
  const entry = desired.usable.Release.get(documentKey('Release', name));
  if (entry !== undefined) return entry.document as unknown as DocumentOf<'Release'>;
  throw new CliError('ReleaseMissing', `There is no usable Release ${name} in the working tree.`, `Write it with: stella release create ${name}; or see \`stella lint\`.`);
}

/** Who asks, where the evidence is at hand to tell; an intent by nobody known names no requester. */
async function principalOf(context: CommandContext, clone: CloneParts, repository: Repository, pin: Digest, key: PersonalKey): Promise<string | null> {
  const opened = await clone.openEvidence(context, repository, pin);
  if (opened.ok) return signerOf(opened.evidence, key, context.now()).metadata.name;
  if (opened.code !== 'LogMissing') throw new CliError(opened.code, `The evidence cannot be relied on: ${opened.message}.`, 'Run `stella verify`.');
  return null;
}

/** Where the Promotion stands, or where it goes by convention. */
function fileOf(desired: DesiredState, { environment, application }: Wanted): string {
  const name = `${environment}/${application}`;
  const found = findDocument(desired, 'Promotion', name);
  if (found.status === 'absent') return `promotions/${name}.yaml`;
  if (found.status === 'unusable') throw new CliError('PromotionUnusable', `The Promotion ${name} in ${found.claims[0]?.file ?? '?'} cannot be used.`, 'See `stella lint`, and correct it first.');
  return found.entry.file;
}

async function promotionText(clone: CloneParts, repository: Repository, file: string, { environment, application, version }: Wanted, isRetry: boolean): Promise<string> {
  const { editYaml } = await import('../write-repository.ts');
  const there = await clone.readText(`${repository.folder}/${file}`);
  if (there === null) {
    const frame = `apiVersion: stella/v1alpha1\nkind: Promotion\nmetadata:\n  name: ${environment}/${application}\nspec:\n  release: x\n`;
    return editYaml(frame, [{ path: ['spec', 'release'], value: version }]);
  }
  const before = parsed(repository, file, there);
  const isSame = before.spec.release === version && before.spec.state !== 'absent';
  const attempt = isSame && isRetry ? (before.spec.attempt ?? 1) + 1 : isSame ? before.spec.attempt : undefined;
  return editYaml(there, [
    { path: ['spec', 'release'], value: version }, { path: ['spec', 'state'], value: undefined }, { path: ['spec', 'attempt'], value: attempt }, { path: ['signatures'], value: undefined },
  ]);
}

/** The document as everybody else will read it: by the one parser. */
function parsed(repository: Repository, file: string, text: string): DocumentOf<'Promotion'> {
  const { documents, problems } = repository.parser.parseFile({ path: file, blob: '' as BlobId, bytes: new TextEncoder().encode(text) });
  const [only, second] = documents;
  if (problems[0] !== undefined) throw new CliError('PromotionUnusable', formatDiagnostic(problems[0]));
  if (second !== undefined) throw new CliError('SeveralDocuments', `${file} holds several documents.`, 'Give the Promotion a file of its own, or edit it by hand.');
  if (only?.document.kind !== 'Promotion') throw new CliError('PromotionUnusable', `${file} holds no Promotion.`);
  return only.document;
}

type Desk = { readonly context: CommandContext; readonly clone: CloneParts; readonly repository: Repository; readonly key: PersonalKey; readonly principal: string | null };

async function write({ context, clone, repository, key, principal }: Desk, file: string, text: string, { environment, application, version }: Wanted): Promise<string | null> {
  const { git, folder } = repository;
  const branch = textOption(context.values, 'branch');
  if (branch !== undefined) await git.run(['switch', '--quiet', '-c', branch]);
  await clone.writeText(`${folder}/${file}`, text);
  if (flagOption(context.values, 'no-commit')) return null;
  const isNamed = (await git.tryRun(['config', '--get', 'user.email'])) !== null;
  const environmentOfGit = isNamed ? {} : authorEnvironment(principal ?? 'stella');
  await git.run(['add', '--', file]);
  const signing = ['-c', 'gpg.format=ssh', '-c', `user.signingKey=${key.gitValue}`];
  await git.run([...signing, 'commit', '--quiet', '-S', '-m', `Promote ${application} ${version} to ${environment}`, '--', file], { environment: environmentOfGit });
  return git.run(['rev-parse', 'HEAD']);
}

function doneText({ environment, application, version }: Wanted, file: string, commit: string | null): string {
  const place = `${environment}/${application}`;
  if (commit === null) return `${file} asks for ${application} ${version} in ${environment}. Commit and push it, then: stella explain ${place}`;
  return `${commit.slice(0, 12)} asks for ${application} ${version} in ${environment}. Push it or open a pull request; see what it meets with: stella explain ${place}`;
}
