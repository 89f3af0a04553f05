import type { BlobId } from '../../core/model/commit-id.ts';
import type { Digest } from '../../core/model/digest.ts';
import type { DocumentOf } from '../../core/model/documents.ts';
import { isPairName, isSegment, splitPair } from '../../core/model/names.ts';
import { plain } from '../../core/model/plain-text.ts';
import { releaseSpecDigest } from '../../core/model/preimages.ts';
import { findDocument, type DesiredState } from '../../core/desired/desired-state.ts';
import { formatDiagnostic } from '../../core/desired/diagnostic.ts';
import { audienceOf, isOnlyFor, personOf, verifyIdentityToken } from '../../core/trust/identity-token.ts';
import { keyRingIn } from '../../core/trust/key-ring.ts';
import type { DocumentParser } from '../../ports/document-parser.ts';
import { commitHere } from '../branch-commit.ts';
import { EVIDENCE_OPTIONS, KEY_OPTION, LAYOUT_OPTION, type CloneParts, type Evidence, type PersonalKey, type Repository } from '../clone.ts';
import { CliError, flagOption, OUTPUT_OPTION, textOption, usageError, type Command, type CommandContext, type ExitCode } from '../command.ts';
import { BRANCH_OPTIONS, baseFor, openPlace, proposeChange, targetRefOf, type Place, type Proposed } from '../propose-branch.ts';
import { componentsGiven, policyFor, resolveAll, type Resolved } from '../release-images.ts';
import { SOURCE_OPTIONS, sourceIn } from '../release-source.ts';
import { columns } from '../terminal.ts';

export const command: Command<CloneParts> = {
  name: 'release',
  summary: 'Write a release, tags resolved to digests',
  usage: [
    'stella release create <application>/<version> --component api=1.5.0 --component web=@sha256:…', 'stella release create <application>/<version> --tag 1.5.0',
    'stella release create <application>/<version> --tag 1.5.0 --propose [--ci]',
  ],
  help: `
Writes releases/<application>/<version>.yaml with tag and digest of every component, so that reviewers see what would
run, not what a tag may point to later. Tags are resolved from here, at the registries that documents in force name;
before there is a log, those that lie here, and then without credentials.

By itself it only writes the file. --here commits it where you are, signed. --propose is for pipelines and people alike:
one signed commit on a branch release/<application>-<version> from the newest tip, pushed, with a pull request where the
clone names a forge (see \`stella promote --help\`); your branch and working tree stay as they are.

In a pipeline nobody is asked anything. It signs with the key of a principal of type service, --key or git's
configuration, and needs the whole history: fetch-depth: 0 on GitHub, GIT_DEPTH: 0 on GitLab. --ci takes source and
build from the variables of the pipeline (GitHub, GitLab, Gitea, Forgejo, Bitbucket, Jenkins); nothing is judged by
them. Doing it again is harmless: the same content is there already, and other content under the same version is
refused. A service asks for nothing to run; a person promotes the release, or an environment follows its channel.
Where duties are separated it must be known for whom a service wrote it: --audience prints what a token of the forge
must be for, --token-file puts that token into the release, if it counts by the documents in force.

Example:
  stella release create shop/1.5.0 --tag 1.5.0
  stella release create shop/1.5.0 --component api=1.5.0 --component web=1.4.9@sha256:…
  stella release create shop/1.5.0 --component api=@sha256:… --channel stable --ci --propose -o json

Exit codes: 0 written, or there with the same content; 1 there with other content; 2 error.`,
  options: {
    component: { type: 'string', multiple: true, value: 'NAME=TAG', description: 'Tag, @digest, or tag@digest of a component' },
    tag: { type: 'string', value: 'TAG', description: 'Tag of every component that is not named' },
    channel: { type: 'string', value: 'NAME', description: 'Channel that environments may follow, as stable; it cannot be changed later' },
    audience: { type: 'boolean', description: 'Print the audience that a token for this release must have, and write nothing' },
    'token-file': { type: 'string', value: 'FILE', description: 'Token of an identity issuer that says for whom a service writes it' },
    ...SOURCE_OPTIONS,
    propose: { type: 'boolean', description: 'Commit on a branch of its own, push it, and open the pull request' },
    here: BRANCH_OPTIONS.here, branch: BRANCH_OPTIONS.branch, 'no-push': BRANCH_OPTIONS['no-push'], remote: BRANCH_OPTIONS.remote,
    ...KEY_OPTION, ...EVIDENCE_OPTIONS, ...LAYOUT_OPTION, ...OUTPUT_OPTION,
  },
  run,
};

