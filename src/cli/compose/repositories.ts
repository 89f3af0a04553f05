import { join } from 'node:path';
import type { GitCommands } from '../../adapters/git/git-command.ts';
import { openMirror, type Mirror } from '../../adapters/git/mirror.ts';
import type { GitCredential } from '../../adapters/git/native-git-remote.ts';
import { secretResolver } from '../../agent/secret-resolver.ts';
import type { RemoteConfig, ServerConfig } from '../../config/server.ts';

type Environment = Readonly<Record<string, string | undefined>>;

/** The mirror of the declarations and that of the log; one and the same where the log lies in the same repository. */
export type Repositories = { readonly declarations: Mirror; readonly evidence: Mirror; close(): Promise<void> };

/** @throws GitError, SecretUnavailable */
export async function openRepositories(config: ServerConfig, p: { readonly commands: GitCommands; readonly environment: Environment; readonly pid: number }): Promise<Repositories> {
  const secret = secretResolver({ environment: p.environment, secretFolders: config.secretFolders });
  const open = async (name: string, remote: RemoteConfig): Promise<Mirror> => {
    const { objectFormat } = config.repository;
    return openMirror({
      folder: join(config.dataFolder, name), url: remote.url, objectFormat, ownPid: p.pid, settings: { environment: p.environment, commands: p.commands },
      credential: await credentialOf(remote, secret), ssh: sshOf(remote),
    });
  };
  const declarations = await open('repository', config.repository);
  if (config.evidence.url === config.repository.url) return { declarations, evidence: declarations, close: () => declarations.close() };
  try {
    const evidence = await open('evidence', config.evidence);
    return { declarations, evidence, close: async () => void (await Promise.all([declarations.close(), evidence.close()])) };
  } catch (cause) {
    await declarations.close();
    throw cause;
  }
}

async function credentialOf({ tokenRef, username }: RemoteConfig, secret: (reference: string) => Promise<string>): Promise<GitCredential | undefined> {
  if (tokenRef === null) return undefined;
  const token = await secret(tokenRef);
  return username === null ? { kind: 'bearer', token } : { kind: 'basic', username, password: token };
}

function sshOf({ sshKeyFile, knownHostsFile }: RemoteConfig): { readonly keyFile?: string; readonly knownHostsFile?: string } | undefined {
  if (sshKeyFile === null && knownHostsFile === null) return undefined;
  return { ...(sshKeyFile === null ? {} : { keyFile: sshKeyFile }), ...(knownHostsFile === null ? {} : { knownHostsFile }) };
}
