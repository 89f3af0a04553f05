import { simpleGit, type SimpleGitOptions } from 'simple-git';
import { GitError } from '../../ports/git-reader.ts';
import { cannotStart, silentTooLong, type GitCommand, type GitCommandResult } from './git-command.ts';
import type { LaunchReply, LaunchRequest } from './git-launcher.ts';
import { gitVariableNames } from './hardened-git.ts';

/** simple-git refuses these by default, for callers who pass on what users type. Here they all come from `hardened-git.ts`. */
const SET_BY_US: NonNullable<SimpleGitOptions['unsafe']> = {
  allowUnsafeAskPass: true,
  allowUnsafeConfigEnvCount: true,
  allowUnsafeConfigPaths: true,
  allowUnsafeCredentialHelper: true,
  allowUnsafeFsMonitor: true,
  allowUnsafeHooksPath: true,
  allowUnsafeProtocolOverride: true,
  allowUnsafeSshCommand: true,
  allowUnsafeTemplateDir: true,
};

async function run(command: GitCommand, abort: AbortSignal): Promise<GitCommandResult> {
  let ended: GitCommandResult | null = null;
  const git = simpleGit({
    baseDir: command.folder,
    abort,
    timeout: { block: command.timeoutMs },
    allowEnvironment: gitVariableNames(command.environment),
    unsafe: SET_BY_US,
    completion: { onClose: true, onExit: false },
    // simple-git makes one text of both outputs; a refusal has to be told apart from what git says beside it.
    errors(error, { exitCode, stdOut, stdErr }) {
      ended = { exitCode, stdout: Buffer.concat(stdOut).toString(), stderr: Buffer.concat(stdErr).toString() };
      return error;
    },
  }).env({ ...command.environment });
  try {
    await git.raw([...command.args]);
  } catch (error) {
    if (ended === null || (error as { plugin?: string }).plugin === 'timeout') throw asGitError(error, command);
  }
  return ended ?? { exitCode: 255, stdout: '', stderr: '' };
}

function asGitError(error: unknown, command: GitCommand): GitError {
  const plugin = (error as { plugin?: string }).plugin;
  if (plugin === 'timeout') return silentTooLong(command);
  if (plugin === 'abort') return new GitError('Closed', 'The command was ended because the server stops.');
  const text = error instanceof Error ? error.message : String(error);
  return text.includes('ENOENT') ? cannotStart(error) : new GitError('ProcessFailed', `git ${command.args[0] ?? ''} could not be run: ${text}`);
}

/** Answers requests until the parent is gone; then ends what is running and, with nothing left to do, itself. */
function serve(): void {
  const abort = new AbortController();
  process.on('disconnect', () => abort.abort());
  process.on('message', ({ id, command }: LaunchRequest) => {
    const answer = (reply: LaunchReply): void => {
      if (process.connected) process.send?.(reply);
    };
    run(command, abort.signal).then(
      (result) => answer({ id, ok: true, result }),
      (error: unknown) => answer({ id, ok: false, code: error instanceof GitError ? error.code : 'ProcessFailed', message: error instanceof Error ? error.message : String(error) }),
    );
  });
}

serve();