type Desk = { readonly context: CommandContext; readonly clone: CloneParts; readonly repository: Repository; readonly evidence: Evidence | null; readonly name: string };
type Written = { readonly file: string; readonly text: string; readonly digest: Digest; readonly components: readonly Resolved[] };

async function run(context: CommandContext, parts: () => Promise<CloneParts>): Promise<ExitCode> {
  const name = nameIn(context);
  const clone = await parts();
  const repository = await clone.openRepository(context);
  try {
    const place = flagOption(context.values, 'propose') ? await proposingPlace(context, clone, repository) : null;
    const evidence = await evidenceOf(context, clone, repository);
    const desk = { context, clone, repository, evidence, name };
    const targetRef = await targetRefOf(repository, evidence?.state ?? null);
    const base = place === null ? null : await baseFor(repository, targetRef, place.remote);
    const desired = base === null ? await clone.loadWorktree(repository) : (await clone.loadCommit(repository, base)).desired;
    const written = await releaseFor(desk, desired);
    if (flagOption(context.values, 'audience')) return await tellAudience(desk, written);
    if (isThere(desired, name, written.digest)) return await tell(desk, written, { isThere: true });
    if (place !== null && base !== null) return await tell(desk, written, { proposed: await propose(desk, written, { base, targetRef, place }) });
    await clone.writeText(`${repository.folder}/${written.file}`, written.text);
    const commit = flagOption(context.values, 'here') ? await commitHere(repository, { paths: [written.file], message: titleOf(name), author: await authorOf(desk) }) : null;
    return await tell(desk, written, commit === null ? {} : { commit });
  } finally {
    await repository.close();
  }
}

function nameIn({ positionals, values }: CommandContext): string {
  const [verb, name = '', ...rest] = positionals;
  if (verb !== 'create' || !isPairName(name) || rest.length > 0) throw usageError('Name a release: stella release create shop/1.5.0 --tag 1.5.0.', command);
  const channel = textOption(values, 'channel');
  if (channel !== undefined && !isSegment(channel)) throw usageError(`--channel ${channel} is no name of a channel, such as stable.`, command);
  const isProposal = flagOption(values, 'propose');
  if (isProposal && flagOption(values, 'here')) throw usageError('--here and --propose are two places; give one.', command);
  const stray = isProposal ? undefined : ['branch', 'no-push', 'remote'].find((option) => values[option] !== undefined);
  if (stray !== undefined) throw usageError(`--${stray} goes with --propose.`, command);
  return name;
}

async function proposingPlace(context: CommandContext, clone: CloneParts, repository: Repository): Promise<Extract<Place, { type: 'branch' }>> {
  const place = await openPlace(context, clone, repository);
  if (place.type === 'branch') return place;
  throw new CliError('RemoteUnknown', 'This clone has no remote on which a release could be proposed.', 'Commit it where you are: --here; or make a branch here: --propose --no-push');
}

/** The log where there is one. @throws CliError where it cannot be relied on */
async function evidenceOf(context: CommandContext, clone: CloneParts, repository: Repository): Promise<Evidence | null> {
  const pin = await clone.pinOf(context, repository).catch((error: unknown) => {
    if (error instanceof CliError && error.code === 'PinMissing') return null;
    throw error;
  });
  const opened = pin === null ? null : await clone.openEvidence(context, repository, pin);
  if (opened === null || opened.ok) return opened === null ? null : opened.evidence;
  if (opened.code === 'LogMissing') return null;
  const isShallow = opened.code === 'Shallow';
  throw new CliError(opened.code, `The evidence cannot be relied on: ${opened.message}${opened.message.endsWith('.') ? '' : '.'}`, isShallow ? 'In a pipeline check out everything: fetch-depth: 0 on GitHub, GIT_DEPTH: 0 on GitLab.' : 'Run `stella verify`.');
}

