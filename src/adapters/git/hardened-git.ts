import { limits } from '../../core/model/limits.ts';
import { GitError } from '../../ports/git-reader.ts';

/** Environment variables as a plain value; the composition root passes its own. */
export type Environment = Readonly<Record<string, string | undefined>>;

/** What native git needs from outside. Everything else of the user's environment stays out (T6). */
const PASSED_ON = [
  'PATH', 'HOME', 'USER', 'LOGNAME', 'TMPDIR', 'SSH_AUTH_SOCK', 'SSL_CERT_FILE', 'SSL_CERT_DIR',
  'HTTP_PROXY', 'HTTPS_PROXY', 'ALL_PROXY', 'NO_PROXY', 'http_proxy', 'https_proxy', 'all_proxy', 'no_proxy',
  'SystemRoot', 'TEMP',
] as const;

/** Configuration at command scope: it wins over whatever the repository's own file says. */
const HARDENED_CONFIG: readonly (readonly [string, string])[] = [
  ['core.hooksPath', '/dev/null'],
  ['core.fsmonitor', 'false'],
  ['core.useReplaceRefs', 'false'],
  // A commit-graph file states parents without being covered by any object id.
  ['core.commitGraph', 'false'],
  ['core.fsync', 'committed,loose-object,reference'],
  ['core.logAllRefUpdates', 'false'],
  ['fetch.fsckObjects', 'true'],
  ['transfer.fsckObjects', 'true'],
  ['receive.fsckObjects', 'true'],
  ['fetch.recurseSubmodules', 'false'],
  ['push.recurseSubmodules', 'no'],
  ['push.gpgSign', 'false'],
  ['advice.graftFileDeprecated', 'false'],
  ['gc.auto', '0'],
  ['maintenance.auto', 'false'],
  ['credential.helper', ''],
  ['core.askPass', ''],
  // T18: a credential goes to the host declared with it and to no redirect.
  ['http.followRedirects', 'false'],
  ['protocol.allow', 'never'],
  ['protocol.file.allow', 'always'],
  ['protocol.ssh.allow', 'always'],
  ['protocol.https.allow', 'always'],
  ['protocol.http.allow', 'always'],
];

export type HardenedOptions = {
  /** The repository. Set explicitly, so that git searches for none and asks no owner. */
  readonly gitFolder: string;
  /** Further configuration. Values may be secret: they travel in the environment, never in arguments. */
  readonly config?: readonly (readonly [string, string])[];
  /** Written by us, in place of the user's `~/.gitconfig`; processes at the other end of a local path read it too. */
  readonly globalConfigFile?: string;
  /** The ssh command line. Default: no prompts, unknown host keys refused. */
  readonly sshCommand?: string;
};

/** The whole environment of every native git that we start (T6): no system or user configuration, no replace refs, no prompts. */
export function hardenedEnvironment(base: Environment, options: HardenedOptions): Record<string, string> {
  const environment: Record<string, string> = {};
  for (const name of PASSED_ON) {
    const value = base[name];
    if (value !== undefined) environment[name] = value;
  }
  Object.assign(environment, {
    LC_ALL: 'C',
    TZ: 'UTC',
    GIT_DIR: options.gitFolder,
    GIT_CONFIG_NOSYSTEM: '1',
    GIT_CONFIG_GLOBAL: options.globalConfigFile ?? '/dev/null',
    GIT_ATTR_NOSYSTEM: '1',
    GIT_NO_REPLACE_OBJECTS: '1',
    GIT_NO_LAZY_FETCH: '1',
    GIT_GRAFT_FILE: '/dev/null',
    GIT_TERMINAL_PROMPT: '0',
    GIT_ALLOW_PROTOCOL: 'file:ssh:https:http',
    GIT_SSH_COMMAND: options.sshCommand ?? 'ssh -o BatchMode=yes -o StrictHostKeyChecking=yes',
  });
  const config = [...HARDENED_CONFIG, ...(options.config ?? [])];
  environment['GIT_CONFIG_COUNT'] = String(config.length);
  config.forEach(([key, value], i) => {
    environment[`GIT_CONFIG_KEY_${i}`] = key;
    environment[`GIT_CONFIG_VALUE_${i}`] = value;
  });
  return environment;
}

/** Names of all `GIT_` variables of an environment, for simple-git, which strips those it is not told of. */
export function gitVariableNames(environment: Environment): string[] {
  return Object.keys(environment).filter((name) => name.startsWith('GIT_'));
}

export type RemoteUrl = {
  readonly kind: 'path' | 'file' | 'ssh' | 'https' | 'http';
  readonly url: string;
  /** Host that is contacted, null for paths. */
  readonly host: string | null;
};

