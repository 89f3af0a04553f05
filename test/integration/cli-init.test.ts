import { spawnSync } from 'node:child_process';
import { createPrivateKey } from 'node:crypto';
import { appendFile, mkdir, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { directGitCommands } from '../../src/adapters/git/git-command.ts';
import { openMirror } from '../../src/adapters/git/mirror.ts';
import { createDocumentParser } from '../../src/adapters/yaml/document-parser.ts';
import { commands } from '../../src/bin/main.ts';
import { renderHelp } from '../../src/cli/parse-arguments.ts';
import { parseServerConfig } from '../../src/config/server.ts';
import type { Digest } from '../../src/core/model/digest.ts';
import { Reconciler } from '../../src/reconciler/reconciler.ts';
import { createSshKey, createTemporaryFolder, runProgram, signWithSsh, type SshKey } from '../fakes/git-repository.ts';
import { EVIDENCE_REF, recordSignerOf, TARGET_REF } from '../fakes/world.ts';
import { json, stella } from './cli-fixture.ts';
import { openPgp } from '../fakes/openpgp.ts';

let folder: string;
let alice: SshKey;
let bob: SshKey;
beforeAll(async () => {
  folder = await createTemporaryFolder();
  [alice, bob] = await Promise.all([createSshKey(folder, 'alice'), createSshKey(folder, 'bob')]);
});
afterAll(() => rm(folder, { recursive: true, force: true }));

type Made = { readonly folder: string; readonly keysFolder: string; readonly pin: Digest; readonly commit: string; readonly configuration: string; readonly alone: boolean };
const init = (name: string, ...args: readonly string[]) => stella(['init', name, '-C', folder, '--name', 'alice', '--key', alice.privateKeyPath, '-o', 'json', ...args]);

/** Begins the log of what `init` wrote, with the keys that it made, and returns what the pass says. */
async function beginLog(made: Made): Promise<{ readonly ok: boolean; readonly fault: unknown }> {
  const settings = { environment: { PATH: process.env['PATH'] }, commands: directGitCommands() };
  const mirror = await openMirror({ folder: `${made.folder}-mirror`, url: made.folder, settings, ownPid: process.pid });
  const { reader, remote, writer } = mirror;
  const commits: SshKey = { name: 'evidence', privateKeyPath: join(made.keysFolder, 'evidence-commits'), publicKeyPath: '', publicKey: '' };
  const decisions = createPrivateKey(await readFile(join(made.keysFolder, 'decisions.pem')));
  const reconciler = new Reconciler({
    openPgp,
    reader, remote, evidence: { reader, remote, branch: writer.openBranch(EVIDENCE_REF) }, parser: createDocumentParser(), registry: () => Promise.reject(new Error('no registry')),
    signers: { records: recordSignerOf(decisions), commits: (payload) => signWithSsh(commits, payload) }, ledger: null, executor: null, now: () => new Date(), engineVersion: 'test',
    targetRef: TARGET_REF, pin: made.pin, createLog: true, author: { name: 'stella', email: 'stella@example.test' }, tagPollSeconds: 1_000_000,
  });
  const { ok, fault } = await reconciler.pass();
  await mirror.close();
  return { ok, fault };
}

describe('stella init', () => {
  it('alone writes a repository that lints clean, begins a log and verifies under the printed pin', async () => {
    const result = await init('solo', '--alone');
    expect(result).toMatchObject({ code: 0, stderr: '' });
    const made = json<Made>(result);
    const at = ['-C', made.folder];
    expect(json(await stella(['lint', '-o', 'json', ...at]))).toMatchObject({ ok: true, diagnostics: [] });
    expect(await beginLog(made)).toEqual({ ok: true, fault: null });
    expect(json(await stella(['verify', '-o', 'json', ...at]))).toMatchObject({ ok: true, logId: made.pin, counts: { records: 2 } });
    const status = json<{ warnings: readonly string[] }>(await stella(['status', '-o', 'json', ...at]));
    expect(status.warnings).toEqual([expect.stringContaining('off in prod'), expect.stringContaining('protected documents')]);
    expect(await readFile(join(made.folder, 'trust/root.yaml'), 'utf8')).toContain('# SEPARATION OF DUTIES IS OFF');
    expect(await readFile(join(made.folder, 'environments/prod.yaml'), 'utf8')).toContain('authorNeverApproves: false');
  });

  it('signs the first commit with the key that it made a principal of', async () => {
    const made = json<Made>(await init('signed', '--alone'));
    const signers = join(folder, 'signers');
    await writeFile(signers, `alice ${alice.publicKey}\n`);
    const verify = runProgram('git', ['-C', made.folder, '-c', `gpg.ssh.allowedSignersFile=${signers}`, 'verify-commit', made.commit]);
    await expect(verify).resolves.toBeDefined();
    expect((await runProgram('git', ['-C', made.folder, 'status', '--porcelain'])).toString()).toBe('');
  });

  it('for a team turns separation on and lets nobody below the root turn it off', async () => {
    const made = json<Made>(await init('team', '--team', `bob=${bob.publicKeyPath}`));
    const root = await readFile(join(made.folder, 'trust/root.yaml'), 'utf8');
    expect(root).toContain('proposerCounts: false');
    expect(root).toContain('threshold: 2');
    expect(root).toContain('minimums:');
    expect(await readFile(join(made.folder, 'environments/prod.yaml'), 'utf8')).not.toContain('authorNeverApproves');
    expect((await stella(['lint', '-C', made.folder])).code).toBe(0);
  });

  it('asks a person whether they are alone', async () => {
    const args = ['init', 'asked', '-C', folder, '--key', alice.privateKeyPath, '--name', 'alice'];
    const result = await stella(args, { answers: 'y\n' });
    expect(result.code).toBe(0);
    expect(result.stderr).toContain('alone');
    expect((await stella(['init', 'unasked', '-C', folder, '--key', alice.privateKeyPath])).code).toBe(2);
  });

  it('makes the keys of the server outside of the repository, for nobody else to read, with a configuration that a server takes', async () => {
    const made = json<Made>(await init('keys', '--alone'));
    for (const name of ['decisions.pem', 'agent-ca.pem', 'evidence-commits', 'agent-host-1/identity.key']) {
      expect((await stat(join(made.keysFolder, name))).mode & 0o777).toBe(0o600);
    }
    expect((await stat(made.keysFolder)).mode & 0o777).toBe(0o700);
    expect(JSON.parse(await readFile(join(made.keysFolder, 'agent-host-1/agent.json'), 'utf8'))).toEqual({ name: 'host-1', server: null, genesis: null });
    const parsed = parseServerConfig(await readFile(made.configuration, 'utf8'), {}, { folder: made.keysFolder });
    expect(parsed).toMatchObject({ ok: true, config: { genesis: made.pin, keys: { decisions: join(made.keysFolder, 'decisions.pem') } } });
  });

  it('overwrites nothing, and leaves nothing behind when it refuses', async () => {
    await mkdir(join(folder, 'used'));
    await writeFile(join(folder, 'used', 'a.txt'), 'mine');
    expect((await init('used', '--alone')).code).toBe(2);
    expect(await readdir(join(folder, 'used'))).toEqual(['a.txt']);
    expect((await init('inside', '--alone', '--keys-folder', 'inside/keys')).code).toBe(2);
    const twice = await init('twice', '--team', `bob=${alice.publicKeyPath}`);
    expect(twice.code).toBe(2);
    expect(twice.stderr).toContain('SharedKey');
    const names = await readdir(folder);
    expect(names.filter((n) => /^(inside|twice|used-keys)/.test(n))).toEqual([]);
  });
});

describe('stella lint', () => {
  it('names file, line and column of what is wrong in the working tree, committed or not', async () => {
    const made = json<Made>(await init('faults', '--alone'));
    await appendFile(join(made.folder, 'environments/dev.yaml'), '  colour: red\n');
    await writeFile(join(made.folder, 'promotion.yaml'), 'apiVersion: stella/v1alpha1\nkind: Promotion\nmetadata:\n  name: dev/hello\nspec:\n  release: 9.9.9\n');
    const result = await stella(['lint', '-C', made.folder, '-o', 'json']);
    expect(result.code).toBe(1);
    const { diagnostics } = json<{ diagnostics: readonly { code: string; file: string; line: number; column: number }[] }>(result);
    expect(diagnostics).toContainEqual(expect.objectContaining({ code: 'UnknownField', file: 'environments/dev.yaml', line: 9, column: 3 }));
    expect(diagnostics).toContainEqual(expect.objectContaining({ code: 'DanglingReference', file: 'promotion.yaml', line: 6 }));
    expect((await stella(['lint', '-C', made.folder])).stdout).toContain('environments/dev.yaml:9:3: error UnknownField');
    expect((await stella(['lint', '-C', made.folder, '--ref', 'HEAD'])).code).toBe(0);
  });
});

describe('the command line', () => {
  it('lists every command with the summary that the command itself has', async () => {
    for (const { name, summary, load } of commands) {
      const { command } = await load();
      expect({ name: command.name, summary: command.summary }).toEqual({ name, summary });
    }
    const { stdout, code } = await stella(['--help']);
    expect(code).toBe(0);
    for (const { name, summary } of commands) expect(stdout).toMatch(new RegExp(`^ {2}${name} +${summary}$`, 'm'));
  });

  it('teaches each command: what it does, an example, its exit codes and all of its options', async () => {
    for (const { name, load } of commands) {
      const { command } = await load();
      const { stdout, code } = await stella([name, '--help']);
      expect({ code, stdout }).toEqual({ code: 0, stdout: renderHelp(command) });
      expect(stdout).toMatch(/stella /);
    }
  });

  it('is described in docs/cli.md as its commands describe themselves', async () => {
    const parts = ['# The command line', 'What `stella <command> --help` says, on one page. Exit codes: 0 yes or no change, 1 no, changes or refused, 2 error.\n\nWhat a command judges it reads from the clone and its verified evidence branch. The log that it trusts is pinned in the\nconfiguration of the clone (`git config stella.genesis`), in `STELLA_GENESIS`, or by `--genesis`; never in the repository.'];
    for (const { name, load } of commands) parts.push(`## stella ${name}`, `\`\`\`text\n${renderHelp((await load()).command)}\`\`\``);
    await expect(`${parts.join('\n\n')}\n`).toMatchFileSnapshot('../../docs/cli.md');
  });

  it('suggests the command that was probably meant', async () => {
    expect((await stella(['aprove'])).stderr).toContain('stella approve');
    expect((await stella(['xyzzy'])).stderr).toContain('stella --help');
    expect((await stella(['lint', '--nothing'])).code).toBe(2);
    expect((await stella([])).code).toBe(2);
  });

  it('shows where an error came from only to those who ask', async () => {
    const args = ['lint', '-C', join(folder, 'nowhere')];
    expect((await stella(args)).stderr).not.toContain('    at ');
    expect((await stella(args, { environment: { STELLA_DEBUG: '1' } })).stderr).toContain('    at ');
  });

  it('loads neither parsers nor servers to show its help', () => {
    const mainFile = fileURLToPath(new URL('../../src/bin/main.ts', import.meta.url));
    const script = `
      import { registerHooks } from 'node:module';
      const seen = [];
      registerHooks({ resolve(specifier, context, next) { const found = next(specifier, context); seen.push(found.url); return found; } });
      const { main } = await import(${JSON.stringify(mainFile)});
      await main(['--help'], {}, { stdin: process.stdin, stdout: { write() {} }, stderr: process.stderr });
      process.stdout.write(JSON.stringify(seen));`;
    const { stdout, stderr, status } = spawnSync(process.execPath, ['--input-type=module', '-e', script], { encoding: 'utf8' });
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    const loaded = JSON.parse(stdout) as readonly string[];
    expect(loaded.filter((url) => /node_modules|\/adapters\/|\/compose\/|\/commands\//.test(url))).toEqual([]);
    expect(loaded.some((url) => url.endsWith('/bin/main.ts'))).toBe(true);
  });
});
