import { isObjectId } from '../../core/model/commit-id.ts';
import { GitError, type GitReader } from '../../ports/git-reader.ts';
import type { CommitId } from '../../core/model/commit-id.ts';
import type { GitRemote, RefUpdate, RemoteOutcome, RemoteRefusal } from '../../ports/git-remote.ts';
import type { GitCommandResult } from './git-command.ts';
import { gitCommand, type GitSettings } from './git-folder.ts';
import { parseRefName, parseRefPrefix, parseRefspec, type HardenedOptions, type RemoteUrl } from './hardened-git.ts';
import { refusalOf } from './remote-refusal.ts';
import { openServerRefs, type ServerRefs } from './server-refs.ts';

/** What proves us to an https server. The value comes from a reference that the composition root resolved. */
export type GitCredential =
  | { readonly kind: 'basic'; readonly username: string; readonly password: string }
  | { readonly kind: 'bearer'; readonly token: string };

export type RemoteOptions = {
  readonly gitFolder: string;
  readonly url: RemoteUrl;
  readonly reader: GitReader;
  readonly settings: GitSettings;
  readonly credential?: GitCredential | undefined;
  /** Key file and known hosts file for ssh; without, those of the user. */
  readonly ssh?: { readonly keyFile?: string; readonly knownHostsFile?: string } | undefined;
  readonly globalConfigFile?: string;
  readonly timeoutMs: number;
};

/** @throws GitError `InvalidName` for a credential over plain http to another machine, where everyone between could read it. */
export function openGitRemote(options: RemoteOptions): GitRemote & { close(): void } {
  const { url, credential } = options;
  const isLoopback = /^(?:127\.\d+\.\d+\.\d+|localhost|\[::1\])(?::\d+)?$/.test(url.host ?? '');
  if (credential !== undefined && url.kind !== 'https' && !(url.kind === 'http' && isLoopback)) {
    throw new GitError('InvalidName', `A token is configured, but the URL is not https (${url.kind}). Use an https URL, or remove the token.`);
  }
  return new NativeGitRemote(options);
}

class NativeGitRemote implements GitRemote {
  readonly #options: RemoteOptions;
  readonly #hardened: HardenedOptions;
  readonly #secrets: readonly string[];
  readonly #serverRefs: ServerRefs | null;

