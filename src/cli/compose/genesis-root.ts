import { readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Mirror } from '../../adapters/git/mirror.ts';
import { createDocumentParser } from '../../adapters/yaml/document-parser.ts';
import type { ServerConfig } from '../../config/server.ts';
import { parseCanonicalJson } from '../../core/model/canonical-json.ts';
import type { CommitId } from '../../core/model/commit-id.ts';
import { digestOfBytes, type Digest } from '../../core/model/digest.ts';
import { documentPreimage, type AnyDocument, type DocumentOf } from '../../core/model/documents.ts';
import { ArtifactCache } from '../../reconciler/artifact-cache.ts';
import { Declarations } from '../../reconciler/declarations.ts';
import { CliError } from '../command.ts';
import type { Repositories } from './repositories.ts';

/** The pinned genesis root: its document, and the bytes whose digest is the pin. */
export type GenesisRoot = { readonly document: DocumentOf<'TrustRoot'>; readonly bytes: Uint8Array };

const FILE = 'genesis-root.json';

/**
 * Finds the root that the pin names: as it was kept at an earlier start, in the log, or at the tip of the declarations. Wherever it
 * comes from, only bytes with the pinned digest are taken (T13).
 * @throws CliError `GenesisMismatch`, `RepositoryUnreachable`
 */
export async function findGenesisRoot(config: ServerConfig, repositories: Repositories): Promise<GenesisRoot> {
  const kept = await keptGenesisRoot(config);
  if (kept !== null) return kept;
  const bytes = (await fromLog(config, repositories.evidence)) ?? (await fromTip(config, repositories.declarations));
  const root = bytes === null ? null : rootOf(bytes, config.genesis);
  if (root === null) {
    throw new CliError('GenesisMismatch', `neither the log nor ${config.repository.ref} holds a trust root with the pinned digest ${config.genesis}`, 'Check `genesis` in the configuration: it is what `stella init` printed for this repository.');
  }
  const file = join(config.dataFolder, FILE);
  await writeFile(`${file}.new`, root.bytes);
  await rename(`${file}.new`, file);
  return root;
}

/** As an earlier start has kept it; null when there was none. */
export async function keptGenesisRoot(config: Pick<ServerConfig, 'dataFolder' | 'genesis'>): Promise<GenesisRoot | null> {
  const bytes = await readFile(join(config.dataFolder, FILE)).catch(() => null);
  return bytes === null ? null : rootOf(bytes, config.genesis);
}

function rootOf(bytes: Uint8Array, pin: Digest): GenesisRoot | null {
  if (digestOfBytes(bytes) !== pin) return null;
  const document = parseCanonicalJson(bytes) as DocumentOf<'TrustRoot'> | undefined;
  return document?.kind === 'TrustRoot' ? { document, bytes } : null;
}

async function fromLog({ evidence, genesis }: ServerConfig, mirror: Mirror): Promise<Uint8Array | null> {
  const tip = await tipOf(mirror, evidence.ref);
  if (tip === null) return null;
  const artifacts = new ArtifactCache(mirror.reader);
  await artifacts.load(tip, [genesis]);
  return artifacts.get(genesis) ?? null;
}

async function fromTip({ repository, genesis }: ServerConfig, mirror: Mirror): Promise<Uint8Array | null> {
  const tip = await tipOf(mirror, repository.ref);
  if (tip === null) return null;
  const { state } = await new Declarations(mirror.reader, createDocumentParser()).load(tip);
  const roots = [...state.usable.TrustRoot.values()].map(({ document }) => documentPreimage(document as unknown as AnyDocument));
  return roots.find((bytes) => digestOfBytes(bytes) === genesis) ?? null;
}

async function tipOf({ remote, reader }: Mirror, ref: string): Promise<CommitId | null> {
  const listed = await remote.listRefs(ref);
  if (!listed.ok) throw new CliError('RepositoryUnreachable', `the repository cannot be reached: ${listed.message}`, 'The first start needs it; later ones wait for it.');
  if (!listed.refs.some(({ name }) => name === ref)) return null;
  const fetched = await remote.fetch([`+${ref}:refs/stella/start`]);
  if (!fetched.ok) throw new CliError('RepositoryUnreachable', `${ref} cannot be fetched: ${fetched.message}`);
  return reader.resolveRef('refs/stella/start');
}
