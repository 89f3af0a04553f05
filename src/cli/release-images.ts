import { isDigest, type Digest } from '../core/model/digest.ts';
import { documentKey, registryIn, type DocumentOf, type RegistryDocument } from '../core/model/documents.ts';
import { splitPair } from '../core/model/names.ts';
import type { DesiredState } from '../core/desired/desired-state.ts';
import { inForceOf, type LogState } from '../core/evidence/log-state.ts';
import type { ResolveRegistry } from '../reconciler/pass.ts';
import type { Evidence } from './clone.ts';
import { CliError, textOption, textOptions, usageError, type CommandContext } from './command.ts';

const command = { name: 'release' } as const;

export type Image = { readonly tag: string | null; readonly digest: Digest | null };
/** What a component of a release will be. */
export type Resolved = { readonly name: string; readonly tag: string | null; readonly digest: Digest };

/** What `--component` says of each. @throws CliError `Usage` */
export function componentsGiven(context: CommandContext): ReadonlyMap<string, Image> {
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

/** Looks documents up in force, or, before there is a log, here without credentials (T18). */
export type Policy = { readonly application: (name: string) => DocumentOf<'Application'> | null; readonly component: (name: string) => DocumentOf<'Component'> | null; readonly integration: (name: string) => RegistryDocument | null };

/** Documents in force, or, before there is a log, those of `desired` without credentials. */
export function policyFor(context: CommandContext, evidence: Evidence | null, desired: DesiredState): Policy {
  if (evidence !== null) return policyIn(evidence.state);
  context.terminal.note('note: there is no log here yet; the documents here are used, without credentials');
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

/** @throws CliError for a component or tag that is not there */
export async function resolveAll(context: CommandContext, policy: Policy, release: string, given: ReadonlyMap<string, Image>, registry: ResolveRegistry): Promise<readonly Resolved[]> {
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
