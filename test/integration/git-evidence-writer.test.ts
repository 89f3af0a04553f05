import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdir, readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, afterEach, beforeAll, describe, expect, it, onTestFinished, type TestContext } from 'vitest';
import type { CommitId } from '../../src/core/model/commit-id.ts';
import { openEvidenceWriter } from '../../src/adapters/git/evidence-writer.ts';
import { directGitCommands } from '../../src/adapters/git/git-command.ts';
import { openGitReader } from '../../src/adapters/git/native-git-reader.ts';
import type { GitSettings } from '../../src/adapters/git/git-folder.ts';
import type { AppendOutcome, EvidenceAppend, EvidenceBranch, EvidenceWriter } from '../../src/ports/evidence-writer.ts';
import { requireComponent } from '../fakes/components.ts';
import { createRepository, createSshKey, createTemporaryFolder, signWithSsh, verifyCommit, writeAllowedSigners, type SshKey, type TestRepository } from '../fakes/git-repository.ts';
import { mountTmpfs } from '../fakes/tmpfs.ts';

const settings: GitSettings = { environment: process.env, commands: directGitCommands() };
const REF = 'refs/heads/stella/evidence';
/** A signature of the right form, for tests that look at trees and not at signatures. */
const ANY_SIGNATURE = '-----BEGIN SSH SIGNATURE-----\nU1NIU0lH\n-----END SSH SIGNATURE-----\n';
const open: { close(): Promise<void> }[] = [];
let keys: string;
let ours: SshKey;
let allowed: string;

beforeAll(async () => {
  keys = await createTemporaryFolder();
  ours = await createSshKey(keys, 'reconciler');
  allowed = await writeAllowedSigners(join(keys, 'allowed'), [ours]);
});
afterEach(async () => {
  for (const item of open.splice(0)) await item.close();
});
afterAll(() => rm(keys, { recursive: true, force: true }));

async function setUp(objectFormat: 'sha1' | 'sha256' = 'sha1', folder?: string): Promise<{ repository: TestRepository; writer: EvidenceWriter; branch: EvidenceBranch }> {
  const repository = await createRepository(folder === undefined ? { objectFormat } : { objectFormat, folder });
  const writer = await openEvidenceWriter(repository.folder, settings);
  open.push(writer, { close: () => repository.remove() });
  return { repository, writer, branch: writer.openBranch(REF) };
}

function request(parent: CommitId | null, files: Readonly<Record<string, string | Uint8Array>>, more: Partial<EvidenceAppend> = {}): EvidenceAppend {
  return {
    parent,
    files: Object.entries(files).map(([path, content]) => ({ path, bytes: Buffer.from(content) })),
    message: 'Record',
    author: { name: 'stella', email: 'stella@example.test' },
    at: new Date('2026-03-01T10:00:00.999Z'),
    sign: () => ANY_SIGNATURE,
    ...more,
  };
}

function commitOf(outcome: AppendOutcome): CommitId {
  if (!outcome.ok) throw new Error(`refused: ${outcome.code}`);
  return outcome.commit;
}

const recordPath = (seq: number): string => {
  const digits = String(seq).padStart(9, '0');
  return `records/${digits.slice(0, 3)}/${digits.slice(3, 6)}/${digits.slice(6)}.dsse.json`;
};

async function temporaryFiles(repository: TestRepository): Promise<string[]> {
  return (await readdir(repository.folder, { recursive: true })).filter((path) => /tmp_|\.lock$/.test(path));
}