async function releaseFor(desk: Desk, desired: DesiredState): Promise<Written> {
  const { context, clone, repository, evidence, name } = desk;
  const registry = clone.registryOf(context, repository);
  const components = await context.terminal.during('Resolving tags', resolveAll(context, policyFor(context, evidence, desired), name, componentsGiven(context), registry));
  const file = `releases/${name}.yaml`;
  const bare = await textFor(name, components, { source: sourceIn(context), channel: textOption(context.values, 'channel') });
  const digest = releaseSpecDigest(parsed(repository.parser, file, bare));
  const text = `${bare}${await tokenLines(desk, digest)}`;
  parsed(repository.parser, file, text);
  return { file, text, components, digest };
}

/** T19: the token that says for whom a service writes it, as the file has it; empty without one. @throws CliError `TokenRefused` */
async function tokenLines({ context, clone, evidence }: Desk, digest: Digest): Promise<string> {
  const file = textOption(context.values, 'token-file');
  if (file === undefined) return '';
  const token = (await clone.readText(file))?.trim();
  if (token === undefined) throw new CliError('FileMissing', `There is no file ${file}.`);
  const verdict = evidence === null ? null : verifyIdentityToken(evidence.state, { token, audience: audienceOf(digest), observedAt: context.now().getTime() });
  // T18: what is committed is read by others. A token that serves somewhere else as well would be theirs to use.
  if (!isOnlyFor(token, audienceOf(digest))) throw new CliError('TokenRefused', `The token does not count: OtherAudience: it is not for ${audienceOf(digest)} alone, so it is not written down.`, 'Ask for one with the audience that --audience prints.', { exitCode: 1 });
  if (verdict === null) context.terminal.note('note: there is no log here, so nobody looked whether the token counts');
  if (verdict?.ok === false) throw new CliError('TokenRefused', `The token does not count: ${verdict.code}: ${verdict.message}.`, 'Ask for one with the audience that --audience prints, from an issuer in force.', { exitCode: 1 });
  if (verdict?.ok === true && evidence !== null && personOf(evidence.state, verdict) === null) throw new CliError('TokenRefused', `Nobody in force is ${verdict.subject} at ${verdict.issuer}.`, 'Write it into `identities` of a Principal, which takes a quorum.', { exitCode: 1 });
  return `signatures:\n  - format: oidc\n    signature: ${JSON.stringify(token)}\n`;
}

async function tellAudience({ context, name }: Desk, { digest }: Written): Promise<ExitCode> {
  await context.terminal.result({ release: name, releaseSpec: digest, audience: audienceOf(digest) }, () => audienceOf(digest));
  return 0;
}

async function textFor(name: string, components: readonly Resolved[], { source, channel }: { readonly source: NonNullable<DocumentOf<'Release'>['spec']['source']>; readonly channel: string | undefined }): Promise<string> {
  const { stringify } = await import('yaml');
  const spec = {
    ...(channel === undefined ? {} : { channel }), components: Object.fromEntries(components.map((c) => [c.name, { ...(c.tag === null ? {} : { tag: c.tag }), digest: c.digest }])),
    ...(Object.keys(source).length === 0 ? {} : { source }),
  };
  return stringify({ apiVersion: 'stella/v1alpha1', kind: 'Release', metadata: { name }, spec }, { lineWidth: 0 });
}

/** As everybody else will read it. @throws CliError `ReleaseUnusable`, with what is wrong */
function parsed(parser: DocumentParser, file: string, text: string): DocumentOf<'Release'> {
  const { documents: [only], problems: [problem] } = parser.parseFile({ path: file, blob: '' as BlobId, bytes: new TextEncoder().encode(text) });
  if (problem !== undefined || only?.document.kind !== 'Release') throw new CliError('ReleaseUnusable', problem === undefined ? `${file} would hold no Release.` : formatDiagnostic(problem));
  return only.document;
}

/** A release does not change: the same content is there, other content is refused. @throws CliError `ReleaseExists` */
function isThere(desired: DesiredState, name: string, digest: Digest): boolean {
  const known = findDocument(desired, 'Release', name);
  if (known.status === 'absent') return false;
  const there = known.status === 'present' ? releaseSpecDigest(known.entry.document as unknown as DocumentOf<'Release'>) : null;
  if (there === digest) return true;
  const place = known.status === 'present' ? known.entry.file : (known.claims[0]?.file ?? '?');
  throw new CliError('ReleaseExists', `The Release ${name} stands in ${place} with other content: ${there ?? 'it cannot be used'}, and not ${digest}.`, 'A release does not change: give the new content a new version.', { exitCode: 1 });
}

