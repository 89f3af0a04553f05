import { execFileSync, fork } from 'node:child_process';
import { chownSync } from 'node:fs';
import { mkdir, readdir, rm, writeFile } from 'node:fs/promises';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { directGitCommands } from '../../src/adapters/git/git-command.ts';
import { forkGitLauncher } from '../../src/adapters/git/git-launcher.ts';
import { hardenedEnvironment } from '../../src/adapters/git/hardened-git.ts';
import { openMirror, type Mirror, type MirrorOptions } from '../../src/adapters/git/mirror.ts';
import { createRepository, createTemporaryFolder, type TestRepository } from '../fakes/git-repository.ts';

const settings = { environment: { PATH: process.env['PATH'], HOME: process.env['HOME'] }, commands: directGitCommands() };
const FETCH = ['+refs/heads/*:refs/remotes/origin/*'];
const open: (() => Promise<unknown>)[] = [];

afterEach(async () => {
  for (const close of open.splice(0).reverse()) await close();
});

async function setUp(): Promise<{ repository: TestRepository; folder: string; reopen: (more?: Partial<MirrorOptions>) => Promise<Mirror> }> {
  const repository = await createRepository();
  const folder = await createTemporaryFolder();
  open.push(() => repository.remove(), () => rm(folder, { recursive: true, force: true }));
  const reopen = async (more: Partial<MirrorOptions> = {}): Promise<Mirror> => {
    const mirror = await openMirror({ folder, url: repository.folder, settings, ownPid: process.pid, ...more });
    open.push(() => mirror.close());
    return mirror;
  };
  return { repository, folder, reopen };
}

describe('a mirror', () => {
  it('is made once and found again, without contacting anybody', async () => {
    const { repository, folder, reopen } = await setUp();
    const tip = await repository.commit({ files: { a: '1' } });
    const first = await reopen();
    expect(first.isNew).toBe(true);
    await first.remote.fetch(FETCH);
    await first.close();
    const again = await reopen({ url: join(folder, 'nobody-is-here') });
    expect(again.isNew).toBe(false);
    expect(await again.reader.resolveRef('refs/remotes/origin/main')).toBe(tip);
  });

  it('removes what crashed git processes left, and nothing else', async () => {
    const { repository, reopen } = await setUp();
    const tip = await repository.commit({ files: { a: '1' } });
    const first = await reopen();
    await first.remote.fetch(FETCH);
    await first.repack();
    await first.close();
    const packName = 'a'.repeat(40);
    const leftovers: Record<string, string> = {
      'HEAD.lock': '',
      'objects/aa/tmp_obj_x1': 'half',
      'objects/incoming-abc/pack/tmp_pack_1': 'half',
      'objects/pack/tmp_pack_2': 'half',
      [`objects/pack/pack-${packName}.keep`]: 'fetch-pack 123 on host',
      [`objects/pack/pack-${packName}.pack`]: 'PACK',
      'objects/tmp_obj_0011': 'half',
      'packed-refs.lock': '',
      'refs/remotes/origin/main.lock': '',
    };
    for (const [path, content] of Object.entries(leftovers)) {
      await mkdir(join(first.gitFolder, path, '..'), { recursive: true });
      await writeFile(join(first.gitFolder, path), content);
    }
    await writeFile(join(first.gitFolder, 'objects/pack/pack-mine.keep'), 'kept by a person');
    const again = await reopen();
    expect(again.isNew).toBe(false);
    const left = await readdir(again.gitFolder, { recursive: true });
    expect(left.filter((path) => path in leftovers)).toEqual([]);
    expect(left).toContain('objects/pack/pack-mine.keep');
    expect(again.removedLeftovers).toContain('refs/remotes/origin/main.lock');
    expect((await again.reader.readCommits([tip])).get(tip)?.ok).toBe(true);
    const next = await repository.commit({ files: { a: '2' } });
    expect(await again.remote.fetch(FETCH)).toEqual({ ok: true });
    expect(await again.reader.resolveRef('refs/remotes/origin/main')).toBe(next);
  });

  it.each<[string, (gitFolder: string) => Promise<unknown>]>([
    ['lost its HEAD', (gitFolder) => rm(join(gitFolder, 'HEAD'))],
    ['lost its objects', (gitFolder) => rm(join(gitFolder, 'objects'), { recursive: true })],
    ['has an emptied reference', (gitFolder) => writeFile(join(gitFolder, 'refs/remotes/origin/main'), '')],
    ['has a broken configuration', (gitFolder) => writeFile(join(gitFolder, 'config'), '[core\n')],
    ['was only half made', async (gitFolder) => { await rm(gitFolder, { recursive: true }); await mkdir(gitFolder); }],
  ])('that %s is made again', async (_name, damage) => {
    const { repository, reopen } = await setUp();
    const tip = await repository.commit({ files: { a: '1' } });
    const first = await reopen();
    await first.remote.fetch(FETCH);
    await first.close();
    await damage(first.gitFolder);
    const again = await reopen();
    expect(again.isNew).toBe(true);
    expect(await again.remote.fetch(FETCH)).toEqual({ ok: true });
    expect((await again.reader.readTree(tip)).entries.map((entry) => entry.path)).toEqual(['a']);
  });

  it('belongs to one living process', async () => {
    const { folder, reopen } = await setUp();
    const first = await reopen();
    await expect(reopen()).rejects.toMatchObject({ code: 'MirrorBusy' });
    await first.close();
    await (await reopen()).close();
    // A dead process, and one whose number another process has by now.
    for (const held of ['999999999 1\n', `${process.ppid} 1\n`, 'rubbish', '']) {
      await writeFile(join(folder, 'lock'), held);
      await (await reopen()).close();
    }
  });

  it('reads a repository of another owner, because the operator named it', async (context) => {
    if (userInfo().uid !== 0) return context.skip('needs root to give a repository to another owner');
    const { repository, reopen } = await setUp();
    const tip = await repository.commit({ files: { a: '1' } });
    for (const path of ['', ...(await readdir(repository.folder, { recursive: true }))]) chownSync(join(repository.folder, path), 65534, 65534);
    const mirror = await reopen();
    expect(await mirror.remote.fetch(FETCH)).toEqual({ ok: true });
    expect(await mirror.reader.resolveRef('refs/remotes/origin/main')).toBe(tip);
  });

  it('refuses objects that do not pass fsck', async () => {
    const { repository, reopen } = await setUp();
    const tree = await repository.git(['mktree'], '');
    const forged = await repository.git(['hash-object', '-t', 'commit', '-w', '--literally', '--stdin'], `tree ${tree}\ntree ${tree}\nauthor a <a> 1 +0000\ncommitter a <a> 1 +0000\n\nx\n`);
    await repository.git(['update-ref', 'refs/heads/main', forged]);
    const mirror = await reopen();
    expect(await mirror.remote.fetch(FETCH)).toMatchObject({ ok: false, code: 'BadObjects' });
    expect(await mirror.reader.resolveRef('refs/remotes/origin/main')).toBeNull();
  });

  it('does not run hooks, neither those of the mirror nor those that its configuration names', async () => {
    const { repository, folder, reopen } = await setUp();
    const tip = await repository.commit({ files: { a: '1' } });
    const mirror = await reopen();
    await mkdir(join(mirror.gitFolder, 'hooks'), { recursive: true });
    for (const hook of ['pre-push', 'reference-transaction', 'post-update']) {
      await writeFile(join(mirror.gitFolder, 'hooks', hook), `#!/bin/sh\ntouch ${join(folder, 'hook-ran')}\n`, { mode: 0o755 });
    }
    await repository.git(['--git-dir', mirror.gitFolder, 'config', 'core.hooksPath', join(mirror.gitFolder, 'hooks')]);
    await mirror.remote.fetch(FETCH);
    expect(await mirror.remote.push([{ ref: 'refs/heads/copy', from: null, to: tip }])).toEqual({ ok: true });
    expect(await readdir(folder)).not.toContain('hook-ran');
  });
});

