import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, afterEach, beforeEach, describe, expect, it } from 'vitest';
import { directGitCommands, type GitCommand, type GitCommands } from '../../src/adapters/git/git-command.ts';
import { forkGitLauncher } from '../../src/adapters/git/git-launcher.ts';
import { openMirror, type Mirror, type MirrorOptions } from '../../src/adapters/git/mirror.ts';
import type { GitCredential } from '../../src/adapters/git/native-git-remote.ts';
import { parseCommitId, type CommitId } from '../../src/core/model/commit-id.ts';
import { requireComponent } from '../fakes/components.ts';
import { startGitHttpServer, type GitHttpServer } from '../fakes/git-http-server.ts';
import { createRepository, createSshKey, createTemporaryFolder, type TestRepository } from '../fakes/git-repository.ts';
import { startSshd, type ScratchSshd } from '../fakes/sshd.ts';

const BASIC: GitCredential = { kind: 'basic', username: 'x-access-token', password: 'ghp_very-secret-token' };
const BEARER: GitCredential = { kind: 'bearer', token: 'very-secret-bearer' };
/** Without the proxies and certificate files of this machine: those decide who lists references. */
const ENVIRONMENT = { PATH: process.env['PATH'], HOME: process.env['HOME'] };
const open: (() => Promise<unknown>)[] = [];
/** Started when first needed and shared, as in a server. */
const shared: { launcher: GitCommands | null; sshd: Promise<ScratchSshd> | null } = { launcher: null, sshd: null };

afterAll(async () => {
  await shared.launcher?.close();
  await (await shared.sshd)?.stop();
});

const throughLauncher = (): GitCommands => (shared.launcher ??= forkGitLauncher());

afterEach(async () => {
  for (const close of open.splice(0).reverse()) await close();
});

type Side = { readonly repository: TestRepository; readonly server: GitHttpServer | null; readonly mirror: Mirror; readonly run: readonly GitCommand[] };
type Kind = { readonly url: 'path' | 'file' | 'http' | 'ssh'; readonly credential?: GitCredential; readonly commands: () => GitCommands };

async function setUp(kind: Kind): Promise<Side> {
  const repository = await createRepository();
  open.push(() => repository.remove());
  const server = kind.url === 'http' ? await startGitHttpServer({ repository: repository.folder, ...(kind.credential === undefined ? {} : { credential: kind.credential }) }) : null;
  if (server !== null) open.push(() => server.close());
  if (kind.url === 'ssh') {
    const sshd = await (shared.sshd ??= startSshd());
    const ssh = { keyFile: sshd.identityFile, knownHostsFile: sshd.knownHostsFile };
    return { repository, server, ...(await mirrorOf(`ssh://${sshd.username}@${sshd.host}:${sshd.port}${repository.folder}`, { ...kind, ssh })) };
  }
  const url = server?.url ?? (kind.url === 'file' ? `file://${repository.folder}` : repository.folder);
  return { repository, server, ...(await mirrorOf(url, kind)) };
}

async function mirrorOf(url: string, kind: Pick<Kind, 'credential' | 'commands'> & Pick<MirrorOptions, 'ssh'>): Promise<{ mirror: Mirror; run: readonly GitCommand[] }> {
  const folder = await createTemporaryFolder();
  open.push(() => rm(folder, { recursive: true, force: true }));
  const real = kind.commands();
  const run: GitCommand[] = [];
  const commands: GitCommands = { run: (command) => (run.push(command), real.run(command)), close: () => Promise.resolve() };
  const mirror = await openMirror({ folder, url, credential: kind.credential, ssh: kind.ssh, settings: { environment: ENVIRONMENT, commands }, ownPid: process.pid });
  open.push(() => mirror.close());
  return { mirror, run };
}

const MAIN = '+refs/heads/main:refs/remotes/origin/main';

