import { isDigest, type Digest } from '../../core/model/digest.ts';
import { documentKey, registryIn, type DocumentOf, type RegistryDocument } from '../../core/model/documents.ts';
import { isPairName, isSegment, splitPair } from '../../core/model/names.ts';
import { findDocument, type DesiredState } from '../../core/desired/desired-state.ts';
import { inForceOf, type LogState } from '../../core/evidence/log-state.ts';
import type { ResolveRegistry } from '../../reconciler/pass.ts';
import { EVIDENCE_OPTIONS, LAYOUT_OPTION, type CloneParts, type Repository } from '../clone.ts';
import { CliError, OUTPUT_OPTION, textOption, textOptions, usageError, type Command, type CommandContext, type ExitCode } from '../command.ts';
import { columns } from '../terminal.ts';

export const command: Command<CloneParts> = {
  name: 'release',
  summary: 'Write a release, tags resolved to digests',
  usage: ['stella release create <application>/<version> --component api=1.5.0 --component web=@sha256:…', 'stella release create <application>/<version> --tag 1.5.0'],
  help: `
Writes releases/<application>/<version>.yaml with tag and digest of every component, so that reviewers see what would
run, not what a tag may point to later. Tags are resolved from here, at the registries that documents in force name;
before there is a log, those of the working tree, and then without credentials.

Example:
  stella release create shop/1.5.0 --tag 1.5.0
  stella release create shop/1.5.0 --component api=1.5.0 --component web=1.4.9@sha256:…

Exit codes: 0 written, 2 error.`,
  options: {
    component: { type: 'string', multiple: true, value: 'NAME=TAG', description: 'Tag, @digest, or tag@digest of a component' },
    tag: { type: 'string', value: 'TAG', description: 'Tag of every component that is not named' },
    channel: { type: 'string', value: 'NAME', description: 'Channel that environments may follow by themselves (spec.channel)' },
    commit: { type: 'string', value: 'ID', description: 'Commit that it was built from (spec.source.commit)' },
    ...EVIDENCE_OPTIONS, ...LAYOUT_OPTION, ...OUTPUT_OPTION,
  },
  run,
};

type Image = { readonly tag: string | null; readonly digest: Digest | null };
type Resolved = { readonly name: string; readonly tag: string | null; readonly digest: Digest };

async function run(context: CommandContext, parts: () => Promise<CloneParts>): Promise<ExitCode> {
  const [verb, name = '', ...rest] = context.positionals;
  if (verb !== 'create' || !isPairName(name) || rest.length > 0) throw usageError('Name a release: stella release create shop/1.5.0 --tag 1.5.0.', command);
  const given = componentsGiven(context);
  const channel = textOption(context.values, 'channel');
  if (channel !== undefined && !isSegment(channel)) throw usageError(`--channel ${channel} is no name of a channel, such as stable.`, command);
  const clone = await parts();
  const repository = await clone.openRepository(context);
  try {
    const desired = await clone.loadWorktree(repository);
    const known = findDocument(desired, 'Release', name);
    if (known.status !== 'absent') {
      const place = known.status === 'present' ? known.entry.file : (known.claims[0]?.file ?? '?');
      throw new CliError('ReleaseExists', `The Release ${name} stands in ${place} already.`, 'A release does not change: give the new content a new version.');
    }
    const policy = await policyOf(context, clone, repository, desired);
    const registry = clone.registryOf(context, repository);
    const components = await context.terminal.during('Resolving tags', resolveAll(context, policy, name, given, registry));
    const file = `releases/${name}.yaml`;
    await clone.writeText(`${repository.folder}/${file}`, releaseText(name, components, { commit: textOption(context.values, 'commit'), channel }));
    await context.terminal.result({ release: name, file, components }, () => {
      const rows = components.map((c) => [`  ${c.name}`, c.tag ?? '', c.digest]);
      return `${file}\n${columns(rows)}\nCommit it, then: stella promote ${name} --to <environment>${channel === undefined ? '' : `\nEnvironments that follow channel ${channel} ask for it by themselves once it is merged.`}`;
    });
    return 0;
  } finally {
    await repository.close();
  }
}

function componentsGiven(context: CommandContext): ReadonlyMap<string, Image> {
  const given = new Map<string, Image>();
  for (const text of textOptions(context.values, 'component')) {
    const [, name = '', tag = '', digest] = /^([a-z0-9][a-z0-9._-]*)=([A-Za-z0-9_][A-Za-z0-9._-]*)?(?:@(sha256:[0-9a-f]+))?$/.exec(text) ?? [];
    if (name === '' || (tag === '' && digest === undefined) || (digest !== undefined && !isDigest(digest))) {
      throw usageError(`--component ${text} is not of the form name=tag, name=@sha256:… or name=tag@sha256:….`, command);
    }
    given.set(name, { tag: tag === '' ? null : tag, digest: digest === undefined ? null : (digest as Digest) });
  }
  return given;
}

