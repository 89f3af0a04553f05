import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, test } from 'vitest';

const LAUNCHER = fileURLToPath(new URL('../../src/bin/stella.js', import.meta.url));
const MANIFEST = fileURLToPath(new URL('../../package.json', import.meta.url));

let root: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'stella-test-launcher-'));
});
afterEach(() => rmSync(root, { recursive: true }));

/** A checkout with the real launcher and another program; `neededMajor` makes the running Node look old. */
function checkout(program: string, neededMajor?: number): string {
  mkdirSync(join(root, 'src', 'bin'), { recursive: true });
  const launcher = join(root, 'src', 'bin', 'stella.js');
  const text = readFileSync(LAUNCHER, 'utf8');
  writeFileSync(launcher, neededMajor === undefined ? text : text.replace(/NEEDED_MAJOR = \d+/, `NEEDED_MAJOR = ${neededMajor}`));
  cpSync(MANIFEST, join(root, 'package.json'));
  writeFileSync(join(root, 'src', 'bin', 'main.ts'), program);
  return launcher;
}

/** Puts a program in the place of the npm package `node`. */
function installNode(script: string): void {
  const folder = join(root, 'node_modules', 'node', 'bin');
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'node'), script);
  chmodSync(join(folder, 'node'), 0o755);
}

test('the version is the one of the package', () => {
  const { version } = JSON.parse(readFileSync(MANIFEST, 'utf8')) as { version: string };
  expect(execFileSync(process.execPath, [LAUNCHER, '--version'], { encoding: 'utf8' })).toBe(`${version}\n`);
});

test('the program gets its arguments and its exit code is passed on', () => {
  const launcher = checkout("export const main = async (argv: string[], env: object, s: any) => { s.stdout.write(argv.join('|')); return 'HOME' in env ? 7 : 8; };");
  const { stdout, status } = spawnSync(process.execPath, [launcher, 'plan', '-o', 'json'], { encoding: 'utf8', env: { HOME: '/' } });
  expect({ stdout, status }).toEqual({ stdout: 'plan|-o|json', status: 7 });
});

test('a program that fails says why and ends with 2', () => {
  const launcher = checkout("export const main = async () => { throw new Error('no such thing'); };");
  const { stderr, status } = spawnSync(process.execPath, [launcher], { encoding: 'utf8', env: {} });
  expect({ stderr, status }).toEqual({ stderr: 'stella: no such thing\n', status: 2 });
});

test('everything that was written arrives before the program ends', () => {
  const launcher = checkout("export const main = async (_: unknown, __: unknown, s: any) => { s.stdout.write('x'.repeat(3_000_000)); return 0; };");
  const { stdout, status } = spawnSync(process.execPath, [launcher], { encoding: 'utf8', maxBuffer: 10_000_000 });
  expect({ length: stdout.length, status }).toEqual({ length: 3_000_000, status: 0 });
});

test('a reader that leaves early is no error', () => {
  const launcher = checkout("export const main = async (_: unknown, __: unknown, s: any) => { for (let i = 0; i < 100_000; i++) s.stdout.write('line\\n'); return 0; };");
  const script = '{ "$1" "$2"; echo "status $?" >&2; } | head -n 1';
  const { stdout, stderr } = spawnSync('sh', ['-c', script, 'sh', process.execPath, launcher], { encoding: 'utf8' });
  expect({ stdout, stderr }).toEqual({ stdout: 'line\n', stderr: 'status 0\n' });
});

test('an old Node hands over to the one of the npm package', () => {
  const launcher = checkout('', 999);
  installNode('#!/bin/sh\nshift\necho "newer: $*"\nexit 5\n');
  const { stdout, status } = spawnSync(process.execPath, [launcher, 'status', 'prod'], { encoding: 'utf8' });
  expect({ stdout, status }).toEqual({ stdout: 'newer: status prod\n', status: 5 });
});

test('an old Node without a newer one names the remedy', () => {
  const launcher = checkout('', 999);
  const { stderr, status } = spawnSync(process.execPath, [launcher, 'status'], { encoding: 'utf8' });
  expect(status).toBe(2);
  expect(stderr).toContain('npm ci');
});

test('a request to end reaches the program behind the hand-over', async () => {
  const launcher = checkout('', 999);
  installNode('#!/bin/sh\ntrap "echo ending; exit 9" TERM\necho ready\nwhile :; do sleep 0.05; done\n');
  const child = spawn(process.execPath, [launcher], { stdio: ['ignore', 'pipe', 'inherit'] });
  let output = '';
  child.stdout.on('data', (chunk: Buffer) => {
    output += chunk.toString();
    if (output === 'ready\n') child.kill('SIGTERM');
  });
  const [code] = (await once(child, 'close')) as [number];
  expect({ code, output }).toEqual({ code: 9, output: 'ready\nending\n' });
});