const kinds: readonly (readonly [string, Kind])[] = [
  ['a path', { url: 'path', commands: directGitCommands }],
  ['a file URL, through the launcher process', { url: 'file', commands: throughLauncher }],
  ['ssh', { url: 'ssh', commands: directGitCommands }],
  ['http', { url: 'http', commands: directGitCommands }],
  ['http with basic authentication, through the launcher process', { url: 'http', credential: BASIC, commands: throughLauncher }],
  ['http with a bearer token', { url: 'http', credential: BEARER, commands: directGitCommands }],
];

describe.each(kinds)('a remote at %s', (_name, kind) => {
  beforeEach((context) => {
    if (kind.url === 'ssh') requireComponent('sshd', context);
  });

  it('fetches what is new, follows rewinds, and prunes what is gone', async () => {
    const { repository, mirror } = await setUp(kind);
    const first = await repository.commit({ files: { a: '1' } });
    const second = await repository.commit({ files: { a: '2' } });
    await repository.setBranch('gone', first);
    expect(await mirror.remote.fetch(['+refs/heads/*:refs/remotes/origin/*'])).toEqual({ ok: true });
    expect(await mirror.reader.resolveRef('refs/remotes/origin/main')).toBe(second);
    expect((await mirror.reader.readTree(second)).entries).toHaveLength(1);
    await repository.setBranch('main', first);
    await repository.git(['update-ref', '-d', 'refs/heads/gone']);
    expect(await mirror.remote.fetch(['+refs/heads/*:refs/remotes/origin/*'], { prune: true })).toEqual({ ok: true });
    expect(await mirror.reader.listRefs('refs/remotes/')).toEqual([{ name: 'refs/remotes/origin/main', id: first }]);
    expect(await mirror.remote.fetch(['+refs/heads/none:refs/remotes/origin/none'])).toMatchObject({ ok: false, code: 'RefMissing' });
  });

  it('lists references below a prefix and sees changes at once', async () => {
    const { repository, mirror } = await setUp(kind);
    const first = await repository.commit({ files: { a: '1' } });
    await repository.setBranch('stella/approvals/x/alice', first);
    await repository.git(['-c', 'user.name=a', '-c', 'user.email=b', 'tag', '-a', '-m', 'tag', 'v1', first]);
    expect(await mirror.remote.listRefs('refs/heads/stella/')).toEqual({ ok: true, refs: [{ name: 'refs/heads/stella/approvals/x/alice', id: first }] });
    const second = await repository.commit({ files: { a: '2' } });
    expect(await mirror.remote.listRefs('refs/heads/')).toEqual({
      ok: true,
      refs: [{ name: 'refs/heads/main', id: second }, { name: 'refs/heads/stella/approvals/x/alice', id: first }],
    });
    expect(await mirror.remote.listRefs('refs/tags/')).toMatchObject({ ok: true, refs: [{ name: 'refs/tags/v1' }] });
    expect(await mirror.remote.listRefs('refs/nothing/')).toEqual({ ok: true, refs: [] });
  });

  it('pushes a new branch and its next commit with one git command each', async () => {
    const { repository, mirror, run } = await setUp(kind);
    const { first, second } = await twoEvidenceCommits(mirror);
    const before = run.length;
    expect(await mirror.remote.push([{ ref: EVIDENCE, from: null, to: first }])).toEqual({ ok: true });
    expect(await mirror.remote.push([{ ref: EVIDENCE, from: first, to: second }])).toEqual({ ok: true });
    expect(run.length - before).toBe(2);
    expect(await repository.tip('stella/evidence')).toBe(second);
    // The answer to the push was lost and it is sent again.
    expect(await mirror.remote.push([{ ref: EVIDENCE, from: first, to: second }])).toEqual({ ok: true });
  });

  it('refuses a push that lost the race and leaves the remote as the winner made it', async () => {
    const { repository, mirror } = await setUp(kind);
    const { first, second } = await twoEvidenceCommits(mirror);
    expect(await mirror.remote.push([{ ref: EVIDENCE, from: null, to: first }])).toEqual({ ok: true });
    const winner = await repository.commit({ branch: 'stella/evidence', files: { won: '1' } });
    expect(await mirror.remote.push([{ ref: EVIDENCE, from: first, to: second }])).toMatchObject({ ok: false, code: 'NonFastForward' });
    expect(await mirror.remote.push([{ ref: EVIDENCE, from: null, to: second }])).toMatchObject({ ok: false, code: 'NonFastForward' });
    expect(await repository.tip('stella/evidence')).toBe(winner);
  });

  it('refuses to undo a rewind that it does not know of', async () => {
    const { repository, mirror } = await setUp(kind);
    const { first, second, third } = await twoEvidenceCommits(mirror);
    await mirror.remote.push([{ ref: EVIDENCE, from: null, to: second }]);
    await repository.setBranch('stella/evidence', first);
    expect(await mirror.remote.push([{ ref: EVIDENCE, from: second, to: third }])).toMatchObject({ ok: false, code: 'NonFastForward' });
    expect(await repository.tip('stella/evidence')).toBe(first);
  });

  it('never sends what does not descend from the expected commit', async () => {
    const { repository, mirror } = await setUp(kind);
    const { first, second } = await twoEvidenceCommits(mirror);
    await mirror.remote.push([{ ref: EVIDENCE, from: null, to: second }]);
    expect(await mirror.remote.push([{ ref: EVIDENCE, from: second, to: first }])).toMatchObject({ ok: false, code: 'NonFastForward' });
    expect(await repository.tip('stella/evidence')).toBe(second);
  });

  it('pushes several references together or none', async () => {
    const { repository, mirror } = await setUp(kind);
    const { first, second } = await twoEvidenceCommits(mirror);
    const other = await repository.commit({ branch: 'taken', files: { x: '1' } });
    const outcome = await mirror.remote.push([{ ref: EVIDENCE, from: null, to: second }, { ref: 'refs/heads/taken', from: null, to: first }]);
    expect(outcome).toMatchObject({ ok: false, code: 'NonFastForward' });
    expect(await repository.tip('stella/evidence')).toBeNull();
    expect(await repository.tip('taken')).toBe(other);
  });

  it('gives the text of a hook that refuses, and pushes once it accepts', async () => {
    const { repository, mirror } = await setUp(kind);
    const { first } = await twoEvidenceCommits(mirror);
    await repository.rejectPushes('policy: no pushes on Fridays');
    const outcome = await mirror.remote.push([{ ref: EVIDENCE, from: null, to: first }]);
    expect(outcome).toMatchObject({ ok: false, code: 'Rejected', message: expect.stringContaining('policy: no pushes on Fridays') });
    expect(await repository.tip('stella/evidence')).toBeNull();
    await repository.rejectPushes(null);
    expect(await mirror.remote.push([{ ref: EVIDENCE, from: null, to: first }])).toEqual({ ok: true });
  });

  it('deletes a reference only where it is expected to be', async () => {
    const { repository, mirror } = await setUp(kind);
    const first = await repository.commit({ files: { a: '1' } });
    const second = await repository.commit({ branch: 'stella/approvals/x', files: { b: '1' } });
    expect(await mirror.remote.deleteRef('refs/heads/stella/approvals/x', first)).toMatchObject({ ok: false, code: 'NonFastForward' });
    expect(await repository.tip('stella/approvals/x')).toBe(second);
    expect(await mirror.remote.deleteRef('refs/heads/stella/approvals/x', second)).toEqual({ ok: true });
    expect(await repository.tip('stella/approvals/x')).toBeNull();
  });

  it('tells a reference that another writer holds from one that moved', async () => {
    const { repository, mirror } = await setUp(kind);
    const { first, second } = await twoEvidenceCommits(mirror);
    await mirror.remote.push([{ ref: EVIDENCE, from: null, to: first }]);
    await repository.git(['config', 'core.filesRefLockTimeout', '0']);
    const lockFile = join(repository.folder, 'refs/heads/stella/evidence.lock');
    await writeFile(lockFile, '');
    expect(await mirror.remote.push([{ ref: EVIDENCE, from: first, to: second }])).toMatchObject({ ok: false, code: 'RemoteLocked' });
    await rm(lockFile);
    expect(await mirror.remote.push([{ ref: EVIDENCE, from: first, to: second }])).toEqual({ ok: true });
  });

  it('says that a remote is not there', async () => {
    const { repository, server, mirror } = await setUp(kind);
    await server?.close();
    await repository.remove();
    expect(await mirror.remote.fetch([MAIN])).toMatchObject({ ok: false, code: 'Unreachable' });
    expect(await mirror.remote.listRefs('refs/heads/')).toMatchObject({ ok: false, code: 'Unreachable' });
  });
});

