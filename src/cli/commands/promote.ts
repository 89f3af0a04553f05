import { canonicalBytes } from '../../core/model/canonical-json.ts';
import type { Digest } from '../../core/model/digest.ts';
import { documentKey, type BreakGlass, type DocumentOf, type Skippable } from '../../core/model/documents.ts';
import { parseInstant } from '../../core/model/instant.ts';
import { isPairName, splitPair } from '../../core/model/names.ts';
import { intentDigest, intentPreimage, releaseSpecDigest } from '../../core/model/preimages.ts';
import type { BlobId } from '../../core/model/commit-id.ts';
import { findDocument, type DesiredState } from '../../core/desired/desired-state.ts';
import { formatDiagnostic } from '../../core/desired/diagnostic.ts';
import { appStateOf } from '../../core/evidence/log-state.ts';
import { keyRingIn } from '../../core/trust/key-ring.ts';
import { findRequesters } from '../../core/trust/requesters.ts';
import { signerOf } from '../approval-document.ts';
import { EVIDENCE_OPTIONS, KEY_OPTION, type CloneParts, type Evidence, type PersonalKey, type Repository } from '../clone.ts';
import { CliError, flagOption, OUTPUT_OPTION, textOption, textOptions, usageError, type Command, type CommandContext, type ExitCode } from '../command.ts';
import { authorEnvironment } from '../publish-approval.ts';

export const command: Command<CloneParts> = {
  name: 'promote',
  summary: 'Ask for a release to run in an environment',
  usage: [
    'stella promote <application>/<version> --to <environment>', 'stella promote <environment>/<application> <version>', 'stella promote --absent <environment>/<application>',
    'stella promote --adopt <environment>/<application>', 'stella promote <application>/<version> --to <environment> --break-glass approvals --reason TEXT --expires TIME',
  ],
  help: `
Writes the Promotion document, signs it as your request, and commits it, signed with the same key. Comments in the
file stay. Push the commit or open a pull request: editing this document is the promotion, reverting it is the
rollback. Your signature lies in the document itself, so a squash by a forge does not lose who asked. Who asks does
not approve, unless the rules say so.

--absent asks that the application is removed from the environment, through the same gates.

--adopt is for a request whose author is not known, such as one that a bot or an unsigned commit made: you sign it as
it is, and answer for it as if you had asked. You cannot approve it then. A request that was made and ended before is
adopted as a new attempt.

--break-glass is for an emergency, where environment and trust root allow it: it skips what you list (approvals,
source) until --expires. Whoever approves signs the reason with it, and somebody else reviews it afterwards.

Example:
  stella promote shop/1.5.0 --to prod
  stella promote shop/1.5.0 --to prod --branch promote-1.5.0
  stella promote shop/1.5.0 --to prod --retry
  stella promote --adopt prod/shop

Exit codes: 0 written, 1 there is nothing to adopt, 2 error.`,
  options: {
    to: { type: 'string', value: 'NAME', description: 'The environment' },
    absent: { type: 'boolean', description: 'Ask for removal' },
    adopt: { type: 'boolean', description: 'Sign as yours a request whose author is not known' },
    retry: { type: 'boolean', description: 'Raise spec.attempt, after a run that failed' },
    'break-glass': { type: 'string', multiple: true, value: 'GATE', description: 'Skip this in an emergency: approvals or source; may be given again' },
    reason: { type: 'string', value: 'TEXT', description: 'Why it cannot wait, with --break-glass' },
    expires: { type: 'string', value: 'TIME', description: 'Until when, with --break-glass: 2031-05-17T09:30:00Z' },
    branch: { type: 'string', value: 'NAME', description: 'Make this branch and commit there' },
    'no-commit': { type: 'boolean', description: 'Only write the file' },
    ...KEY_OPTION, ...EVIDENCE_OPTIONS, ...OUTPUT_OPTION,
  },
  run,
};

/** `version` is null for a removal, and for an adoption, which asks for what is asked already. */
export type Wanted = { readonly mode: 'promote' | 'absent' | 'adopt'; readonly environment: string; readonly application: string; readonly version: string | null; readonly breakGlass?: BreakGlass };

async function run(context: CommandContext, parts: () => Promise<CloneParts>): Promise<ExitCode> {
  const wanted = wantedIn(context);
  const clone = await parts();
  const repository = await clone.openRepository(context);
  try {
    const { model, text } = await writeRequest(context, clone, repository, wanted);
    await context.terminal.result(model, () => text);
    return 0;
  } finally {
    await repository.close();
  }
}

export type Written = { readonly model: { readonly file: string; readonly commit: string | null; readonly principal: string | null }; readonly text: string };