async function authorOf({ context, clone, repository, evidence }: Desk): Promise<{ readonly key: PersonalKey; readonly name: string }> {
  const key = await clone.personalKey(context, repository);
  const holder = evidence === null ? null : keyRingIn(evidence.state, evidence.openPgp).get(key.fingerprint);
  // T20: the commit is accepted, and whoever promotes may have to answer for it.
  if (holder === undefined) context.terminal.note(`note: the key ${key.fingerprint} belongs to no principal in force, so nobody can tell who wrote this release`);
  return { key, name: holder?.principal.metadata.name ?? 'stella' };
}

async function propose(desk: Desk, { file, text, components, digest }: Written, ground: Parameters<typeof proposeChange>[1]): Promise<Proposed> {
  const { context, clone, repository, name } = desk;
  const { key, name: principal } = await authorOf(desk);
  const [application, version] = splitPair(name);
  const rows = components.map((c) => `- \`${c.name}\`${c.tag === null ? '' : ` \`${c.tag}\``} \`${c.digest}\``);
  const proposed = await proposeChange({ context, clone, repository, key, principal }, ground, {
    files: [{ path: file, text }], branch: `release/${application}-${version.replace(/\.{2,}/g, '.').replace(/\.(?:lock)?$/, '')}`, family: `release/${application}-`, title: titleOf(name),
    body: `Release \`${name}\`, tags resolved to digests:\n\n${rows.join('\n')}\n\nIt asks for nothing to run: somebody promotes it, or an environment follows its channel.\n`,
    isSame: (_, there) => digestOfText(repository.parser, file, there) === digest,
  });
  for (const { branch } of proposed.rivals) context.terminal.note(`note: ${branch} writes ${file} as well; what is locked first is the release`);
  return proposed;
}

function digestOfText(parser: DocumentParser, file: string, text: string): Digest | null {
  try {
    return releaseSpecDigest(parsed(parser, file, text));
  } catch (error) {
    if (error instanceof CliError) return null;
    throw error;
  }
}

function titleOf(name: string): string {
  return `Release ${name.replace('/', ' ')}`;
}

async function tell({ context, name }: Desk, { file, digest, components }: Written, done: { readonly isThere?: true; readonly commit?: string; readonly proposed?: Proposed }): Promise<ExitCode> {
  const { proposed } = done;
  const branch = proposed === undefined ? {} : { branch: proposed.branch, remote: proposed.remote, isNew: proposed.isNew, proposal: proposed.proposal };
  const commit = done.commit ?? proposed?.commit ?? null;
  const channel = textOption(context.values, 'channel');
  const follow = channel === undefined ? [] : [`Environments that follow channel ${channel} ask for it by themselves once it is merged.`];
  await context.terminal.result({ release: name, file, components, releaseSpec: digest, isThere: done.isThere === true, commit, ...branch }, () => {
    const head = [file, columns(components.map((c) => [`  ${c.name}`, c.tag ?? '', c.digest]))];
    const promote = `stella promote ${name} --to <environment>`;
    if (done.isThere === true) return [...head, `It is there already, with the same content. Next: ${promote}`].join('\n');
    if (proposed === undefined) return [...head, commit === null ? `Commit it, then: ${promote}` : `Committed as ${commit.slice(0, 12)}. Push it, then: ${promote}`, ...follow].join('\n');
    const where = proposed.remote === null ? `the local branch ${proposed.branch}` : `branch ${proposed.branch} of ${proposed.remote}`;
    const request = proposed.proposal === null ? [] : [`#${proposed.proposal.number} ${proposed.proposal.url}${proposed.proposal.opened ? '' : ' (open already)'}`];
    return [...head, `${proposed.commit.slice(0, 12)}, on ${where}${proposed.isNew ? '' : '; it was there already'}.`, ...request.map(plain), `Once it is merged: ${promote}`, ...follow].join('\n');
  });
  return 0;
}
