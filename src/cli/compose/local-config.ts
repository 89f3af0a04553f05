import { directGitCommands } from '../../adapters/git/git-command.ts';
import { findGitFolder, gitCommand, type GitSettings } from '../../adapters/git/git-folder.ts';
import type { CommandContext } from '../command.ts';

/** A value of the clone's own configuration; never the repository's content, and nobody else's configuration. */
export async function localConfig(context: Pick<CommandContext, 'environment'>, folder: string, name: string): Promise<string | null> {
  const settings: GitSettings = { environment: context.environment, commands: directGitCommands() };
  const { gitFolder } = await findGitFolder(folder, settings);
  const { exitCode, stdout } = await settings.commands.run(gitCommand(settings, ['config', '--local', '--get', name], { gitFolder }));
  return exitCode === 0 && stdout.trim() !== '' ? stdout.trim() : null;
}
