import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { parse, stringify } from 'yaml';
import { allInForce, appStateOf, inForceOf } from '../../src/core/evidence/log-state.ts';
import type { Digest } from '../../src/core/model/digest.ts';
import { documentDigest, type DocumentOf } from '../../src/core/model/documents.ts';
import { runProgram } from '../fakes/git-repository.ts';
import { doc, World } from '../fakes/world.ts';
import { cloneFor, json, putImage, type Clone } from './cli-fixture.ts';

let world: World;
let bob: Clone;
afterEach(() => world.close());

type Approved = { readonly digest: Digest; readonly branch: string; readonly action: string; readonly remote: string | null };
const RULE = { people: 2, roles: [{ role: 'sre', count: 2 }] };

/** dev runs 1.0, and alice has asked for it in prod, where two of bob, carol must approve. */
async function asked(): Promise<void> {
  world = await World.create({ documents: [doc('Environment', 'prod', { order: 2, from: [{ environment: 'dev' }], approvals: RULE })] });
  await putImage(world, 'shop/api', '1.0', 'one');
  await world.commit([doc('Release', 'shop/1.0', { components: { api: { tag: '1.0' } } }), doc('Promotion', 'dev/shop', { release: '1.0' })], { by: world.people.alice });
  await world.settle();
  await world.commit([await world.promotion('prod', '1.0', { by: world.people.alice })], { by: world.people.alice });
  await world.settle();
  bob = await cloneFor(world, world.people.bob);
}

const approve = async (clone: Clone, ...args: readonly string[]): Promise<Approved> => json<Approved>(await clone.stella(['approve', 'prod/shop', '--yes', '-o', 'json', ...args]));
const running = async (): Promise<string | null> => appStateOf(await world.state(), 'prod', 'shop').release;

describe('stella approve --withdraw', () => {
  beforeEach(asked);

  it('takes a yes back, so that the next one is not enough, until it is given again', async () => {
    const carol = await cloneFor(world, world.people.carol);
    await approve(bob);
    await world.settle();
    await bob.pull();
    expect(await approve(bob, '--withdraw')).toMatchObject({ action: 'withdraw' });
    await world.settle();
    await approve(carol);
    await world.settle();
    expect(await running()).toBeNull();
    await bob.pull();
    const explained = json<readonly { rejected: readonly { code: string; principal: string }[] }[]>(await bob.stella(['explain', 'prod/shop', '-o', 'json']));
    expect(explained[0]!.rejected).toMatchObject([{ principal: 'bob', code: 'Withdrawn' }]);
    const again = await bob.stella(['approve', 'prod/shop', '--yes']);
    expect(again.stderr).toContain('withdrew');
    await world.settle();
    expect(await running()).toBe('1.0');
    expect((await bob.stella(['verify'])).code).toBe(0);
    expect((await bob.stella(['replay'])).code).toBe(0);
  });

  it('reaches an approval that the server has not harvested yet', async () => {
    const { branch, digest } = await approve(bob);
    await bob.git('fetch', '-q', 'origin');
    const withdrawn = await approve(bob, '--withdraw');
    expect(withdrawn).toMatchObject({ digest, action: 'withdraw' });
    expect(withdrawn.branch.startsWith(`${branch}-`)).toBe(true);
    await approve(await cloneFor(world, world.people.carol));
    await world.settle();
    expect(await running()).toBeNull();
  });

  it('has nothing to take back for somebody who said nothing, and takes back nobody else\'s', async () => {
    await approve(bob);
    await world.settle();
    const carol = await cloneFor(world, world.people.carol);
    expect((await carol.stella(['approve', 'prod/shop', '--withdraw', '--yes'])).code).toBe(1);
    expect((await bob.stella(['approve', 'prod/shop', '--withdraw', '--reject', '--yes'])).code).toBe(2);
  });

  it('works while the branch of the clone is in conflict with the target', async () => {
    await approve(bob);
    await world.settle();
    await bob.pull();
    await writeFile(join(bob.folder, 'promotions/prod/shop.yaml'), 'mine\n');
    await bob.git('commit', '-q', '-S', '-a', '-m', 'Mine');
    await world.commit([doc('Promotion', 'prod/shop', { release: '1.0', attempt: 9 })], { by: world.people.alice });
    await world.settle();
    await bob.git('fetch', '-q', 'origin');
    expect((await bob.stella(['explain', 'prod/shop'])).code).toBe(1);
    expect((await approve(bob, '--withdraw')).action).toBe('withdraw');
  });

  it('takes back a yes to protected changes', async () => {
    await world.commit([doc('Environment', 'qa', { order: 7 })], { by: world.people.carol });
    await world.settle();
    await bob.pull();
    const rootQuorum = async (): Promise<readonly string[]> => allInForce(await world.state(), 'Environment').map((e) => e.metadata.name);
    await world.repository.rejectPushes('not now');
    const kept = await bob.stella(['approve', '--pending', '--yes']);
    await world.repository.rejectPushes(null);
    expect(kept).toMatchObject({ code: 2 });
    const withdrawn = await bob.stella(['approve', '--pending', '--withdraw', '--yes', '-o', 'json']);
    expect(json<{ withdrawn: readonly { type: string }[] }>(withdrawn).withdrawn).toMatchObject([{ type: 'change' }]);
    const branches = (await bob.git('for-each-ref', '--format=%(refname)', 'refs/heads/stella/approvals')).split('\n');
    for (const ref of branches) await bob.git('push', '-q', 'origin', `${ref}:${ref}-late`);
    await world.settle();
    expect(await rootQuorum()).not.toContain('qa');
    await bob.pull();
    expect((await bob.stella(['approve', '--pending', '--yes'])).code).toBe(0);
    await world.settle();
    expect(await rootQuorum()).toContain('qa');
  });
});

