import { createPublicKey } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { agentKeys } from '../../adapters/pki/agent-keys.ts';
import { openIdentity } from '../../agent/identity.ts';
import { isDigest, type Digest } from '../../core/model/digest.ts';
import { isSegment } from '../../core/model/names.ts';
import { CliError } from '../command.ts';

/** What keygen and enrolment leave in the agent's folder for `run`. */
export type AgentSettings = { readonly name: string; readonly server: string | null; readonly genesis: Digest | null };

const SETTINGS = 'agent.json';

/** Null where the folder belongs to no agent yet. @throws CliError `SettingsDamaged` */
export async function readSettings(folder: string): Promise<AgentSettings | null> {
  const text = await readFile(join(folder, SETTINGS), 'utf8').catch(() => null);
  if (text === null) return null;
  try {
    const { name, server, genesis } = JSON.parse(text) as { readonly name?: unknown; readonly server?: unknown; readonly genesis?: unknown };
    if (isSegment(name)) return { name, server: typeof server === 'string' ? server : null, genesis: isDigest(genesis) ? genesis : null };
  } catch {
    // Said below, with the name of the file.
  }
  throw new CliError('SettingsDamaged', `${join(folder, SETTINGS)} cannot be understood.`, 'Enrol again, or write it anew: {"name": …, "server": "host:port", "genesis": "sha256:…"}.');
}

export async function writeSettings(folder: string, settings: AgentSettings): Promise<void> {
  await writeFile(join(folder, SETTINGS), `${JSON.stringify(settings, null, 2)}\n`);
}

/** The identity key of an agent, in a folder that says whose it is. @returns SPKI PEM. @throws CliError `AgentNameMismatch` */
export async function makeIdentity(folder: string, name: string): Promise<string> {
  const known = await readSettings(folder);
  if (known !== null && known.name !== name) throw new CliError('AgentNameMismatch', `${folder} is the folder of agent ${known.name}.`, 'Give each agent a folder of its own.');
  const identity = await openIdentity(folder, name, agentKeys);
  if (known === null) await writeSettings(folder, { name, server: null, genesis: null });
  return createPublicKey(identity.privateKey).export({ type: 'spki', format: 'pem' }) as string;
}