/** Writes, signs and commits a request in the working tree. @throws CliError */
export async function writeRequest(context: CommandContext, clone: CloneParts, repository: Repository, wanted: Wanted): Promise<Written> {
  const pin = await clone.pinOf(context, repository);
  const desired = await clone.loadWorktree(repository);
  const key = await clone.personalKey(context, repository);
  const evidence = await evidenceOf(context, clone, repository, pin);
  const principal = evidence === null ? null : signerOf(evidence, key, context.now()).metadata.name;
  const file = fileOf(desired, wanted);
  const unsigned = wanted.mode === 'adopt' ? await adoptedText({ clone, repository, desired, evidence, pin }, file, wanted) : await promotionText(clone, repository, file, wanted, flagOption(context.values, 'retry'));
  const promotion = parsed(repository, file, unsigned);
  const preimage = canonicalBytes(intentPreimage({ logId: pin, promotion, releaseSpec: releaseSpecFor(desired, promotion) }));
  const { editYaml } = await import('../write-repository.ts');
  const signatures = [...(promotion.signatures ?? []), { format: key.format, signature: await key.sign(preimage, 'stella-intent') }];
  const text = editYaml(unsigned, [{ path: ['signatures'], value: signatures }]);
  const asked = { ...wanted, version: promotion.spec.state === 'absent' ? null : (promotion.spec.release ?? null) };
  const commit = await write({ context, clone, repository, key, principal }, file, text, asked);
  const model = { ...asked, file, commit, principal, fingerprint: key.fingerprint, attempt: promotion.spec.attempt ?? 1 };
  return { model, text: doneText(asked, file, commit) };
}

/** Both orders that people try: what to where, or where with what. */
function wantedIn({ positionals, values }: CommandContext): Wanted {
  const [first = '', second, ...rest] = positionals;
  const to = textOption(values, 'to');
  const [isAbsent, isAdoption] = [flagOption(values, 'absent'), flagOption(values, 'adopt')];
  if (isAbsent || isAdoption) {
    if (breakGlassIn(values) !== undefined) throw usageError('Only the promotion of a release can break the glass.', command);
    if (isAbsent === isAdoption || !isPairName(first) || second !== undefined || to !== undefined || (isAdoption && flagOption(values, 'retry'))) throw usageError('Name environment and application, and one of --absent and --adopt: stella promote --adopt prod/shop.', command);
    const [environment, application] = splitPair(first);
    return { mode: isAbsent ? 'absent' : 'adopt', environment, application, version: null };
  }
  if (!isPairName(first) || rest.length > 0 || (to === undefined) === (second === undefined)) {
    throw usageError('Name a release and where it is to run: stella promote shop/1.5.0 --to prod.', command);
  }
  const [a, b] = splitPair(first);
  const wanted = to === undefined ? { environment: a, application: b, version: second ?? '' } : { environment: to, application: a, version: b };
  if (!isPairName(`${wanted.environment}/${wanted.version}`)) throw usageError('An environment and a version are small letters, digits, `.`, `_` and `-`.', command);
  const breakGlass = breakGlassIn(values);
  return { mode: 'promote', ...wanted, ...(breakGlass === undefined ? {} : { breakGlass }) };
}

function breakGlassIn(values: CommandContext['values']): BreakGlass | undefined {
  const skip = textOptions(values, 'break-glass').flatMap((text) => text.split(',')).filter((gate) => gate !== '');
  const [reason, expires] = [textOption(values, 'reason'), textOption(values, 'expires')];
  if (skip.length === 0 && reason === undefined && expires === undefined) return undefined;
  const unknown = skip.find((gate) => gate !== 'approvals' && gate !== 'source');
  if (skip.length === 0 || unknown !== undefined || reason === undefined || parseInstant(expires ?? '') === null || expires === undefined) {
    throw usageError('Breaking the glass takes three things: --break-glass approvals (or source), --reason TEXT, and --expires 2031-05-17T09:30:00Z.', command);
  }
  return { skip: [...new Set(skip)].sort() as Skippable[], reason, expires };
}

/** What the intent says of the release; null for a removal. @throws CliError `ReleaseMissing` */
function releaseSpecFor(desired: DesiredState, { metadata, spec }: DocumentOf<'Promotion'>): Digest | null {
  if (spec.state === 'absent') return null;
  const name = `${splitPair(metadata.name)[1]}/${spec.release ?? ''}`;
  const entry = desired.usable.Release.get(documentKey('Release', name));
  if (entry !== undefined) return releaseSpecDigest(entry.document as unknown as DocumentOf<'Release'>);
  throw new CliError('ReleaseMissing', `There is no usable Release ${name} in the working tree.`, `Write it with: stella release create ${name}; or see \`stella lint\`.`);
}

/** The log, where it is at hand; without it nobody can tell who signs. */
async function evidenceOf(context: CommandContext, clone: CloneParts, repository: Repository, pin: Digest): Promise<Evidence | null> {
  const opened = await clone.openEvidence(context, repository, pin);
  if (opened.ok) return opened.evidence;
  if (opened.code !== 'LogMissing') throw new CliError(opened.code, `The evidence cannot be relied on: ${opened.message}.`, 'Run `stella verify`.');
  return null;
}

type Adoption = { readonly clone: CloneParts; readonly repository: Repository; readonly desired: DesiredState; readonly evidence: Evidence | null; readonly pin: Digest };

/**
 * T20: the request as it stands, to be signed by somebody who answers for it. A spent intent brings nobody back, so what ended before is asked
 * for once more.
 * @throws CliError `NothingToAdopt`
 */