describe('where an approval goes', () => {
  beforeEach(asked);

  it('is a local branch in a clone without a remote', async () => {
    await bob.git('fetch', '-q', 'origin', '+refs/heads/stella/evidence:refs/heads/stella/evidence');
    await bob.git('remote', 'remove', 'origin');
    const approved = await approve(bob);
    expect(approved.remote).toBeNull();
    expect(await bob.git('cat-file', '-t', `refs/heads/${approved.branch}`)).toBe('commit');
    expect((await bob.stella(['approve', 'prod/shop', '--yes', '--remote', 'nowhere'])).stderr).toContain('nowhere');
  });

  it('is a local branch, which the message names, when the remote does not take it', async () => {
    await world.repository.rejectPushes('the door is shut');
    const refused = await bob.stella(['approve', 'prod/shop', '--yes']);
    expect(refused.code).toBe(2);
    const pushed = /git push origin (\S+)/.exec(refused.stderr)![1]!;
    await world.repository.rejectPushes(null);
    await bob.git('push', '-q', 'origin', pushed);
    await world.settle();
    const explained = json<readonly { approvals: readonly { principal: string }[] }[]>((await bob.pull(), await bob.stella(['explain', 'prod/shop', '-o', 'json'])));
    expect(explained[0]!.approvals.map((a) => a.principal)).toEqual(['bob']);
  });
});

describe('stella approve --refresh', () => {
  beforeEach(asked);

  it('shows what changed since the last approval and nothing else, and approves it', async () => {
    await approve(bob);
    await world.settle();
    await world.commit([doc('Configuration', 'prod/shop', { variables: { LEVEL: 'high' } })], { by: world.people.alice });
    await world.settle();
    await bob.pull();
    const full = await bob.stella(['approve', 'prod/shop'], { answers: 'n\n' });
    expect(full.stderr).toContain('component');
    const short = await bob.stella(['approve', 'prod/shop', '--refresh'], { answers: 'y\n' });
    expect(short).toMatchObject({ code: 0 });
    expect(short.stderr).toContain('LEVEL: not set → high');
    expect(short.stderr).not.toContain('component');
    await approve(await cloneFor(world, world.people.carol));
    await world.settle();
    expect(await running()).toBe('1.0');
  });

  it('has nothing to refresh without an earlier approval, and nothing to do while the earlier one counts', async () => {
    expect((await bob.stella(['approve', 'prod/shop', '--refresh', '--yes'])).code).toBe(1);
    await approve(bob);
    await world.settle();
    await bob.pull();
    const counts = await bob.stella(['approve', 'prod/shop', '--refresh', '--yes']);
    expect(counts.code).toBe(1);
    expect(counts.stderr).toContain('Nothing changed');
  });

  it('names the protected changes that are as they were approved, and shows the others', async () => {
    await world.commit([doc('Environment', 'qa', { order: 7 }), doc('Environment', 'uat', { order: 8 })], { by: world.people.carol });
    await world.settle();
    await bob.pull();
    expect((await bob.stella(['approve', '--pending', '--only', 'Environment/qa', '--yes', '--no-push'])).code).toBe(0);
    const shown = await bob.stella(['approve', '--pending', '--refresh'], { answers: 'n\n' });
    expect(shown.stderr).toContain('as you approved before: Environment/qa');
    expect(shown.stderr).toContain('Environment/uat is new');
    expect(shown.stderr).not.toContain('Environment/qa is new');
  });
});