/** Looks documents up in force, or, before there is a log, in the working tree without credentials (T18). */
type Policy = { readonly application: (name: string) => DocumentOf<'Application'> | null; readonly component: (name: string) => DocumentOf<'Component'> | null; readonly integration: (name: string) => RegistryDocument | null };

async function policyOf(context: CommandContext, clone: CloneParts, repository: Repository, desired: DesiredState): Promise<Policy> {
  const pin = await clone.pinOf(context, repository).catch((error: unknown) => {
    if (error instanceof CliError && error.code === 'PinMissing') return null;
    throw error;
  });
  const opened = pin === null ? null : await clone.openEvidence(context, repository, pin);
  if (opened?.ok === true) return policyIn(opened.evidence.state);
  if (opened !== null && opened.code !== 'LogMissing') throw new CliError(opened.code, `The evidence cannot be relied on: ${opened.message}.`, 'Run `stella verify`.');
  context.terminal.note('note: there is no log here yet; the documents of the working tree are used, without credentials');
  const find = <K extends 'Application' | 'Component' | 'Integration'>(kind: K, name: string): DocumentOf<K> | null =>
    (desired.usable[kind].get(documentKey(kind, name))?.document as unknown as DocumentOf<K> | undefined) ?? null;
  return {
    application: (name) => find('Application', name), component: (name) => find('Component', name),
    integration: (name) => {
      const found = registryIn(find('Integration', name));
      if (found === null) return null;
      const { credentials: _, ...spec } = found.spec;
      return { ...found, spec };
    },
  };
}

function policyIn(state: LogState): Policy {
  return {
    application: (name) => inForceOf(state, 'Application', name), component: (name) => inForceOf(state, 'Component', name), integration: (name) => registryIn(inForceOf(state, 'Integration', name)),
  };
}

async function resolveAll(context: CommandContext, policy: Policy, release: string, given: ReadonlyMap<string, Image>, registry: ResolveRegistry): Promise<readonly Resolved[]> {
  const [applicationName] = splitPair(release);
  const application = policy.application(applicationName);
  if (application === null) throw new CliError('ApplicationUnknown', `There is no Application ${applicationName}.`, 'Check the spelling; a new application takes a quorum first.');
  const names = [...application.spec.components].sort();
  const stranger = [...given.keys()].find((name) => !names.includes(name));
  if (stranger !== undefined) throw usageError(`${applicationName} has no component ${stranger}; it has ${names.join(', ')}.`, command);
  const otherwise = textOption(context.values, 'tag');
  const missing = names.filter((name) => !given.has(name));
  if (missing.length > 0 && otherwise === undefined) throw usageError(`Say which image ${missing.join(' and ')} ${missing.length === 1 ? 'has' : 'have'}: --component ${missing[0] ?? ''}=TAG, or --tag TAG for all.`, command);
  const resolved: Resolved[] = [];
  for (const name of names) {
    const image = given.get(name) ?? { tag: otherwise ?? null, digest: null };
    resolved.push({ name, tag: image.tag, digest: image.digest ?? (await resolveOne(policy, name, image.tag ?? '', registry)) });
  }
  return resolved;
}

async function resolveOne(policy: Policy, name: string, tag: string, registry: ResolveRegistry): Promise<Digest> {
  const component = policy.component(name);
  const integration = component === null ? null : policy.integration(component.spec.registry);
  if (component === null || integration === null) throw new CliError('ComponentUnknown', `Component ${name}, or the Integration of its registry, is not there.`, 'See `stella lint`.');
  const { host } = integration.spec;
  const prefix = host === undefined ? '' : `${host}/`;
  const repository = component.spec.repository.startsWith(prefix) ? component.spec.repository.slice(prefix.length) : component.spec.repository;
  const answer = await (await registry(integration)).resolve({ repository, tag });
  if (!answer.ok) throw new CliError(answer.code, `Component ${name}: ${answer.message}.`);
  return answer.digest;
}

function releaseText(name: string, components: readonly Resolved[], { commit, channel }: { readonly commit: string | undefined; readonly channel: string | undefined }): string {
  const lines = components.flatMap((c) => [`    ${c.name}:`, ...(c.tag === null ? [] : [`      tag: ${JSON.stringify(c.tag)}`]), `      digest: ${c.digest}`]);
  const source = commit === undefined ? '' : `  source:\n    commit: ${JSON.stringify(commit)}\n`;
  return `apiVersion: stella/v1alpha1\nkind: Release\nmetadata:\n  name: ${name}\nspec:\n${channel === undefined ? '' : `  channel: ${JSON.stringify(channel)}\n`}  components:\n${lines.join('\n')}\n${source}`;
}
