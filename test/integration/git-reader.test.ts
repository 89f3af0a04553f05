import { execFileSync } from 'node:child_process';
import { appendFile, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { parseBlobId, parseCommitId, type BlobId, type CommitId } from '../../src/core/model/commit-id.ts';
import { directGitCommands } from '../../src/adapters/git/git-command.ts';
import { openGitReader } from '../../src/adapters/git/native-git-reader.ts';
import { objectIdOf } from '../../src/adapters/git/object-store.ts';
import type { GitSettings } from '../../src/adapters/git/git-folder.ts';
import type { GitReader, ObjectRead } from '../../src/ports/git-reader.ts';
import { createRepository, createSshKey, createTemporaryFolder, runProgram, verifyCommit, writeAllowedSigners, type SshKey, type TestRepository } from '../fakes/git-repository.ts';

const settings: GitSettings = { environment: process.env, commands: directGitCommands() };
const open: { close(): Promise<void> }[] = [];
let keys: string;
let alice: SshKey;

beforeAll(async () => {
  keys = await createTemporaryFolder();
  alice = await createSshKey(keys, 'alice');
});
afterEach(async () => {
  for (const item of open.splice(0)) await item.close();
});
afterAll(() => rm(keys, { recursive: true, force: true }));

async function setUp(objectFormat: 'sha1' | 'sha256' = 'sha1'): Promise<TestRepository> {
  const repository = await createRepository({ objectFormat });
  open.push({ close: () => repository.remove() });
  return repository;
}

async function read(repository: TestRepository, path = repository.folder): Promise<GitReader> {
  const reader = await openGitReader(path, settings);
  open.unshift(reader);
  return reader;
}

function bytesOf(object: ObjectRead | undefined): Uint8Array {
  if (object?.ok !== true) throw new Error(`no bytes: ${JSON.stringify(object)}`);
  return object.bytes;
}

const textOf = (object: ObjectRead | undefined): string => new TextDecoder().decode(bytesOf(object));

/** Children of this process that run `git <name>`. */
function gitChildren(name: string): number[] {
  const lines = execFileSync('ps', ['-o', 'pid=,args=', '--ppid', String(process.pid)]).toString().split('\n');
  return lines.filter((line) => line.includes(`git ${name}`)).map((line) => Number.parseInt(line, 10));
}

describe.each(['sha1', 'sha256'] as const)('reading a %s repository', (format) => {
  it('returns commits byte for byte, so that the id can be recomputed from them', async () => {
    const repository = await setUp(format);
    const unsigned = await repository.commit({ files: { 'a.txt': 'a' }, message: 'Größe\n\nwith body' });
    const signed = await repository.commit({ files: { 'b.txt': 'b' }, sshKey: alice });
    const reader = await read(repository);
    const commits = await reader.readCommits([unsigned, signed]);
    expect(reader.objectFormat).toBe(format);
    for (const id of [unsigned, signed]) expect(objectIdOf(format, 'commit', bytesOf(commits.get(id)))).toBe(id);
    expect(textOf(commits.get(signed))).toContain(format === 'sha1' ? '\ngpgsig -----BEGIN SSH' : '\ngpgsig-sha256 -----BEGIN SSH');
    expect(await verifyCommit(repository.folder, signed, await writeAllowedSigners(join(keys, 'allowed'), [alice]))).toBe(true);
    expect(await verifyCommit(repository.folder, unsigned, join(keys, 'allowed'))).toBe(false);
  });

  it('reads many blobs in one batch and reports the large, the missing and the mistyped as values', async () => {
    const repository = await setUp(format);
    const files = Object.fromEntries(Array.from({ length: 500 }, (_, i) => [`d${i % 7}/f${i}.txt`, `content ${i}`]));
    const commit = await repository.commit({ files: { ...files, 'large.bin': new Uint8Array(300_000), 'empty': '' } });
    const reader = await read(repository);
    const { entries } = await reader.readTree(commit);
    expect(entries).toHaveLength(502);
    const missing = parseBlobId('1'.repeat(commit.length));
    const blobs = await reader.readBlobs([...entries.map((entry) => entry.blob), missing, commit as string as BlobId], 100_000);
    const at = (path: string): ObjectRead | undefined => blobs.get(entries.find((entry) => entry.path === path)?.blob as BlobId);
    for (const [path, content] of Object.entries(files)) expect(textOf(at(path))).toBe(content);
    expect(bytesOf(at('empty'))).toHaveLength(0);
    expect(at('large.bin')).toEqual({ ok: false, code: 'Oversize', sizeBytes: 300_000 });
    expect(blobs.get(missing)).toEqual({ ok: false, code: 'Missing' });
    expect(blobs.get(commit as string as BlobId)).toEqual({ ok: false, code: 'WrongType', type: 'commit' });
  });

  it('shows all files of a first commit and only the changed ones of the next', async () => {
    const repository = await setUp(format);
    const first = await repository.commit({ files: { 'keep.txt': '1', 'edit.txt': '1', 'gone/x.txt': '1' } });
    const second = await repository.commit({ files: { 'edit.txt': '2', 'new/y.sh': { content: '#!', mode: '100755' } }, deletes: ['gone'] });
    const reader = await read(repository);
    expect((await reader.diff(null, first)).changes.map((change) => change.path)).toEqual(['edit.txt', 'gone/x.txt', 'keep.txt']);
    const { changes } = await reader.diff(first, second);
    expect(changes).toMatchObject([
      { path: 'edit.txt', oldMode: '100644', newMode: '100644' },
      { path: 'gone/x.txt', newBlob: null, newMode: null },
      { path: 'new/y.sh', oldBlob: null, oldMode: null, newMode: '100755' },
    ]);
    expect(changes[0]?.newBlob).toBe(await repository.git(['rev-parse', `${second}:edit.txt`]));
    expect(await reader.diff(second, second)).toEqual({ changes: [], unreadable: [] });
    expect((await reader.diff(second, first)).changes).toHaveLength(3);
  });
});

describe('reading trees', () => {
  it('lists what git lists, and only one folder when asked', async () => {
    const repository = await setUp();
    const commit = await repository.commit({ files: { 'a/b/c.txt': '1', 'a/b.txt': '2', 'a.b': '3', 'ab/x': '4', 'grüße.txt': '5', 'link': { content: 'a.b', mode: '120000' } } });
    const reader = await read(repository);
    const { entries, unreadable } = await reader.readTree(commit);
    const expected = (await repository.git(['ls-tree', '-r', '-z', commit])).split('\0').filter((line) => line !== '').map((line) => line.replace(/^(\d+) blob (\w+)\t/, '$1 $2 '));
    expect(entries.map((entry) => `${entry.mode} ${entry.blob} ${entry.path}`).sort()).toEqual(expected.sort());
    expect(unreadable).toEqual([]);
    expect((await reader.readTree(commit, { under: 'a' })).entries.map((entry) => entry.path)).toEqual(['a/b.txt', 'a/b/c.txt']);
    expect((await reader.readTree(commit, { under: 'a/b/' })).entries.map((entry) => entry.path)).toEqual(['a/b/c.txt']);
    expect((await reader.readTree(commit, { under: 'nowhere' })).entries).toEqual([]);
  });

  it('names paths that are not UTF-8 or not safe, and lists the rest', async () => {
    const repository = await setUp();
    const blob = await repository.git(['hash-object', '-w', '--stdin'], 'x');
    const inner = await repository.git(['mktree', '-z'], `100644 blob ${blob}\tpasswd\0`);
    const tree = await repository.git(['mktree', '-z'], Buffer.concat([
      Buffer.from(`100644 blob ${blob}\tgood.txt\u0000100644 blob ${blob}\tbad`), Buffer.from([0xff, 0xfe]), Buffer.from(`\0`),
      Buffer.from(`100644 blob ${blob}\tnew\nline\0`), Buffer.from(`040000 tree ${inner}\t..\0`),
    ]));
    const commit = parseCommitId(await repository.git(['-c', 'user.name=a', '-c', 'user.email=b', 'commit-tree', '-m', 'x', tree]));
    const reader = await read(repository);
    const unreadable = [{ shown: '../passwd', reason: 'Unsafe' }, { shown: 'bad\\xff\\xfe', reason: 'NotUtf8' }, { shown: 'new\\x0aline', reason: 'Unsafe' }];
    const listing = await reader.readTree(commit);
    expect(listing.entries.map((entry) => entry.path)).toEqual(['good.txt']);
    expect([...listing.unreadable].sort((a, b) => (a.shown < b.shown ? -1 : 1))).toEqual(unreadable);
    const diff = await reader.diff(null, commit);
    expect(diff.changes.map((change) => change.path)).toEqual(['good.txt']);
    expect([...diff.unreadable].sort((a, b) => (a.shown < b.shown ? -1 : 1))).toEqual(unreadable);
  });

  it('refuses a tree with two entries of one name', async () => {
    const repository = await setUp();
    const blob = await repository.git(['hash-object', '-w', '--stdin'], 'x');
    const entry = Buffer.concat([Buffer.from('100644 twice\0'), Buffer.from(blob, 'hex')]);
    const tree = await repository.git(['hash-object', '-t', 'tree', '-w', '--literally', '--stdin'], Buffer.concat([entry, entry]));
    const commit = parseCommitId(await repository.git(['-c', 'user.name=a', '-c', 'user.email=b', 'commit-tree', '-m', 'x', tree]));
    await expect((await read(repository)).readTree(commit)).rejects.toMatchObject({ code: 'ObjectCorrupt' });
  });

  it('refuses a small tree that unfolds to more files than the limit', async () => {
    const repository = await setUp();
    let id = await repository.git(['mktree'], `100644 blob ${await repository.git(['hash-object', '-w', '--stdin'], 'x')}\tf\n`);
    for (let depth = 0; depth < 8; depth++) id = await repository.git(['mktree'], Array.from({ length: 10 }, (_, i) => `040000 tree ${id}\td${i}\n`).join(''));
    const commit = parseCommitId(await repository.git(['-c', 'user.name=a', '-c', 'user.email=b', 'commit-tree', '-m', 'x', id]));
    await expect((await read(repository)).readTree(commit)).rejects.toMatchObject({ code: 'LimitExceeded' });
  });
});

describe('reading history', () => {
  it('lists commits oldest first, over merges too, and says when there are too many', async () => {
    const repository = await setUp();
    const base = await repository.commit({ files: { 'a': '1' } });
    const side = await repository.commit({ branch: 'side', parents: [base], files: { 'b': '1' } });
    const main = await repository.commit({ files: { 'a': '2' } });
    const merge = await repository.merge({ from: side });
    const reader = await read(repository);
    const log = await reader.log(null, merge, 10);
    expect(log).toHaveLength(4);
    expect(log[0]).toEqual({ commit: base, parents: [] });
    expect(log[3]).toEqual({ commit: merge, parents: [main, side] });
    expect((await reader.log(base, main, 10)).map((entry) => entry.commit)).toEqual([main]);
    expect((await reader.log(main, merge, 10)).map((entry) => entry.commit)).toEqual([side, merge]);
    expect(await reader.log(merge, merge, 10)).toEqual([]);
    await expect(reader.log(null, merge, 3)).rejects.toMatchObject({ code: 'LimitExceeded' });
    await expect(reader.log(null, main, 1)).rejects.toMatchObject({ code: 'LimitExceeded' });
  });

  it('lists a line that is longer than what is walked in process', async () => {
    const repository = await setUp();
    const commits: CommitId[] = [];
    for (let i = 0; i < 70; i++) commits.push(await repository.commit({ files: { 'a': String(i) } }));
    const reader = await read(repository);
    expect((await reader.log(null, commits[69] as CommitId, 100)).map((entry) => entry.commit)).toEqual(commits);
    expect(await reader.isAncestor(commits[0] as CommitId, commits[69] as CommitId)).toBe(true);
  });

  it('knows ancestors, merge bases and unrelated histories', async () => {
    const repository = await setUp();
    const base = await repository.commit({ files: { 'a': '1' } });
    const side = await repository.commit({ branch: 'side', parents: [base], files: { 'b': '1' } });
    const main = await repository.commit({ files: { 'a': '2' } });
    const orphan = await repository.commit({ branch: 'orphan', parents: [], files: { 'z': '1' } });
    const reader = await read(repository);
    expect(await reader.mergeBase(main, side)).toBe(base);
    expect(await reader.mergeBase(main, orphan)).toBeNull();
    expect(await reader.isAncestor(base, main)).toBe(true);
    expect(await reader.isAncestor(main, base)).toBe(false);
    expect(await reader.isAncestor(side, main)).toBe(false);
    await expect(reader.isAncestor(parseCommitId('1'.repeat(40)), main)).rejects.toMatchObject({ code: 'ObjectMissing' });
  });

  it('follows references that move, and lists those below a prefix', async () => {
    const repository = await setUp();
    const reader = await read(repository);
    expect(await reader.resolveRef('refs/heads/main')).toBeNull();
    const first = await repository.commit({ files: { 'a': '1' } });
    expect(await reader.resolveRef('refs/heads/main')).toBe(first);
    const second = await repository.commit({ files: { 'a': '2' } });
    await repository.setBranch('stella/approvals/x/alice', first);
    await repository.setBranch('stellar', first);
    await repository.git(['pack-refs', '--all']);
    expect(await reader.resolveRef('refs/heads/main')).toBe(second);
    expect(await reader.resolveRef('HEAD')).toBe(second);
    expect(await reader.listRefs('refs/heads/stella/')).toEqual([{ name: 'refs/heads/stella/approvals/x/alice', id: first }]);
    expect((await reader.listRefs('refs/heads/stel')).map((ref) => ref.name)).toEqual(['refs/heads/stella/approvals/x/alice', 'refs/heads/stellar']);
    for (const name of ['main', '--all', 'refs/heads/a b', 'refs/heads/x\ncontents y', 'refs/heads/..', 'refs/heads/main^{tree}']) {
      await expect(reader.resolveRef(name)).rejects.toMatchObject({ code: 'InvalidName' });
    }
  });
});

describe('a repository that does not show what was signed', () => {
  it('ignores a replace ref when reading, and names it as a fault', async () => {
    const repository = await setUp();
    const real = await repository.commit({ files: { 'a': 'real' } });
    const forged = await repository.commit({ branch: 'forged', parents: [], files: { 'a': 'forged' } });
    await repository.git(['replace', real, forged]);
    const reader = await read(repository);
    const commits = await reader.readCommits([real]);
    expect(objectIdOf('sha1', 'commit', bytesOf(commits.get(real)))).toBe(real);
    const [entry] = (await reader.readTree(real)).entries;
    expect(textOf((await reader.readBlobs([entry?.blob as BlobId], 100)).get(entry?.blob as BlobId))).toBe('real');
    expect((await reader.findHistoryFaults()).map((fault) => fault.code)).toEqual(['ReplaceRefs']);
  });

  it('ignores grafts when reading, and names them as a fault', async () => {
    const repository = await setUp();
    const first = await repository.commit({ files: { 'a': '1' } });
    const other = await repository.commit({ branch: 'other', parents: [], files: { 'b': '1' } });
    const second = await repository.commit({ files: { 'a': '2' } });
    await writeFile(join(repository.folder, 'info', 'grafts'), `${second} ${other}\n`);
    const reader = await read(repository);
    expect(await reader.isAncestor(other, second)).toBe(false);
    expect(await reader.mergeBase(first, second)).toBe(first);
    expect((await reader.findHistoryFaults()).map((fault) => fault.code)).toEqual(['Grafts']);
  });

  it('names a shallow clone as a fault, and finds none in a whole one', async () => {
    const repository = await setUp();
    await repository.commit({ files: { 'a': '1' } });
    await repository.commit({ files: { 'a': '2' } });
    const clones = await createTemporaryFolder();
    open.push({ close: () => rm(clones, { recursive: true, force: true }) });
    await runProgram('git', ['clone', '-q', '--depth=1', `file://${repository.folder}`, join(clones, 'shallow')]);
    await runProgram('git', ['clone', '-q', repository.folder, join(clones, 'whole')]);
    expect((await (await read(repository, join(clones, 'shallow'))).findHistoryFaults()).map((fault) => fault.code)).toEqual(['Shallow']);
    expect(await (await read(repository, join(clones, 'whole'))).findHistoryFaults()).toEqual([]);
  });

  it('notices a blob whose content was changed on disk', async () => {
    const repository = await setUp();
    const commit = await repository.commit({ files: { 'a': 'honest' } });
    const blob = parseBlobId(await repository.git(['rev-parse', `${commit}:a`]));
    const other = await repository.git(['hash-object', '-w', '--stdin'], 'forged');
    const fileOf = (id: string): string => join(repository.folder, 'objects', id.slice(0, 2), id.slice(2));
    const forgedBytes = await readFile(fileOf(other));
    await rm(fileOf(blob), { force: true });
    await writeFile(fileOf(blob), forgedBytes);
    const reader = await read(repository);
    await expect(reader.readBlobs([blob], 1000)).rejects.toMatchObject({ code: expect.stringMatching(/ObjectCorrupt|ProcessFailed/) });
  });

  it('refuses a folder that is no repository', async () => {
    const folder = await createTemporaryFolder();
    open.push({ close: () => rm(folder, { recursive: true, force: true }) });
    await expect(openGitReader(folder, settings)).rejects.toMatchObject({ code: 'NotARepository' });
    await expect(openGitReader(join(folder, 'none'), settings)).rejects.toMatchObject({ code: 'NotARepository' });
  });
});

describe('the long-lived processes', () => {
  it('are started again after they died, and are gone after close', async () => {
    const repository = await setUp();
    const first = await repository.commit({ files: { 'a': '1' } });
    const second = await repository.commit({ files: { 'a': '2' } });
    const reader = await openGitReader(repository.folder, settings);
    await reader.diff(first, second);
    const before = [...gitChildren('cat-file'), ...gitChildren('diff-tree')];
    expect(before).toHaveLength(2);
    for (const pid of before) process.kill(pid, 'SIGKILL');
    expect((await reader.diff(first, second)).changes).toHaveLength(1);
    expect((await reader.readCommits([first])).get(first)?.ok).toBe(true);
    await reader.close();
    expect([...gitChildren('cat-file'), ...gitChildren('diff-tree')]).toEqual([]);
    await expect(reader.readCommits([first])).rejects.toMatchObject({ code: 'Closed' });
  });

  it('answer questions that are asked at once, each with its own answer, also after a repack', async () => {
    const repository = await setUp();
    const commits: CommitId[] = [];
    for (let i = 0; i < 20; i++) commits.push(await repository.commit({ files: { [`f${i}`]: `content ${i}` } }));
    const reader = await read(repository);
    const ask = async (): Promise<string[]> =>
      Promise.all(commits.map(async (commit, i) => (await reader.diff(commits[i - 1] ?? null, commit)).changes.map((change) => change.path).join()));
    const expected = commits.map((_, i) => `f${i}`);
    expect(await ask()).toEqual(expected);
    await repository.git(['repack', '-adq']);
    expect((await readdir(join(repository.folder, 'objects', 'pack'))).length).toBeGreaterThan(0);
    expect(await ask()).toEqual(expected);
    await appendFile(join(repository.folder, 'config'), '');
    const later = await repository.commit({ files: { 'later': '1' } });
    expect((await reader.diff(commits[19] as CommitId, later)).changes.map((change) => change.path)).toEqual(['later']);
  });
});

describe('two histories', () => {
  it('meet at their best common ancestor, and have after it what only the second holds, with merges and without', async () => {
    const repository = await setUp();
    const commits: CommitId[] = [];
    // Lines that fork, long ones with nothing in between, and merges of them; each commit touches a file of its own.
    const parentsOf = (i: number): readonly number[] => (i === 0 ? [] : i % 11 === 0 ? [i - 1, Math.max(0, i - 7)] : i % 5 === 0 ? [Math.max(0, i - 4)] : [i - 1]);
    for (let i = 0; i < 28; i += 1) commits.push(await repository.commit({ message: `commit ${i}`, files: { [`${i}.txt`]: `${i}\n` }, parents: parentsOf(i).map((at) => commits[at] as CommitId), branch: `line-${i}` }));
    const reader = await read(repository);
    const lines = commits.reduce<ReadonlySet<CommitId>[]>((known, commit, i) => [...known, new Set([commit, ...parentsOf(i).flatMap((at) => [...(known[at] ?? [])])])], []);
    for (const [i, a] of commits.entries()) {
      for (const [j, b] of commits.entries()) {
        if ((i + j) % 3 !== 0) continue;
        const common = commits.filter((one) => lines[i]?.has(one) === true && lines[j]?.has(one) === true);
        const best = common.filter((one) => !common.some((other) => other !== one && lines[commits.indexOf(other)]?.has(one) === true));
        expect(best).toContain(await reader.mergeBase(a, b));
        const listed = (await reader.log(a, b, 100)).map(({ commit }) => commit);
        expect(new Set(listed)).toEqual(new Set(commits.filter((one) => lines[j]?.has(one) === true && lines[i]?.has(one) !== true)));
        for (const [at, commit] of listed.entries()) for (const parent of parentsOf(commits.indexOf(commit))) expect(listed.indexOf(commits[parent] as CommitId)).toBeLessThan(at);
      }
    }
    await repository.commit({ message: 'alone', files: { 'a.txt': 'a' }, parents: [], branch: 'alone' });
    expect(await reader.mergeBase(commits[1] as CommitId, (await repository.tip('alone')) as CommitId)).toBeNull();
  }, 60_000);
});
