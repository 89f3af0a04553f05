import { spawn } from 'node:child_process';
import { chmod, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

export type ScriptResult = { readonly code: number | null; readonly stdout: string; readonly stderr: string };

const program = fileURLToPath(new URL('../../src/bin/stella.js', import.meta.url));

/** Runs a script as pipelines do: bash that stops at the first failure, with `stella` on the path and a home folder of its own in `scratch`. */
export async function runScript(script: string, { folder, scratch, environment }: { readonly folder: string; readonly scratch: string; readonly environment: Readonly<Record<string, string>> }): Promise<ScriptResult> {
  const tools = join(scratch, 'bin');
  await mkdir(tools, { recursive: true });
  const stella = join(tools, 'stella');
  await writeFile(stella, `#!/bin/sh\nexec "${process.execPath}" "${program}" "$@"\n`);
  await chmod(stella, 0o755);
  const env = { PATH: `${tools}:${process.env['PATH'] ?? ''}`, HOME: scratch, GIT_CONFIG_NOSYSTEM: '1', NO_COLOR: '1', ...environment };
  const child = spawn('bash', ['--noprofile', '--norc', '-eo', 'pipefail', '-c', script], { cwd: folder, env, stdio: ['ignore', 'pipe', 'pipe'] });
  const [stdout, stderr]: [Buffer[], Buffer[]] = [[], []];
  child.stdout.on('data', (chunk: Buffer) => stdout.push(chunk));
  child.stderr.on('data', (chunk: Buffer) => stderr.push(chunk));
  const code = await new Promise<number | null>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', resolve);
  });
  return { code, stdout: Buffer.concat(stdout).toString(), stderr: Buffer.concat(stderr).toString() };
}
