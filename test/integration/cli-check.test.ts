import { chmod, mkdir, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Finding } from '../../src/core/proposal/finding.ts';
import { createSshKey, runProgram, type SshKey } from '../fakes/git-repository.ts';
import { doc, World, yamlOf } from '../fakes/world.ts';
import { cloneFor, json, putImage, type Clone } from './cli-fixture.ts';

let world: World;
let bob: Clone;
let keys: string;
let stranger: SshKey;
let expired: SshKey;
let bot: SshKey;
beforeAll(async () => {
  keys = await mkdtemp(join(tmpdir(), 'stella-check-'));
  [stranger, expired, bot] = await Promise.all(['stranger', 'expired', 'bot'].map((name) => createSshKey(keys, name))) as [SshKey, SshKey, SshKey];
  world = await World.create({ documents: [
    doc('Principal', 'erin', { type: 'person', keys: [{ key: expired.publicKey, status: 'active', notAfter: '2026-11-10T00:00:00Z' }], roles: [{ role: 'dev' }] }),
    doc('Principal', 'bot', { type: 'service', keys: [{ key: bot.publicKey, status: 'active' }] }),
  ] });
  await putImage(world, 'shop/api', '1.0', 'one');
  await world.commit([doc('Release', 'shop/1.0', { components: { api: { tag: '1.0' } } }), doc('Promotion', 'dev/shop', { release: '1.0' })], { by: world.people.alice });
  await world.settle();
  bob = await cloneFor(world, world.people.bob);
}, 60_000);
afterAll(async () => {
  await world.close();
  await rm(keys, { recursive: true, force: true });
});

type Checked = { readonly ok: boolean; readonly commits: number; readonly findings: readonly Finding[]; readonly code: number };
type Change = { readonly files: Readonly<Record<string, string>>; readonly key?: SshKey | null; readonly message?: string };

/** A branch of commits on the target branch. */
async function branch(name: string, ...changes: readonly Change[]): Promise<void> {
  await bob.git('switch', '-q', '-C', name, 'origin/main');
  for (const { files, key = world.people.bob, message = 'Change' } of changes) {
    for (const [path, text] of Object.entries(files)) {
      await mkdir(dirname(join(bob.folder, path)), { recursive: true });
      await writeFile(join(bob.folder, path), text);
    }
    await bob.git('add', '-A');
    await bob.git('-c', `user.signingKey=${key?.privateKeyPath ?? ''}`, 'commit', '-q', key === null ? '--no-gpg-sign' : '-S', '--allow-empty', '-m', message);
  }
}

async function check(...args: readonly string[]): Promise<Checked> {
  const result = await bob.stella(['check', ...args, '-o', 'json']);
  return { ...json<Omit<Checked, 'code'>>(result), code: result.code };
}

const codes = ({ findings }: Checked, severity: Finding['severity'] = 'refused'): readonly string[] => findings.filter((f) => f.severity === severity).map((f) => f.code);
const prod = yamlOf(doc('Promotion', 'prod/shop', { release: '1.0' }));