describe.each(['sha1', 'sha256'] as const)('appending to an evidence branch of a %s repository', (format) => {
  it('makes signed commits that git verifies and that fsck finds strict', async () => {
    const { repository, branch } = await setUp(format);
    const sign = (payload: Uint8Array): Promise<string> => signWithSsh(ours, payload);
    const first = commitOf(await branch.append(request(null, { [recordPath(0)]: '{}', 'state/dev/shop.yaml': 'a: 1\n' }, { sign, message: 'First\n\nwith a body' })));
    const second = commitOf(await branch.append(request(first, { [recordPath(1)]: '{"n":1}', 'state/dev/shop.yaml': 'a: 2\n' }, { sign })));
    for (const commit of [first, second]) expect(await verifyCommit(repository.folder, commit, allowed)).toBe(true);
    expect(await repository.git(['fsck', '--strict', '--full'])).toBe('');
    expect(await repository.tip('stella/evidence')).toBe(second);
    expect(await repository.git(['rev-list', '--parents', '-1', second])).toBe(`${second} ${first}`);
    expect(await repository.git(['show', `${second}:state/dev/shop.yaml`])).toBe('a: 2');
    expect(await repository.git(['show', '-s', '--format=%an %ae %at %ct', second])).toBe('stella stella@example.test 1772359200 1772359200');
  });

  it('puts, replaces and deletes what was asked and keeps everything else', async () => {
    const { repository, branch } = await setUp(format);
    const first = commitOf(await branch.append(request(null, { 'a/one': '1', 'a/two': '2', 'b/only': '3', 'b.c': '4', 'file': '5' })));
    const second = commitOf(await branch.append(request(first, { 'a/one': 'new', 'file/now/a/folder': '6' }, { deletes: ['b/only', 'file', 'not/there', 'a/two'].filter((path) => path !== 'file') })));
    expect((await repository.git(['ls-tree', '-r', '--name-only', second])).split('\n')).toEqual(['a/one', 'b.c', 'file/now/a/folder']);
    const third = commitOf(await branch.append(request(second, {}, { deletes: ['a', 'b.c', 'file'] })));
    expect(await repository.git(['ls-tree', '-r', third])).toBe('');
    expect(await repository.git(['fsck', '--strict'])).toBe('');
  });

  it('writes an append of very many files as one pack that fsck finds strict', async () => {
    const { repository, branch } = await setUp(format);
    const content = (i: number): string => `${i} `.repeat(i % 7 === 0 ? 3_000 : i % 90);
    const files = Object.fromEntries(Array.from({ length: 1_200 }, (_, i) => [recordPath(i), content(i)]));
    const first = commitOf(await branch.append(request(null, files)));
    const second = commitOf(await branch.append(request(first, { [recordPath(1_200)]: 'one more' })));
    expect((await repository.git(['ls-tree', '-r', '--name-only', second])).split('\n')).toEqual([...Object.keys(files), recordPath(1_200)]);
    for (const i of [0, 7, 1_199]) expect(await repository.git(['show', `${first}:${recordPath(i)}`])).toBe(content(i).trim());
    expect(await repository.git(['fsck', '--strict', '--full'])).toBe('');
    expect((await readdir(join(repository.folder, 'objects', 'pack'))).map((name) => name.replace(/[0-9a-f]{40,}/, 'X')).sort()).toEqual(['pack-X.idx', 'pack-X.pack']);
  });
});