async function adoptedText({ clone, repository, desired, evidence, pin }: Adoption, file: string, { environment, application }: Wanted): Promise<string> {
  const there = await clone.readText(`${repository.folder}/${file}`);
  if (there === null || evidence === null) {
    throw new CliError('NothingToAdopt', there === null ? `There is no request for ${environment}/${application} here.` : 'Without the evidence nobody can tell whether the author is known.', there === null ? 'Ask for it yourself: stella promote' : 'Fetch: git fetch origin', { exitCode: 1 });
  }
  const promotion = parsed(repository, file, there);
  const ring = keyRingIn(evidence.state, evidence.openPgp);
  const requesters = findRequesters({
    logId: pin, promotion, releaseSpec: releaseSpecFor(desired, promotion), spentIntents: appStateOf(evidence.state, environment, application).spentIntents, commits: [], ring, lockUnchanged: false,
    observedAt: Date.parse(evidence.state.asOf ?? ''),
  });
  if (requesters.intents.length > 0) throw new CliError('NothingToAdopt', `${requesters.people.join(', ')} signed this request, so its author is known.`, null, { exitCode: 1 });
  const { editYaml } = await import('../write-repository.ts');
  const spent = appStateOf(evidence.state, environment, application).spentIntents.includes(intentDigest({ logId: pin, promotion, releaseSpec: releaseSpecFor(desired, promotion) }));
  return spent ? editYaml(there, [{ path: ['spec', 'attempt'], value: (promotion.spec.attempt ?? 1) + 1 }, { path: ['signatures'], value: undefined }]) : there;
}

/** Where the Promotion stands, or where it goes by convention. */
function fileOf(desired: DesiredState, { environment, application }: Wanted): string {
  const name = `${environment}/${application}`;
  const found = findDocument(desired, 'Promotion', name);
  if (found.status === 'absent') return `promotions/${name}.yaml`;
  if (found.status === 'unusable') throw new CliError('PromotionUnusable', `The Promotion ${name} in ${found.claims[0]?.file ?? '?'} cannot be used.`, 'See `stella lint`, and correct it first.');
  return found.entry.file;
}

async function promotionText(clone: CloneParts, repository: Repository, file: string, { environment, application, version, breakGlass }: Wanted, isRetry: boolean): Promise<string> {
  const { editYaml } = await import('../write-repository.ts');
  const there = await clone.readText(`${repository.folder}/${file}`);
  const spec = version === null ? { release: undefined, state: 'absent' } : { release: version, state: undefined };
  const edits = [{ path: ['spec', 'release'], value: spec.release }, { path: ['spec', 'state'], value: spec.state }, { path: ['spec', 'breakGlass'], value: breakGlass }];
  if (there === null) {
    const frame = `apiVersion: stella/v1alpha1\nkind: Promotion\nmetadata:\n  name: ${environment}/${application}\nspec:\n  release: x\n`;
    return editYaml(frame, edits);
  }
  const before = parsed(repository, file, there);
  const isSame = version === null ? before.spec.state === 'absent' : before.spec.release === version && before.spec.state !== 'absent';
  const attempt = isSame && isRetry ? (before.spec.attempt ?? 1) + 1 : isSame ? before.spec.attempt : undefined;
  return editYaml(there, [...edits, { path: ['spec', 'attempt'], value: attempt }, { path: ['signatures'], value: undefined }]);
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

async function write({ context, clone, repository, key, principal }: Desk, file: string, text: string, wanted: Wanted): Promise<string | null> {
  const { git, folder } = repository;
  const branch = textOption(context.values, 'branch');
  if (branch !== undefined) await git.run(['switch', '--quiet', '-c', branch]);
  await clone.writeText(`${folder}/${file}`, text);
  if (flagOption(context.values, 'no-commit')) return null;
  const isNamed = (await git.tryRun(['config', '--get', 'user.email'])) !== null;
  const environmentOfGit = isNamed ? {} : authorEnvironment(principal ?? 'stella');
  await git.run(['add', '--', file]);
  await git.run([...key.gitConfig.flatMap(([name, value]) => ['-c', `${name}=${value}`]), 'commit', '--quiet', '-S', '-m', subjectOf(wanted), '--', file], { environment: environmentOfGit });
  return git.run(['rev-parse', 'HEAD']);
}

function subjectOf({ mode, environment, application, version }: Wanted): string {
  const what = version === null ? `Remove ${application} from ${environment}` : `Promote ${application} ${version} to ${environment}`;
  return mode === 'adopt' ? `Adopt the request: ${what}` : what;
}

function doneText(wanted: Wanted, file: string, commit: string | null): string {
  const { environment, application, version } = wanted;
  const place = `${environment}/${application}`;
  const what = version === null ? `that ${application} is removed from ${environment}` : `for ${application} ${version} in ${environment}`;
  if (commit === null) return `${file} asks ${what}. Commit and push it, then: stella explain ${place}`;
  return `${commit.slice(0, 12)} asks ${what}. Push it or open a pull request; see what it meets with: stella explain ${place}`;
}
