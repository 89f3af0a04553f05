import { execFileSync, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { chmod, mkdir, mkdtemp, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { requireComponent } from './fakes/components.ts';

const root = fileURLToPath(new URL('..', import.meta.url));

/** A block of commands of the tutorial, and what it must print: lines in this order, `…` for anything. */
type Block = { readonly day: string; readonly line: number; readonly commands: string; readonly expected: string | null };

function blocksOf(page: string): readonly Block[] {
  const fences = [...page.matchAll(/^## (.*)$|^```(sh|text)\n([\s\S]*?)^```$/gm)];
  let day = '';
  return fences.flatMap((fence, i) => {
    const [, heading, language, body = ''] = fence;
    if (heading !== undefined) day = heading;
    if (language !== 'sh') return [];
    const next = fences[i + 1];
    const expected = next?.[2] === 'text' ? (next[3] ?? '') : null;
    return [{ day, line: page.slice(0, fence.index).split('\n').length, commands: body, expected }];
  });
}

/** The lines that are not there in this order. */
function missingIn(printed: string, expected: string): readonly string[] {
  const rows = printed.split('\n');
  let at = 0;
  return expected.trimEnd().split('\n').filter((wanted) => {
    const pattern = new RegExp(wanted.trim().split('…').map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')).join('.*'));
    const found = rows.findIndex((row, i) => i >= at && pattern.test(row));
    if (found >= 0) at = found + 1;
    return found < 0;
  });
}

const END = 'end of block';

/** One shell for the whole week, as the reader has one: variables, functions and what runs in the background stay. */
class Shell {
  readonly #shell: ReturnType<typeof spawn>;
  #printed = '';
  #listen: () => void = () => undefined;

  constructor(cwd: string, environment: Readonly<Record<string, string | undefined>>) {
    this.#shell = spawn('bash', ['--noprofile', '--norc', '-s'], { cwd, env: environment, detached: true, stdio: ['pipe', 'pipe', 'pipe'] });
    const add = (text: Buffer): void => {
      this.#printed += text.toString();
      this.#listen();
    };
    this.#shell.stdout?.on('data', add);
    this.#shell.stderr?.on('data', add);
  }

  /** @returns what it printed, and whether each command of it ended well; what hangs has failed */
  async run(commands: string, withinMs = 100_000): Promise<{ readonly printed: string; readonly failed: string | null }> {
    const from = this.#printed.length;
    this.#shell.stdin?.write(`trap 'echo "${END}: failed: $BASH_COMMAND"' ERR\n{\n${commands}\n} 2>&1\ntrap - ERR\necho '${END}'\n`);
    const timer = { late: false };
    await new Promise<void>((done) => {
      const waits = setTimeout(() => {
        timer.late = true;
        done();
      }, withinMs);
      this.#listen = () => {
        if (!this.#printed.slice(from).includes(`${END}\n`)) return;
        clearTimeout(waits);
        done();
      };
      this.#listen();
    });
    const printed = this.#printed.slice(from).replace(`${END}\n`, '');
    if (timer.late) return { printed, failed: 'it does not end' };
    return { printed, failed: new RegExp(`${END}: failed: (.*)`).exec(printed)?.[1] ?? null };
  }

  /** Ends the shell and everything that it started. */
  close(): void {
    try {
      process.kill(-(this.#shell.pid ?? 0), 'SIGTERM');
    } catch {
      // It has ended by itself.
    }
  }
}

const page = readFileSync(join(root, 'docs/tutorial.md'), 'utf8');
const blocks = blocksOf(page);

describe('docs/tutorial.md', () => {
  let folder = '';
  let shell: Shell | null = null;
  /** What came before did not work, so that what follows cannot. */
  let broken: string | null = null;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'stella-tutorial-'));
    // An embedded Postgres runs as another account where we are root.
    await chmod(folder, 0o755);
    await mkdir(join(folder, 'bin'));
    await symlink(join(root, 'src/bin/stella.js'), join(folder, 'bin', 'stella'));
    const { PATH = '' } = process.env;
    shell = new Shell(folder, { PATH: `${join(folder, 'bin')}:${PATH}`, HOME: folder, GIT_CONFIG_NOSYSTEM: '1', LANG: 'C.UTF-8', STELLA_ENV: 'development' });
  });

  beforeEach((ctx) => requireComponent('umoci', ctx));

  afterAll(async () => {
    shell?.close();
    execFileSync('sleep', ['2']);
    await rm(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 500 });
  });

  it('has commands for each part of the week', () => {
    expect(blocks.length).toBeGreaterThan(19);
    expect(blocks.filter(({ expected }) => expected !== null).length).toBeGreaterThan(13);
    // A command that may fail says with which exit code.
    expect(blocks.filter(({ commands }) => commands.includes('|| true'))).toEqual([]);
  });

  it.each(blocks)('line $line, $day: the commands work as they stand there, and print what it says', { timeout: 120_000 }, async ({ commands, expected }) => {
    expect(broken, 'an earlier block did not work').toBeNull();
    broken = commands;
    const { printed, failed } = (await shell?.run(commands)) ?? { printed: '', failed: 'no shell' };
    expect(failed, printed).toBeNull();
    if (expected !== null) expect(missingIn(printed, expected), printed).toEqual([]);
    broken = null;
  });
});
