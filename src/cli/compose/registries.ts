import { resolve } from 'node:path';
import { jitteredBackoff } from '../../adapters/oci/backoff.ts';
import { createImageLayout } from '../../adapters/oci/image-layout.ts';
import type { RegistryCredential } from '../../adapters/oci/registry-auth.ts';
import { createRegistryClient } from '../../adapters/oci/registry-client.ts';
import { secretResolver } from '../../agent/secret-resolver.ts';
import type { RegistryDocument } from '../../core/model/documents.ts';
import type { DigestResolver } from '../../ports/digest-resolver.ts';
import { SecretUnavailable } from '../../ports/target-driver.ts';
import type { Repository } from '../clone.ts';
import { CliError, textOptions, type CommandContext } from '../command.ts';
import { localConfig } from './local-config.ts';

/** Resolvers by Integration, each made once. */
export function openRegistries(context: CommandContext, repository: Repository): (integration: RegistryDocument) => Promise<DigestResolver> {
  const made = new Map<string, Promise<DigestResolver>>();
  return (integration) => {
    const { name } = integration.metadata;
    const known = made.get(name) ?? open(context, repository, integration);
    made.set(name, known);
    return known;
  };
}

async function open(context: CommandContext, repository: Repository, { metadata, spec }: RegistryDocument): Promise<DigestResolver> {
  if (spec.layout !== undefined) return createImageLayout({ root: await layoutFolder(context, repository, spec.layout) });
  if (spec.host === undefined) throw new CliError('IntegrationUnusable', `Integration ${metadata.name} names neither a host nor a layout.`);
  return createRegistryClient({
    registry: spec.insecure === true ? `http://${spec.host}` : spec.host, insecure: spec.insecure ?? false, credentials: await credentialsOf(context, spec.host, spec.credentials), now: context.now,
    backoff: jitteredBackoff({ baseMs: 200, capMs: 2_000, random: Math.random }),
  });
}

/** Where this machine keeps a layout: the clone's own configuration says so, never the repository. */
async function layoutFolder(context: CommandContext, repository: Repository, name: string): Promise<string> {
  for (const option of textOptions(context.values, 'layout')) {
    const [key, ...rest] = option.split('=');
    if (key === name && rest.length > 0) return resolve(context.cwd, rest.join('='));
  }
  const configured = await localConfig(context, repository.folder, `stella.layout.${name}`);
  if (configured !== null) return resolve(repository.folder, configured);
  throw new CliError('LayoutUnknown', `This clone does not know where the image layout ${name} lies.`, `Give --layout ${name}=PATH, or: git config stella.layout.${name} PATH`);
}

/** T18: only for the host that they are declared with. Without the secret the registry is asked as a stranger. */
async function credentialsOf(context: CommandContext, host: string, declared: RegistryDocument['spec']['credentials']): Promise<readonly RegistryCredential[]> {
  if (declared === undefined) return [];
  const secret = secretResolver({ environment: context.environment, secretFolders: [] });
  try {
    if (declared.tokenRef !== undefined) return [{ host, token: await secret(declared.tokenRef) }];
    if (declared.username !== undefined && declared.passwordRef !== undefined) return [{ host, username: declared.username, password: await secret(declared.passwordRef) }];
  } catch (error) {
    if (!(error instanceof SecretUnavailable)) throw error;
    context.terminal.note(`${host}: ${error.message}; asking without credentials`);
  }
  return [];
}