describe('appending', () => {
  it('gives the same trees as git for any sequence of puts and deletes', async () => {
    const path = fc.array(fc.constantFrom('a', 'b', 'a.b', 'a-b', 'a0', 'ü'), { minLength: 1, maxLength: 3 }).map((parts) => parts.join('/'));
    const step = fc.record({ puts: fc.dictionary(path, fc.string({ maxLength: 5 }), { maxKeys: 4 }), deletes: fc.array(path, { maxLength: 2 }) });
    const { repository, branch } = await setUp();
    let tip: CommitId | null = null;
    const model = new Map<string, string>();
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 4 }), async (steps) => {
        for (const { puts, deletes } of steps) {
          const files = Object.fromEntries(Object.entries(puts).filter(([a]) => !Object.keys(puts).some((b) => b.startsWith(`${a}/`))));
          const gone = deletes.filter((a) => !Object.keys(files).some((b) => a === b || a.startsWith(`${b}/`) || b.startsWith(`${a}/`)));
          const kept = gone.filter((a) => !gone.some((b) => b !== a && (a.startsWith(`${b}/`) || b.startsWith(`${a}/`))));
          for (const target of [...kept, ...Object.keys(files)]) {
            for (const existing of [...model.keys()]) if (existing === target || existing.startsWith(`${target}/`) || (target in files && target.startsWith(`${existing}/`))) model.delete(existing);
          }
          for (const [name, content] of Object.entries(files)) model.set(name, content);
          tip = commitOf(await branch.append(request(tip, files, { deletes: kept })));
        }
        if (tip === null) return;
        const listed = (await repository.git(['ls-tree', '-r', '-z', '--name-only', tip])).split('\0').filter((name) => name !== '');
        expect(listed.sort()).toEqual([...model.keys()].sort());
      }),
      { numRuns: 25 },
    );
    expect(await repository.git(['fsck', '--strict'])).toBe('');
  });

  it('rewrites only the trees on the touched paths of a branch with 10,000 records', async () => {
    const { repository, branch } = await setUp();
    const files = Object.fromEntries(Array.from({ length: 10_000 }, (_, i) => [recordPath(i), `{"seq":${i}}`]));
    const large = await repository.commit({ branch: 'stella/evidence', files });
    const objectsBefore = Number((await repository.git(['count-objects'])).split(' ')[0]);
    const next = commitOf(await branch.append(request(large, { [recordPath(10_000)]: '{"seq":10000}' })));
    const objectsAfter = Number((await repository.git(['count-objects'])).split(' ')[0]);
    // One blob, the trees root, records, 000, 010, and the commit.
    expect(objectsAfter - objectsBefore).toBe(6);
    expect(await repository.git(['diff-tree', '-r', '--name-only', large, next])).toBe(recordPath(10_000));
    expect(await repository.git(['fsck', '--strict', '--connectivity-only'])).toBe('');
  });

  it('refuses with RefMoved, and writes nothing, when the branch is elsewhere', async () => {
    const { repository, branch } = await setUp();
    const first = commitOf(await branch.append(request(null, { a: '1' })));
    const second = commitOf(await branch.append(request(first, { a: '2' })));
    const before = await repository.git(['count-objects']);
    expect(await branch.append(request(first, { a: '3' }))).toEqual({ ok: false, code: 'RefMoved', actual: second });
    expect(await branch.append(request(null, { a: '3' }))).toEqual({ ok: false, code: 'RefMoved', actual: second });
    expect(await repository.git(['count-objects'])).toBe(before);
  });

  it('lets exactly one of two racing writers win', async () => {
    const { repository, branch } = await setUp();
    const rival = await openEvidenceWriter(repository.folder, settings);
    open.unshift(rival);
    const first = commitOf(await branch.append(request(null, { a: '0' })));
    const outcomes = await Promise.all([branch.append(request(first, { a: '1' })), rival.openBranch(REF).append(request(first, { a: '2' }))]);
    expect(outcomes.filter((outcome) => outcome.ok)).toHaveLength(1);
    const winner = outcomes.find((outcome) => outcome.ok) as AppendOutcome;
    expect(outcomes.find((outcome) => !outcome.ok)).toEqual({ ok: false, code: 'RefMoved', actual: commitOf(winner) });
    expect(await repository.tip('stella/evidence')).toBe(commitOf(winner));
    // The writer whose git refused goes on with a new one.
    expect((await branch.append(request(commitOf(winner), { a: '3' }))).ok).toBe(true);
  });

  it('moves the branch to another tip only from the one it is at', async () => {
    const { repository, branch } = await setUp();
    const remote = await repository.commit({ branch: 'elsewhere', files: { a: '1' } });
    expect(await branch.moveTo(null, remote)).toEqual({ ok: true });
    const next = commitOf(await branch.append(request(remote, { b: '1' })));
    expect(await branch.moveTo(remote, remote)).toEqual({ ok: false, code: 'RefMoved', actual: next });
    expect(await branch.moveTo(next, remote)).toEqual({ ok: true });
  });

  it('refuses paths, authors, messages and signatures that would mean something else', async () => {
    const { repository, branch } = await setUp();
    for (const path of ['', '/a', 'a//b', '../a', 'a/../b', './a', '.git/config', 'a/.GIT/x', 'a\nb', 'a\0b', 'a/']) {
      await expect(branch.append(request(null, { [path]: 'x' }))).rejects.toMatchObject({ code: 'InvalidName' });
    }
    await expect(branch.append(request(null, { 'a': 'x', 'a/b': 'y' }))).rejects.toMatchObject({ code: 'InvalidName' });
    const broken: Partial<EvidenceAppend>[] = [
      { author: { name: 'a\ncommitter x', email: 'b' } },
      { author: { name: 'a <b> ', email: 'c' } },
      { message: 'a\0b' },
      { message: '' },
      { at: new Date(Number.NaN) },
      { sign: () => 'no signature' },
      { sign: () => `${ANY_SIGNATURE}\nparent ${'1'.repeat(40)}` },
      { sign: () => ANY_SIGNATURE.replaceAll('\n', '\r\n') },
    ];
    for (const more of broken) await expect(branch.append(request(null, { a: 'x' }, more))).rejects.toMatchObject({ code: 'InvalidName' });
    expect(await repository.tip('stella/evidence')).toBeNull();
    expect((await branch.append(request(null, { a: 'x' }))).ok).toBe(true);
  });

  it('goes on after the update-ref process was killed', async () => {
    const { branch } = await setUp();
    const first = commitOf(await branch.append(request(null, { a: '1' })));
    const pids = execFileSync('ps', ['-o', 'pid=,args=', '--ppid', String(process.pid)]).toString().split('\n').filter((line) => line.includes('git update-ref'));
    expect(pids.length).toBeGreaterThan(0);
    for (const pid of pids) process.kill(Number.parseInt(pid, 10), 'SIGKILL');
    const again = await branch.append(request(first, { a: '2' })).catch(() => branch.append(request(first, { a: '2' })));
    expect(again.ok).toBe(true);
  });

  it('is read back by a reader that was open before', async () => {
    const { repository, branch } = await setUp();
    const reader = await openGitReader(repository.folder, settings);
    open.unshift(reader);
    expect(await reader.resolveRef(REF)).toBeNull();
    const first = commitOf(await branch.append(request(null, { a: '1' })));
    const second = commitOf(await branch.append(request(first, { b: '2' })));
    expect(await reader.resolveRef(REF)).toBe(second);
    expect((await reader.diff(first, second)).changes.map((change) => change.path)).toEqual(['b']);
  });
});