describe('stella check', () => {
  it('finds nothing in a signed request, and says what it waits for', async () => {
    await branch('good', { files: { 'promotions/prod/shop.yaml': prod } });
    const checked = await check('good');
    expect(checked).toMatchObject({ ok: true, code: 0, commits: 1 });
    expect(codes(checked)).toEqual([]);
    expect(codes(checked, 'waits')).toEqual(['ApprovalsMissing']);
    expect(checked.findings.find((f) => f.code === 'ApprovalsMissing')).toMatchObject({ file: 'promotions/prod/shop.yaml', line: 1, subject: 'Promotion/prod/shop', command: expect.stringMatching(/^stella approve [0-9a-f]{12}$/) as string });
    expect((await check('good', '--to', 'main')).code).toBe(1);
  });

  it('names the commit that nobody answers for, and the command that adopts the request', async () => {
    await branch('unsigned', { files: { 'promotions/prod/shop.yaml': prod }, key: null });
    const checked = await check('unsigned');
    expect(checked.code).toBe(1);
    expect([...codes(checked)].sort()).toEqual(['RequesterUnknown', 'Unsigned']);
    expect(checked.findings.find((f) => f.code === 'Unsigned')?.commit).toBe(await bob.git('rev-parse', 'unsigned'));
    expect(checked.findings.find((f) => f.code === 'RequesterUnknown')?.command).toBe('stella promote --adopt prod/shop');
  });

  it('knows a key of nobody, and does not mind it where nobody has to answer', async () => {
    await branch('stranger', { files: { 'promotions/prod/shop.yaml': prod }, key: stranger });
    expect([...codes(await check('stranger'))].sort()).toEqual(['KeyUnknown', 'RequesterUnknown']);
    await branch('elsewhere', { files: { 'notes.txt': 'by a stranger' }, key: stranger });
    expect(await check('elsewhere')).toMatchObject({ code: 0, findings: [] });
  });

  it('knows a key that has expired, and one of a service', async () => {
    await branch('expired', { files: { 'promotions/prod/shop.yaml': prod }, key: expired });
    const checked = await check('expired');
    expect(checked.findings.find((f) => f.code === 'KeyExpired')).toMatchObject({ severity: 'refused', commit: await bob.git('rev-parse', 'expired') });
    await branch('bot', { files: { 'promotions/prod/shop.yaml': prod }, key: bot });
    expect([...codes(await check('bot'))].sort()).toEqual(['NotAPerson', 'RequesterUnknown']);
  });

  it('knows a header that makes a signature worthless', async () => {
    await branch('headers', { files: { 'notes.txt': 'x' } });
    const raw = (await bob.git('cat-file', 'commit', 'headers')).replace(/^committer .*$/m, (line) => `${line}\ngpgsig-x forged`);
    const forged = (await runProgram('git', ['-C', bob.folder, 'hash-object', '-t', 'commit', '-w', '--stdin', '--literally'], { input: `${raw}\n` })).toString().trim();
    const checked = await check(forged);
    expect(codes(checked)).toEqual(['HeaderUnknown']);
    expect(checked.findings[0]).toMatchObject({ commit: forged });
  });

  it('names a protected change that lacks its quorum, and accepts the trailer of somebody entitled', async () => {
    const environment = { 'environments/qa.yaml': `# why\n---\n${yamlOf(doc('Environment', 'qa', { order: 7 }))}` };
    await branch('protected', { files: environment, key: world.people.carol });
    const checked = await check('protected');
    expect(codes(checked)).toEqual(['ChangePending']);
    const [pending] = checked.findings;
    expect(pending).toMatchObject({ file: 'environments/qa.yaml', subject: 'Environment/qa', code: 'ChangePending' });
    const digest = /sha256:[0-9a-f]{64}/.exec(pending!.command!)![0];
    await branch('trailer', { files: environment, message: `Add qa\n\nStella-Change: ${digest}` });
    expect(await check('trailer')).toMatchObject({ code: 0 });
    await branch('wrong', { files: environment, message: `Add qa\n\nStella-Change: sha256:${'0'.repeat(64)}` });
    expect([...codes(await check('wrong'))].sort()).toEqual(['ChangePending', 'OtherDigest']);
    await branch('quoted', { files: environment, message: `Add qa\n\nStella-Change: ${digest}\nas discussed` });
    expect([...codes(await check('quoted'))].sort()).toEqual(['ChangePending', 'TrailerUnreadable']);
  });

  it('names file and line of a document with a fault, and not the faults that were there before', async () => {
    await branch('faulty', { files: { 'promotions/prod/shop.yaml': prod.replace('release:', 'relaese:'), 'principals/dave.yaml': yamlOf(doc('Principal', 'dave', { type: 'person', keys: [{ key: world.people.carol.publicKey, status: 'active' }] })) } });
    const checked = await check('faulty');
    expect(checked.code).toBe(1);
    expect(codes(checked)).toEqual(expect.arrayContaining(['UnknownField', 'SharedKey']));
    expect(checked.findings.find((f) => f.code === 'UnknownField')).toMatchObject({ file: 'promotions/prod/shop.yaml', line: 6 });
  });

  it('names an approval by who asked, and one that was edited after it was signed', async () => {
    await branch('own', { files: { 'promotions/prod/shop.yaml': prod } });
    await bob.git('push', '-q', '-f', 'origin', 'own:own');
    expect((await bob.stella(['approve', 'prod/shop', '--yes', '--file', '--ref', 'own'])).code).toBe(0);
    await bob.git('add', '-A');
    await bob.git('commit', '-q', '-S', '-m', 'Approve my own');
    expect(codes(await check('own'))).toEqual(['Requester']);
    const path = (await bob.git('ls-files', 'approvals')).split('\n')[0]!;
    await writeFile(join(bob.folder, path), (await readFile(join(bob.folder, path), 'utf8')).replace('action: approve', 'action: reject'));
    await bob.git('commit', '-q', '-S', '-a', '-m', 'Edit');
    const edited = await check('own');
    expect(codes(edited)).toEqual(['SignatureInvalid']);
    expect(edited.findings.find((f) => f.code === 'SignatureInvalid')).toMatchObject({ file: path, line: 1 });
  });

  it('names a request whose signature is not over what it says now', async () => {
    const signed = yamlOf(await world.promotion('prod', '1.0', { by: world.people.alice }));
    await branch('intent', { files: { 'promotions/prod/shop.yaml': signed } });
    expect(codes(await check('intent'))).toEqual([]);
    await branch('edited', { files: { 'promotions/prod/shop.yaml': signed.replace('release: "1.0"', 'release: "1.0"\n  attempt: 3') } });
    expect(codes(await check('edited'))).toEqual(['SignatureInvalid']);
  });

  it('names the files of a conflict', async () => {
    await branch('conflict', { files: { 'shared.yaml': 'a: 1\n' } });
    await world.commit([], { by: world.people.alice, files: { 'shared.yaml': 'a: 2\n' } });
    await world.settle();
    await bob.git('fetch', '-q', 'origin');
    const checked = await check('conflict');
    expect(checked).toMatchObject({ code: 1, findings: [{ code: 'Conflict', file: 'shared.yaml' }] });
  });

  it('looks at the commits of a range only, and refuses what is no range', async () => {
    await branch('range', { files: { 'a.txt': 'a' } }, { files: { 'b.txt': 'b' } });
    expect((await check('origin/main..range')).commits).toBe(2);
    expect((await check('range~1..range')).commits).toBe(1);
    expect((await check('origin/main')).commits).toBe(0);
    expect((await bob.stella(['check', 'a..b..c'])).code).toBe(2);
    expect((await bob.stella(['check', 'nowhere..range'])).code).toBe(2);
  });

  it('prints places that a terminal makes links of', async () => {
    const text = await bob.stella(['check', 'unsigned']);
    expect(text.stdout).toMatch(/^promotions\/prod\/shop\.yaml:1: refused RequesterUnknown: /m);
    expect(text.stdout).toContain('would be refused');
  });
});

