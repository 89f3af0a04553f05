import { jitteredBackoff } from '../../adapters/oci/backoff.ts';
import { createImageLayout } from '../../adapters/oci/image-layout.ts';
import type { Network } from '../../adapters/oci/registry-address.ts';
import type { RegistryCredential } from '../../adapters/oci/registry-auth.ts';
import { createRegistryClient } from '../../adapters/oci/registry-client.ts';
import { secretResolver } from '../../agent/secret-resolver.ts';
import type { AgentConfig, AgentRegistry } from '../../config/agent.ts';
import type { ServerConfig } from '../../config/server.ts';
import { documentDigest, type RegistryDocument } from '../../core/model/documents.ts';
import { RegistryError, type BlobSource } from '../../ports/blob-source.ts';
import type { DigestResolver, RegistryRefusal } from '../../ports/digest-resolver.ts';
import { SecretUnavailable } from '../../ports/target-driver.ts';
import type { ResolveRegistry } from '../../reconciler/pass.ts';

type Environment = Readonly<Record<string, string | undefined>>;
type World = { readonly environment: Environment; readonly now: () => Date; readonly random: () => number };

const BACK_OFF = { baseMs: 200, capMs: 5_000 } as const;

/**
 * Resolvers for Integrations in force. Secrets are looked up when an Integration in force is asked for, and for its own host only (T18); one
 * that has changed gets a resolver of its own.
 */
export function openServerRegistries(config: Pick<ServerConfig, 'layouts' | 'offline' | 'allowHosts' | 'secretFolders'>, world: World): ResolveRegistry {
  const secret = secretResolver({ environment: world.environment, secretFolders: config.secretFolders });
  const made = new Map<string, { readonly digest: string; readonly resolver: DigestResolver }>();
  return async (integration) => {
    const digest = documentDigest(integration);
    const known = made.get(integration.metadata.name);
    if (known?.digest === digest) return known.resolver;
    const resolver = await openResolver(integration, config, secret, world);
    // A refusal is not kept: what it lacks may be there the next time.
    if (!('refuses' in resolver)) made.set(integration.metadata.name, { digest, resolver });
    return resolver;
  };
}

async function openResolver({ metadata, spec }: RegistryDocument, config: Pick<ServerConfig, 'layouts' | 'offline' | 'allowHosts'>, secret: (reference: string) => Promise<string>, world: World): Promise<DigestResolver> {
  if (spec.layout !== undefined) {
    const root = config.layouts[spec.layout];
    if (root === undefined) return refusing('RegistryUnreachable', `this server does not know where the image layout ${spec.layout} lies: set layouts.${spec.layout} in its configuration`);
    return createImageLayout({ root });
  }
  if (spec.host === undefined) return refusing('InvalidReference', `integration ${metadata.name} names neither a host nor a layout`);
  try {
    const declared = spec.credentials ?? {};
    const credentials = await credentialsFor({ host: spec.host, username: declared.username ?? null, passwordRef: declared.passwordRef ?? null, tokenRef: declared.tokenRef ?? null }, secret);
    return openClient({ host: spec.host, insecure: spec.insecure ?? false }, credentials, networkOf(config), world);
  } catch (cause) {
    if (cause instanceof SecretUnavailable) return refusing('RegistryUnauthorized', `integration ${metadata.name}: ${cause.message}`);
    if (cause instanceof RegistryError && cause.code === 'InvalidReference') return refusing('InvalidReference', cause.message);
    throw cause;
  }
}

/**
 * Where an agent's images come from, by the name of their Integration. Repositories begin with the host where there is one; the registry
 * itself is asked without it.
 */
export async function openAgentSources(config: Pick<AgentConfig, 'registries' | 'offline' | 'allowHosts' | 'secretFolders'>, world: World): Promise<(registry: string) => BlobSource | null> {
  const secret = secretResolver({ environment: world.environment, secretFolders: config.secretFolders });
  const sources = new Map<string, BlobSource>();
  for (const [name, registry] of Object.entries(config.registries)) sources.set(name, await openSource(registry, networkOf(config), secret, world));
  return (registry) => sources.get(registry) ?? null;
}

/** Credentials by value, for an engine that pulls by itself. Asked for again each time, so that a rotated secret is taken up. */
export function registryAuthOf(config: Pick<AgentConfig, 'registries' | 'secretFolders'>, environment: Environment): (host: string) => Promise<{ readonly username: string; readonly password: string } | null> {
  const secret = secretResolver({ environment, secretFolders: config.secretFolders });
  return async (host) => {
    const found = Object.values(config.registries).find((registry) => 'host' in registry && registry.host === host);
    if (found === undefined || !('host' in found) || found.username === null || found.passwordRef === null) return null;
    return { username: found.username, password: await secret(found.passwordRef) };
  };
}

async function openSource(registry: AgentRegistry, network: Network, secret: (reference: string) => Promise<string>, world: World): Promise<BlobSource> {
  if ('layout' in registry) return createImageLayout({ root: registry.layout });
  const client = openClient(registry, await credentialsFor(registry, secret), network, world);
  const inside = (repository: string): string => (repository.startsWith(`${registry.host}/`) ? repository.slice(registry.host.length + 1) : repository);
  return {
    readManifest: (repository, digest, signal) => client.readManifest(inside(repository), digest, signal),
    openBlob: (repository, digest, size, signal) => client.openBlob(inside(repository), digest, size, signal),
  };
}

function openClient({ host, insecure }: { readonly host: string; readonly insecure: boolean }, credentials: readonly RegistryCredential[], network: Network, { now, random }: World): DigestResolver & BlobSource {
  return createRegistryClient({ registry: insecure ? `http://${host}` : host, insecure, credentials, network, now, backoff: jitteredBackoff({ ...BACK_OFF, random }) });
}

function networkOf({ offline, allowHosts }: { readonly offline: boolean; readonly allowHosts: readonly string[] }): Network {
  return offline ? { offline, allowedHosts: allowHosts } : { offline };
}

/** @throws SecretUnavailable */
async function credentialsFor(declared: { readonly host: string; readonly username: string | null; readonly passwordRef: string | null; readonly tokenRef: string | null }, secret: (reference: string) => Promise<string>): Promise<readonly RegistryCredential[]> {
  const { host, username, passwordRef, tokenRef } = declared;
  if (tokenRef !== null) return [{ host, token: await secret(tokenRef) }];
  return username === null || passwordRef === null ? [] : [{ host, username, password: await secret(passwordRef) }];
}

function refusing(code: RegistryRefusal['code'], message: string): DigestResolver & { readonly refuses: true } {
  const refusal: RegistryRefusal = { ok: false, code, message, disposition: 'stall' };
  const refuse = (): Promise<RegistryRefusal> => Promise.resolve(refusal);
  return { refuses: true, resolve: refuse, exists: refuse, listTags: refuse };
}