const EVIDENCE = 'refs/heads/stella/evidence';

/** A line of three evidence commits in the mirror, under a local name. */
async function twoEvidenceCommits(mirror: Mirror): Promise<{ first: CommitId; second: CommitId; third: CommitId }> {
  const branch = mirror.writer.openBranch('refs/heads/local');
  const append = async (parent: CommitId | null, content: string): Promise<CommitId> => {
    const outcome = await branch.append({
      parent,
      files: [{ path: 'records/a', bytes: Buffer.from(content) }],
      message: 'Record',
      author: { name: 'stella', email: 'stella@example.test' },
      at: new Date('2026-03-01T10:00:00Z'),
      sign: () => '-----BEGIN SSH SIGNATURE-----\nU1NIU0lH\n-----END SSH SIGNATURE-----\n',
    });
    if (!outcome.ok) throw new Error(outcome.code);
    return outcome.commit;
  };
  const first = await append(null, '1');
  const second = await append(first, '2');
  return { first, second, third: await append(second, '3') };
}

describe('credentials', () => {
  it('are refused without being repeated: not in messages, not in arguments', async () => {
    const repository = await createRepository();
    open.push(() => repository.remove());
    await repository.commit({ files: { a: '1' } });
    const server = await startGitHttpServer({ repository: repository.folder, credential: { kind: 'basic', username: 'x', password: 'the-right-one' } });
    open.push(() => server.close());
    for (const credential of [BASIC, BEARER]) {
      const { mirror, run } = await mirrorOf(server.url, { credential, commands: directGitCommands });
      const outcomes = [
        await mirror.remote.fetch([MAIN]),
        await mirror.remote.listRefs('refs/heads/'),
        await mirror.remote.deleteRef('refs/heads/main', parseCommitId('1'.repeat(40))),
      ];
      for (const outcome of outcomes) expect(outcome).toMatchObject({ ok: false, code: 'Unauthorized' });
      const said = JSON.stringify([outcomes, run.map((command) => command.args)]);
      for (const secret of ['very-secret', Buffer.from('x-access-token:ghp_very-secret-token').toString('base64')]) expect(said).not.toContain(secret);
    }
    const anonymous = await mirrorOf(server.url, { commands: directGitCommands });
    expect(await anonymous.mirror.remote.fetch([MAIN])).toMatchObject({ ok: false, code: 'Unauthorized' });
  });

  it('are cut out of what a server says', async () => {
    const { repository, mirror } = await setUp({ url: 'http', credential: BASIC, commands: directGitCommands });
    const { first } = await twoEvidenceCommits(mirror);
    await repository.rejectPushes('you sent ghp_very-secret-token');
    const outcome = await mirror.remote.push([{ ref: EVIDENCE, from: null, to: first }]);
    expect(outcome).toMatchObject({ ok: false, code: 'Rejected', message: expect.stringContaining('you sent ***') });
  });

  it('do not follow a redirect to another host', async () => {
    const { repository, server, mirror } = await setUp({ url: 'http', credential: BASIC, commands: directGitCommands });
    await repository.commit({ files: { a: '1' } });
    const thief = await startGitHttpServer({ repository: repository.folder });
    open.push(() => thief.close());
    server?.redirectTo(thief.url);
    expect(await mirror.remote.fetch([MAIN])).toMatchObject({ ok: false, code: 'Unreachable' });
    expect(await mirror.remote.listRefs('refs/heads/')).toMatchObject({ ok: false, code: 'Unreachable' });
    expect(thief.requests).toEqual([]);
    server?.redirectTo(null);
    expect(await mirror.remote.fetch([MAIN])).toEqual({ ok: true });
  });

  it('are refused for URLs over which others could read them, and inside URLs', async () => {
    for (const url of ['http://git.example.test/x.git', 'ssh://git.example.test/x.git', '/srv/x.git']) {
      await expect(mirrorOf(url, { credential: BASIC, commands: directGitCommands })).rejects.toMatchObject({ code: 'InvalidName' });
    }
    await expect(mirrorOf('https://user:password@git.example.test/x.git', { commands: directGitCommands })).rejects.toMatchObject({
      code: 'InvalidName',
      message: expect.not.stringContaining('password@'),
    });
  });
});