describe('stella check --install-hook', () => {
  const push = async (name: string, to = name): Promise<string> => {
    const bin = join(world.folder, 'bin');
    await mkdir(bin, { recursive: true });
    await writeFile(join(bin, 'stella'), `#!/bin/sh\nexec ${process.execPath} ${join(process.cwd(), 'src/bin/stella.js')} "$@"\n`);
    await chmod(join(bin, 'stella'), 0o755);
    return runProgram('git', ['-C', bob.folder, 'push', '-q', 'origin', `${name}:${to}`], { env: { PATH: `${bin}:${process.env['PATH'] ?? ''}`, HOME: '/nonexistent' } }).then(() => 'pushed', (error: Error) => error.message);
  };

  it('stops a push of what would be refused, lets others through, and asks for all of it on the target branch', async () => {
    const { file } = json<{ file: string }>(await bob.stella(['check', '--install-hook', '-o', 'json']));
    expect((await stat(file)).mode & 0o111).toBe(0o111);
    await branch('hooked', { files: { 'promotions/prod/shop.yaml': prod } });
    expect(await push('hooked')).toBe('pushed');
    expect(await push('hooked', 'main')).toContain('ApprovalsMissing');
    expect(await push('unsigned')).toContain('RequesterUnknown');
    expect(await world.repository.tip('unsigned')).toBeNull();
    expect((await bob.stella(['check', '--install-hook'])).code).toBe(0);
  }, 60_000);

  it('leaves the hook of somebody else alone', async () => {
    const file = join(bob.folder, '.git/hooks/pre-push');
    await writeFile(file, '#!/bin/sh\nexit 0\n');
    expect((await bob.stella(['check', '--install-hook'])).stderr).toContain('pre-push');
    expect(await readFile(file, 'utf8')).toBe('#!/bin/sh\nexit 0\n');
  });
});
