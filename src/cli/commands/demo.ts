import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { CliError, flagOption, textOption, type Command, type ExitCode } from '../command.ts';
import { scenes } from '../demo/scenes.ts';
import { DemoFailure, type Stage } from '../demo/stage.ts';

export type DemoParts = {
  readonly openStage: (options: { readonly folder: string; readonly version: string; readonly environment: Readonly<Record<string, string | undefined>>; readonly pid: number; readonly tell: (line: string) => void }) => Promise<Stage>;
  readonly temporaryFolder: () => string;
};

export const command: Command<DemoParts> = {
  name: 'demo',
  summary: 'Play a team, a server and an agent on this machine, in under a minute',
  usage: ['stella demo [--keep] [--into DIR]'],
  help: `Makes a repository of three people, a server with a database, an agent in a process of its own, and a folder that stands for a
registry; then plays what a team lives through: a release, a promotion, an approval that does not count and one that does, a squash
merge, an edit after an approval, a tampered image, a rollback, and an audit from a fresh clone. Every step is checked: the exit code is
0 only if each went as it says. Nothing is needed but git and ssh-keygen; nothing leaves this machine.

  stella demo           plays and cleans up
  stella demo --keep    leaves everything running and says what to try`,
  options: {
    keep: { type: 'boolean', description: 'Leave server, agent and clones there until interrupted' },
    into: { type: 'string', value: 'DIR', description: 'Where to put everything; a new folder (default: a temporary one)' },
  },
  async run(context, parts): Promise<ExitCode> {
    const { openStage, temporaryFolder } = await parts();
    const given = textOption(context.values, 'into');
    const folder = given === undefined ? await mkdtemp(join(temporaryFolder(), 'stella-demo-')) : resolve(context.cwd, given);
    await mkdir(folder, { recursive: true });
    const keep = flagOption(context.values, 'keep');
    const signal = context.stopSignal();
    const { terminal } = context;
    const began = context.now().getTime();
    const elapsed = (): string => `${((context.now().getTime() - began) / 1000).toFixed(1).padStart(5)} s`;
    const tell = (line: string): void => terminal.line(`         ${terminal.paint('dim', line)}`);
    let stage: Stage | null = null;
    try {
      stage = await openStage({ folder, version: context.version, environment: context.environment, pid: context.pid, tell });
      terminal.line(`${elapsed()}  ${terminal.paint('green', '✓')} ${terminal.paint('bold', 'Repository, keys, database, server and agent are there')}`);
      for (const scene of scenes) {
        if (signal.aborted) throw new CliError('Interrupted', 'The demo was interrupted.');
        const lines: string[] = [];
        await scene.play(stage, (line) => lines.push(line));
        terminal.line(`${elapsed()}  ${terminal.paint('green', '✓')} ${terminal.paint('bold', scene.title)}`);
        lines.forEach(tell);
      }
      terminal.line(`${elapsed()}  Every step went as it says.`);
      if (keep) await linger(terminal, stage, signal);
      return 0;
    } catch (cause) {
      if (!(cause instanceof DemoFailure)) throw cause;
      terminal.line(`${elapsed()}  ${terminal.paint('red', '✗')} ${cause.message}`);
      return 1;
    } finally {
      await stage?.close();
      if (!keep && given === undefined) await rm(folder, { recursive: true, force: true });
    }
  },
};

async function linger(terminal: { line(text?: string): void }, stage: Stage, signal: AbortSignal): Promise<void> {
  terminal.line();
  terminal.line('Still running. In another terminal:');
  terminal.line(`  cd ${stage.folder}/carol && git fetch && git reset --hard origin/main`);
  terminal.line('  stella status             what runs where, and what waits');
  terminal.line('  stella explain prod       why');
  terminal.line('  git log --stat origin/stella/evidence');
  terminal.line(`  curl ${stage.apiUrl}/api/v1/environments`);
  terminal.line('End it with Ctrl-C.');
  await new Promise<void>((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
}