const invalid = (what: string, remedy: string): never => {
  throw new GitError('InvalidName', `${what}. ${remedy}`);
};

/**
 * Accepts a path, `file://`, `ssh://` or `user@host:path`, `https://` and `http://`. Nothing that git could take for an option or a
 * helper program (`ext::`), and no password in the URL, where logs and process lists would show it.
 * @throws GitError `InvalidName`
 */
export function parseRemoteUrl(text: string): RemoteUrl {
  if (text === '' || text !== text.trim() || text.length > limits.gitUrlChars || /[\u0000-\u001f\u007f]/.test(text)) {
    return invalid('The Git URL is empty, too long or holds control characters', 'Write a path, or an ssh, https or file URL.');
  }
  if (text.startsWith('-') || /^[A-Za-z0-9]+::/.test(text)) {
    return invalid(`The Git URL ${JSON.stringify(text)} names an option or a helper program`, 'Write a path, or an ssh, https or file URL.');
  }
  const scheme = /^([A-Za-z][A-Za-z0-9+.-]*):\/\//.exec(text)?.[1]?.toLowerCase();
  if (scheme !== undefined) return parseUrlWithScheme(text, scheme);
  const scp = /^(?:([^@/:]+)@)?([^/:@]+):(?!\/\/)(.+)$/.exec(text);
  if (scp !== null) return sshUrl(text, scp[2] ?? '', scp[1] ?? '', scp[3] ?? '');
  return { kind: 'path', url: text, host: null };
}

function parseUrlWithScheme(text: string, scheme: string): RemoteUrl {
  if (scheme === 'file') return { kind: 'file', url: text, host: null };
  if (scheme !== 'ssh' && scheme !== 'https' && scheme !== 'http') {
    return invalid(`Git URLs of the kind ${scheme}: are not supported`, 'Write a path, or an ssh, https or file URL.');
  }
  const parsed = URL.canParse(text) ? new URL(text) : invalid('The Git URL cannot be parsed', 'Check its spelling.');
  if (scheme === 'ssh') return sshUrl(text, parsed.hostname, parsed.username, parsed.pathname);
  if (parsed.password !== '' || parsed.username !== '') {
    return invalid(`The Git URL for ${parsed.host} holds a user or a password`, 'Take it out and name the token by reference.');
  }
  return { kind: scheme, url: text, host: parsed.host };
}

function sshUrl(text: string, host: string, user: string, path: string): RemoteUrl {
  if (host === '' || [host, user, path].some((part) => part.startsWith('-'))) {
    return invalid(`The Git URL ${JSON.stringify(text)} would be read as an option by ssh`, 'Check host, user and path.');
  }
  return { kind: 'ssh', url: text, host };
}

/**
 * Accepts a full reference name as `git check-ref-format` does, or `HEAD`.
 * @throws GitError `InvalidName`
 */
export function parseRefName(name: string): string {
  if (name === 'HEAD') return name;
  const ok =
    name.startsWith('refs/') &&
    name.length <= limits.refNameChars &&
    !name.endsWith('/') &&
    !name.endsWith('.') &&
    !/[\u0000-\u0020\u007f~^:?*[\\]|\.\.|@\{|\/\//.test(name) &&
    name.split('/').every((part) => part !== '' && !part.startsWith('.') && !part.endsWith('.lock'));
  if (!ok) return invalid(`${JSON.stringify(name.slice(0, 200))} is not a full reference name`, 'Write it as refs/heads/<branch>.');
  return name;
}

/** Accepts the beginning of full reference names, such as `refs/heads/stella/`. */
export function parseRefPrefix(prefix: string): string {
  parseRefName(prefix.endsWith('/') ? `${prefix}x` : prefix);
  return prefix;
}

/**
 * Accepts `[+]<from>:<to>` of full reference names, each with at most one `*` as its last part.
 * @throws GitError `InvalidName`
 */
export function parseRefspec(refspec: string): string {
  const [from, to, ...rest] = refspec.replace(/^\+/, '').split(':');
  if (from === undefined || to === undefined || rest.length > 0 || hasStar(from) !== hasStar(to)) {
    return invalid(`${JSON.stringify(refspec.slice(0, 200))} is not a refspec`, 'Write it as +refs/heads/main:refs/remotes/origin/main.');
  }
  for (const side of [from, to]) parseRefName(side.replace(STAR, '$1x$2'));
  return refspec;
}

/** One star in the place of a whole part of the name; any other one is refused with the name. */
const STAR = /(\/)\*(\/|$)/;

function hasStar(side: string): boolean {
  return STAR.test(side);
}