describe('what stella approve shows', () => {
  beforeEach(asked);

  it('is who approved already, also where the server has not harvested it, and the targets with their agents', async () => {
    await approve(bob);
    const carol = await cloneFor(world, world.people.carol);
    const shown = json<{ approvedBy: readonly string[]; targets: readonly object[]; rules: readonly string[]; digestsChecked: boolean }>(await carol.stella(['approve', 'prod/shop', '--yes', '--file', '-o', 'json']));
    expect(shown).toMatchObject({ approvedBy: ['bob'], targets: [{ name: 'prod-1', agent: 'host', change: 'added' }], rules: ['environment/prod: 2 of 2 sre, not who asked'], digestsChecked: true });
  });

  it('is who approved with a signed commit on the branch', async () => {
    await bob.git('switch', '-q', '-c', 'topic');
    const { path } = json<{ path: string }>(await bob.stella(['approve', 'prod/shop', '--yes', '--file', '-o', 'json']));
    const file = join(bob.folder, path);
    const { signatures: _, ...unsigned } = parse(await readFile(file, 'utf8')) as DocumentOf<'Approval'>;
    await writeFile(file, stringify(unsigned));
    await bob.git('add', '-A');
    await bob.git('commit', '-q', '-S', '-m', `Approve\n\nStella-Approval: ${documentDigest(unsigned)}`);
    await bob.git('push', '-q', 'origin', 'topic');
    const carol = await cloneFor(world, world.people.carol);
    const shown = json<{ approvedBy: readonly string[] }>(await carol.stella(['approve', 'prod/shop', '--ref', 'topic', '--yes', '--file', '-o', 'json']));
    expect(shown.approvedBy).toEqual(['bob']);
  });

  it('for a protected change is in force against new, however many commits lie between', async () => {
    await world.commit([doc('Environment', 'dev', { order: 1, allowSeconds: 60 })], { by: world.people.carol });
    await world.commit([doc('Environment', 'dev', { order: 1, allowSeconds: 60, workflow: 'default' })], { by: world.people.carol });
    await world.settle();
    await bob.pull();
    const shown = await bob.stella(['approve', '--pending'], { answers: 'n\n' });
    expect(shown.stderr).toContain('+   "allowSeconds": 60');
    expect(shown.stderr).toContain('approved by nobody yet');
    expect(await readFile(join(bob.folder, 'environments/dev.yaml'), 'utf8')).toContain('allowSeconds');
  });
});