describe('a disk that is full or read-only', () => {
  function mountSmallDisk(context: TestContext): string {
    requireComponent('tmpfs', context);
    const disk = mountTmpfs(4);
    onTestFinished(() => disk.unmount());
    return disk.path;
  }

  /** Fills the disk but for `leaveBytes`. */
  async function fill(folder: string, leaveBytes: number): Promise<void> {
    const available = Number(execFileSync('df', ['--output=avail', '-B1', folder]).toString().split('\n')[1]);
    await writeFile(join(folder, 'ballast'), new Uint8Array(Math.max(0, available - leaveBytes)));
  }

  /** The same bytes for the same seed, which zlib cannot shorten. */
  function incompressible(length: number, seed: number): Uint8Array {
    return createHash('shake256', { outputLength: length }).update(String(seed)).digest();
  }

  it('gives DiskFull at whichever write the space ends, leaves nothing half, and the same append succeeds later', async (context) => {
    const disk = mountSmallDisk(context);
    await mkdir(join(disk, 'repository.git'));
    const { repository, branch } = await setUp('sha1', join(disk, 'repository.git'));
    let tip = commitOf(await branch.append(request(null, { 'a/a': '1' })));
    const failures: unknown[] = [];
    for (let leaveKb = 0; leaveKb <= 120; leaveKb += 4) {
      await fill(disk, leaveKb * 1024);
      const files = { [`a/${leaveKb}`]: incompressible(40_000, leaveKb), 'b/c/d': String(leaveKb) };
      const outcome = await branch.append(request(tip, files)).catch((error: unknown) => {
        failures.push(error);
        return null;
      });
      if (outcome === null) {
        expect(await temporaryFiles(repository)).toEqual([]);
        expect(await repository.tip('stella/evidence')).toBe(tip);
      }
      await rm(join(disk, 'ballast'));
      tip = commitOf(outcome ?? (await branch.append(request(tip, files))));
      expect(await repository.git(['fsck', '--strict'])).not.toContain('missing');
    }
    expect(failures.length).toBeGreaterThan(3);
    for (const failure of failures) expect(failure).toMatchObject({ code: 'DiskFull', disposition: 'wait' });
  });

  it('gives ReadOnly, and the same append succeeds once the disk is writable', async (context) => {
    const disk = mountSmallDisk(context);
    await mkdir(join(disk, 'repository.git'));
    const { repository, branch } = await setUp('sha1', join(disk, 'repository.git'));
    const first = commitOf(await branch.append(request(null, { a: '1' })));
    execFileSync('mount', ['-o', 'remount,ro', disk]);
    await expect(branch.append(request(first, { a: '2' }))).rejects.toMatchObject({ code: 'ReadOnly', disposition: 'wait' });
    execFileSync('mount', ['-o', 'remount,rw', disk]);
    expect((await branch.append(request(first, { a: '2' }))).ok).toBe(true);
    expect(await repository.git(['fsck', '--strict'])).toBe('');
  });
});