describe('the launcher process', () => {
  const command = (args: readonly string[], timeoutMs = 20_000) => {
    const gitFolder = execFileSync('git', ['rev-parse', '--absolute-git-dir'], { encoding: 'utf8' }).trim();
    return { folder: gitFolder, args, environment: hardenedEnvironment(settings.environment, { gitFolder }), timeoutMs };
  };

  it('answers as a direct start does: output, exit code and what git says', async () => {
    const launcher = forkGitLauncher();
    open.push(() => launcher.close());
    for (const args of [['rev-parse', 'HEAD'], ['rev-parse', '--verify', 'refs/heads/no-such'], ['merge-base', '--is-ancestor', 'HEAD', 'HEAD'], ['cat-file', '-e', '1'.repeat(40)]]) {
      expect(await launcher.run(command(args))).toEqual(await directGitCommands().run(command(args)));
    }
  });

  it.each([['the launcher', forkGitLauncher], ['a direct start', directGitCommands]] as const)('ends a command that says nothing for too long, through %s', async (_name, start) => {
    const commands = start();
    open.push(() => commands.close());
    await expect(commands.run({ ...command(['ls-remote', 'ssh://127.0.0.1:9/x'], 500), environment: { ...command([]).environment, GIT_SSH_COMMAND: 'sleep 30 #' } })).rejects.toMatchObject({ code: 'Timeout' });
  });

  it('refuses commands after close', async () => {
    const launcher = forkGitLauncher();
    await launcher.close();
    await expect(launcher.run(command(['rev-parse', 'HEAD']))).rejects.toMatchObject({ code: 'Closed' });
  });

  it('ends with its parent, even one that was killed', async () => {
    const folder = await createTemporaryFolder();
    open.push(() => rm(folder, { recursive: true, force: true }));
    const program = join(folder, 'parent.ts');
    const launcherUrl = new URL('../../src/adapters/git/git-launcher.ts', import.meta.url).href;
    await writeFile(program, `import { forkGitLauncher } from ${JSON.stringify(launcherUrl)};\nconst launcher = forkGitLauncher();\nawait launcher.run(${JSON.stringify(command(['rev-parse', 'HEAD']))});\nprocess.send!('ready');\nsetInterval(() => undefined, 1000);\n`);
    const parent = fork(program, { execArgv: [], stdio: ['ignore', 'ignore', 'inherit', 'ipc'] });
    await new Promise<void>((resolve) => parent.once('message', () => resolve()));
    const launcherPid = Number(execFileSync('ps', ['-o', 'pid=', '--ppid', String(parent.pid)], { encoding: 'utf8' }).trim().split('\n')[0]);
    parent.kill('SIGKILL');
    await expect.poll(() => isAlive(launcherPid), { timeout: 10_000 }).toBe(false);
  });
});

function isAlive(pid: number): boolean {
  return execFileSync('ps', ['-o', 'stat=,pid=', '-A'], { encoding: 'utf8' }).split('\n').some((line) => line.trim().endsWith(` ${pid}`) && !line.trim().startsWith('Z'));
}