  constructor(options: RemoteOptions) {
    const { url, credential, settings } = options;
    const authorization = credential === undefined ? null : authorizationOf(credential);
    this.#options = options;
    this.#secrets = credential === undefined ? [] : [credential.kind === 'basic' ? credential.password : credential.token, authorization?.split(' ')[1] ?? ''];
    this.#hardened = {
      gitFolder: options.gitFolder,
      ...(options.globalConfigFile === undefined ? {} : { globalConfigFile: options.globalConfigFile }),
      ...(options.ssh === undefined ? {} : { sshCommand: sshCommandOf(options.ssh) }),
      // T18: for this origin alone, and in the environment: arguments can be read by every user of the machine.
      config: authorization === null ? [] : [[`http.${new URL(url.url).origin}/.extraHeader`, `Authorization: ${authorization}`]],
    };
    const isHttp = url.kind === 'http' || url.kind === 'https';
    // Proxies and private certificate lists are known to git, not to our client.
    const onlyGitKnows = url.kind === 'https' ? /^(?:https_proxy|all_proxy|ssl_cert_file|ssl_cert_dir)$/i : /^(?:http_proxy|all_proxy)$/i;
    const needsGit = Object.entries(settings.environment).some(([name, value]) => onlyGitKnows.test(name) && Boolean(value));
    this.#serverRefs = isHttp && !needsGit ? openServerRefs(url.url, authorization, options.timeoutMs) : null;
  }

  async fetch(refspecs: readonly string[], options: { readonly prune?: boolean } = {}): Promise<RemoteOutcome> {
    const flags = ['--verbose', '--progress', '--no-tags', '--no-write-fetch-head', '--no-recurse-submodules', '--no-auto-maintenance', '--atomic'];
    const prune = options.prune === true ? ['--prune'] : [];
    const result = await this.#run(['fetch', ...flags, ...prune, '--', this.#options.url.url, ...refspecs.map(parseRefspec)]);
    return 'ok' in result ? result : { ok: true };
  }

  async push(updates: readonly RefUpdate[]): Promise<RemoteOutcome> {
    const moves: string[] = [];
    const leases: string[] = [];
    for (const { ref, from, to } of updates) {
      if (!isObjectId(to) || (from !== null && !isObjectId(from))) throw new GitError('InvalidName', 'A push needs commit ids.');
      // The lease below makes git force; that only fast-forwards are sent is therefore ours to check.
      if (from !== null && !(await this.#options.reader.isAncestor(from, to))) {
        return { ok: false, code: 'NonFastForward', message: `${to} does not descend from ${from}; nothing was sent.` };
      }
      leases.push(`--force-with-lease=${parseRefName(ref)}:${from ?? ''}`);
      moves.push(`${to}:${ref}`);
    }
    return this.#push(leases, moves);
  }

  deleteRef(ref: string, expected: CommitId): Promise<RemoteOutcome> {
    if (!isObjectId(expected)) throw new GitError('InvalidName', 'A deletion needs the expected commit id.');
    return this.#push([`--force-with-lease=${parseRefName(ref)}:${expected}`], [`:${ref}`]);
  }

  async listRefs(prefix: string): ReturnType<GitRemote['listRefs']> {
    parseRefPrefix(prefix);
    if (this.#serverRefs !== null) return this.#serverRefs.list(prefix);
    const result = await this.#run(['ls-remote', '--', this.#options.url.url, `${prefix}*`]);
    if ('ok' in result) return result;
    const refs = result.stdout.split('\n').flatMap((line) => {
      const [id, name = ''] = line.split('\t');
      return isObjectId(id) && name.startsWith(prefix) && !name.endsWith('^{}') ? [{ name, id }] : [];
    });
    return { ok: true, refs: refs.sort((a, b) => (a.name < b.name ? -1 : 1)) };
  }

  close(): void {
    this.#serverRefs?.close();
  }

  async #push(leases: readonly string[], moves: readonly string[]): Promise<RemoteOutcome> {
    // Asked for only where it matters: some servers know no atomic push.
    const atomic = moves.length > 1 ? ['--atomic'] : [];
    const result = await this.#run(['push', '--porcelain', '--progress', '--no-verify', '--no-recurse-submodules', ...atomic, ...leases, '--', this.#options.url.url, ...moves]);
    return 'ok' in result ? result : { ok: true };
  }

  async #run(args: readonly string[]): Promise<GitCommandResult | RemoteRefusal> {
    const { settings, timeoutMs } = this.#options;
    try {
      const result = await settings.commands.run({ ...gitCommand(settings, args, this.#hardened), timeoutMs });
      return result.exitCode === 0 ? result : refusalOf(result, this.#secrets);
    } catch (error) {
      if (error instanceof GitError && error.code === 'Timeout') return { ok: false, code: 'Unreachable', message: error.message };
      throw error;
    }
  }
}

function authorizationOf(credential: GitCredential): string {
  if (credential.kind === 'bearer') return `Bearer ${credential.token}`;
  return `Basic ${Buffer.from(`${credential.username}:${credential.password}`).toString('base64')}`;
}

/** git gives this to a shell, so each file name is quoted for one. */
function sshCommandOf(ssh: { readonly keyFile?: string; readonly knownHostsFile?: string }): string {
  const quote = (text: string): string => `'${text.replaceAll("'", `'\\''`)}'`;
  const key = ssh.keyFile === undefined ? '' : ` -i ${quote(ssh.keyFile)} -o IdentitiesOnly=yes`;
  const hosts = ssh.knownHostsFile === undefined ? '' : ` -o UserKnownHostsFile=${quote(ssh.knownHostsFile)}`;
  return `ssh -o BatchMode=yes -o StrictHostKeyChecking=yes${key}${hosts}`;
}