describe('what stella approve --pending leaves out', () => {
  it('is lifting a stop, unless it is named', async () => {
    world = await World.create({ documents: [doc('Freeze', 'fair', { reason: 'The fair' })] });
    await world.commit([doc('Environment', 'qa', { order: 7 })], { by: world.people.alice, deletes: ['freezes/fair.yaml'] });
    await world.settle();
    bob = await cloneFor(world, world.people.bob);
    const others = await bob.stella(['approve', '--pending', '--yes', '-o', 'json']);
    expect(json<{ changes: readonly { name: string }[] }>(others).changes.map((c) => c.name)).toEqual(['qa']);
    expect(others.stderr).toContain('stella approve --pending --only Freeze/fair');
    await world.settle();
    expect(allInForce(await world.state(), 'Freeze')).toHaveLength(1);
    await bob.pull();
    expect((await bob.stella(['approve', '--pending', '--yes'])).code).toBe(1);
    const lifted = await bob.stella(['approve', '--pending', '--only', 'Freeze/fair', '--yes', '-o', 'json']);
    expect(json<{ changes: readonly object[] }>(lifted).changes).toMatchObject([{ kind: 'Freeze', name: 'fair', to: null }]);
    await world.settle();
    expect(allInForce(await world.state(), 'Freeze')).toHaveLength(0);
  });

  it('is the trust root, which changes alone', async () => {
    world = await World.create();
    const before = inForceOf(await world.state(), 'TrustRoot', 'root')!;
    const next = doc('TrustRoot', 'root', { ...before.spec, version: 2, previous: world.pin, documents: null, quorums: { ...before.spec.quorums, default: { people: 2, roles: [{ role: 'admin', count: 2 }] } } });
    await world.commit([next, doc('Environment', 'qa', { order: 7 })], { by: world.people.carol });
    await world.settle();
    const alice = await cloneFor(world, world.people.alice);
    const others = await alice.stella(['approve', '--pending', '--yes', '-o', 'json', '--no-push']);
    expect(json<{ changes: readonly { name: string }[] }>(others).changes.map((c) => c.name)).toEqual(['qa']);
    expect(others.stderr).toContain('stella approve --pending --only TrustRoot');
    const root = json<{ changes: readonly object[]; digest: Digest }>(await alice.stella(['approve', '--pending', '--only', 'TrustRoot', '--yes', '-o', 'json']));
    expect(root.changes).toMatchObject([{ kind: 'TrustRoot', quorum: expect.stringContaining('root keys of 1 person') as string }]);
    await world.settle();
    expect(inForceOf(await world.state(), 'TrustRoot', 'root')?.spec.version).toBe(2);
  });
});

describe('the key that signs', () => {
  let agent: { readonly socket: string; readonly pid: number };
  beforeEach(async () => {
    await asked();
    const socket = join(world.folder, 'agent');
    const started = (await runProgram('ssh-agent', ['-s', '-a', socket])).toString();
    agent = { socket, pid: Number(/SSH_AGENT_PID=(\d+)/.exec(started)![1]) };
  });
  afterEach(() => void process.kill(agent.pid));

  it('may lie in an agent alone, as a security key does', async () => {
    const environment = { SSH_AUTH_SOCK: agent.socket };
    await runProgram('ssh-add', ['-q', world.people.bob.privateKeyPath], { env: environment });
    await bob.git('config', 'user.signingKey', `key::${world.people.bob.publicKey}`);
    const locked = await bob.stella(['approve', 'prod/shop', '--yes']);
    expect(locked).toMatchObject({ code: 2 });
    expect(locked.stderr).toContain('ssh-agent');
    expect((await bob.stella(['approve', 'prod/shop', '--yes'], { environment })).code).toBe(0);
    await world.settle();
    await bob.pull();
    const explained = json<readonly { approvals: readonly { principal: string }[] }[]>(await bob.stella(['explain', 'prod/shop', '-o', 'json']));
    expect(explained[0]!.approvals.map((a) => a.principal)).toEqual(['bob']);
  });

  it('signs through the program that git signs with', async () => {
    const program = join(world.folder, 'my-signer');
    await writeFile(program, `#!/bin/sh\necho called >> ${program}.log\nexec ssh-keygen "$@"\n`, { mode: 0o755 });
    await bob.git('config', 'gpg.ssh.program', program);
    expect((await bob.stella(['approve', 'prod/shop', '--yes'])).code).toBe(0);
    expect(await readFile(`${program}.log`, 'utf8')).toBe('called\n');
    await writeFile(program, '#!/bin/sh\necho "-----BEGIN SSH SIGNATURE-----"\n', { mode: 0o755 });
    const broken = await bob.stella(['approve', 'prod/shop', '--yes', '-o', 'json']);
    expect(broken).toMatchObject({ code: 2, stdout: '' });
    expect(broken.stderr).toContain('would not count');
  });
});
