import { execFileSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { programPath } from './components.ts';
import { freePort, startDaemon, type Daemon } from './daemon.ts';

/** A real sshd on loopback that lets the account running the tests in with one key. */
export type ScratchSshd = {
  readonly host: '127.0.0.1';
  readonly port: number;
  readonly username: string;
  /** OpenSSH private key file that it accepts. */
  readonly identityFile: string;
  /** known_hosts file with its host key. */
  readonly knownHostsFile: string;
  /** Value for `GIT_SSH_COMMAND`; with it `ssh://USER@127.0.0.1:PORT/absolute/path` reaches a repository. */
  readonly gitSshCommand: string;
  stop(): Promise<void>;
};

/** Starts sshd on a free port with keys of its own. Ask `requireComponent('sshd', ctx)` first. */
export async function startSshd(): Promise<ScratchSshd> {
  const command = programPath('sshd');
  if (command === undefined) throw new Error('sshd is missing; call requireComponent first');
  const root = await mkdtemp(join(tmpdir(), 'stella-test-sshd-'));
  const [hostKey, identityFile, knownHostsFile] = ['host_key', 'id', 'known_hosts'].map((name) => join(root, name)) as [string, string, string];
  for (const path of [hostKey, identityFile]) execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', path]);
  // Privilege separation wants this folder, and nobody has made it where sshd is not a system service.
  if (userInfo().uid === 0) mkdirSync('/run/sshd', { recursive: true, mode: 0o755 });
  const launch = async (): Promise<{ daemon: Daemon; port: number }> => {
    const port = await freePort();
    await writeFile(join(root, 'config'), configOf(root, port));
    const daemon = await startDaemon({
      command,
      args: ['-D', '-e', '-f', join(root, 'config')],
      logPath: join(root, 'log'),
      isReady: () => greets(port),
    });
    return { daemon, port };
  };
  const { daemon, port } = await launch().catch(launch);
  await writeFile(knownHostsFile, `[127.0.0.1]:${port} ${await readFile(`${hostKey}.pub`, 'utf8')}`);
  return {
    host: '127.0.0.1',
    port,
    username: userInfo().username,
    identityFile,
    knownHostsFile,
    gitSshCommand: `ssh -F none -i ${identityFile} -o IdentitiesOnly=yes -o UserKnownHostsFile=${knownHostsFile} -o BatchMode=yes`,
    stop: async () => {
      await daemon.stop();
      await rm(root, { recursive: true, force: true });
    },
  };
}

function configOf(root: string, port: number): string {
  return [
    `Port ${port}`,
    'ListenAddress 127.0.0.1',
    `HostKey ${join(root, 'host_key')}`,
    `AuthorizedKeysFile ${join(root, 'id.pub')}`,
    `PidFile ${join(root, 'pid')}`,
    'PasswordAuthentication no',
    'KbdInteractiveAuthentication no',
    'PermitRootLogin prohibit-password',
    'UsePAM no',
    'StrictModes no', // the temporary folder is writable by others above us
    'Subsystem sftp internal-sftp',
    '',
  ].join('\n');
}

/** Whether somebody greets with `SSH-` on the port. */
function greets(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    socket.once('data', (bytes) => {
      resolve(bytes.toString('latin1').startsWith('SSH-'));
      socket.destroy();
    });
    socket.once('error', () => resolve(false));
  });
}