describe('ssh', () => {
  it('refuses a server whose host key is not known, and a key that the server does not know', async (context) => {
    requireComponent('sshd', context);
    const repository = await createRepository();
    const keys = await createTemporaryFolder();
    const sshd = await (shared.sshd ??= startSshd());
    open.push(() => repository.remove(), () => rm(keys, { recursive: true, force: true }));
    const stranger = await createSshKey(keys, 'stranger');
    await writeFile(join(keys, 'no_hosts'), '');
    const url = `ssh://${sshd.username}@${sshd.host}:${sshd.port}${repository.folder}`;
    const unknownHost = await mirrorOf(url, { commands: directGitCommands, ssh: { keyFile: sshd.identityFile, knownHostsFile: join(keys, 'no_hosts') } });
    expect(await unknownHost.mirror.remote.fetch([MAIN])).toMatchObject({ ok: false, code: 'Unreachable', message: expect.stringContaining('Host key verification failed') });
    const unknownKey = await mirrorOf(url, { commands: directGitCommands, ssh: { keyFile: stranger.privateKeyPath, knownHostsFile: sshd.knownHostsFile } });
    expect(await unknownKey.mirror.remote.fetch([MAIN])).toMatchObject({ ok: false, code: 'Unauthorized' });
  });
});

describe('polling over http', () => {
  it('costs one request and no git process once the server is known', async () => {
    const { repository, server, mirror, run } = await setUp({ url: 'http', credential: BEARER, commands: directGitCommands });
    await repository.commit({ files: { a: '1' } });
    await mirror.remote.listRefs('refs/heads/');
    const [requestsBefore, runBefore] = [server?.requests.length ?? 0, run.length];
    expect(await mirror.remote.listRefs('refs/heads/')).toMatchObject({ ok: true });
    expect(server?.requests.length).toBe(requestsBefore + 1);
    expect(run.length).toBe(runBefore);
  });

  it('goes through git where a proxy is configured, which only git knows', async () => {
    const repository = await createRepository();
    const folder = await createTemporaryFolder();
    open.push(() => repository.remove(), () => rm(folder, { recursive: true, force: true }));
    const tip = await repository.commit({ files: { a: '1' } });
    const server = await startGitHttpServer({ repository: repository.folder });
    open.push(() => server.close());
    const environment = { ...ENVIRONMENT, http_proxy: 'http://127.0.0.1:9', no_proxy: '127.0.0.1' };
    const mirror = await openMirror({ folder, url: server.url, settings: { environment, commands: directGitCommands() }, ownPid: process.pid });
    open.push(() => mirror.close());
    expect(await mirror.remote.listRefs('refs/heads/')).toEqual({ ok: true, refs: [{ name: 'refs/heads/main', id: tip }] });
  });
});
