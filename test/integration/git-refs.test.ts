import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, expect, it } from 'vitest';
import { directGitCommands } from '../../src/adapters/git/git-command.ts';
import { openGitReader } from '../../src/adapters/git/native-git-reader.ts';
import { readRefFiles } from '../../src/adapters/git/ref-files.ts';
import { createRepository, type TestRepository } from '../fakes/git-repository.ts';

let repository: TestRepository;
afterEach(() => repository.remove());

/** References in files, packed, and in files over packed ones; a tag among them. */
async function setUp(): Promise<TestRepository> {
  repository = await createRepository();
  const first = await repository.commit({ files: { a: '1' } });
  await repository.setBranch('stella/approvals/x/alice', first);
  await repository.setBranch('stellar', first);
  await repository.git(['-c', 'user.name=Test', '-c', 'user.email=test@example.test', 'tag', '-a', '-m', 'one', 'v1', first]);
  await repository.git(['pack-refs', '--all']);
  await repository.commit({ files: { a: '2' } });
  await repository.setBranch('stella/approvals/y/bob', first);
  return repository;
}

const asGit = async (folder: string): Promise<readonly { readonly name: string; readonly id: string }[]> =>
  (await repository.git(['for-each-ref', '--format=%(objectname) %(refname)', folder])).split('\n').filter((line) => line !== '').map((line) => ({ id: line.split(' ')[0] ?? '', name: line.split(' ')[1] ?? '' }));

it('the files say of references what git says', async () => {
  await setUp();
  for (const folder of ['refs/', 'refs/heads/', 'refs/heads/stella/approvals/', 'refs/replace/', 'refs/tags/']) {
    expect(await readRefFiles(repository.folder, folder)).toEqual(await asGit(folder));
  }
  expect(await asGit('refs/')).toHaveLength(5);
});

it('a symbolic reference, a broken one and another storage are left to git', async () => {
  await setUp();
  await repository.git(['symbolic-ref', 'refs/heads/alias', 'refs/heads/main']);
  expect(await readRefFiles(repository.folder, 'refs/heads/')).toBeNull();
  const reader = await openGitReader(repository.folder, { environment: { PATH: process.env['PATH'] }, commands: directGitCommands() });
  expect(await reader.listRefs('refs/heads/')).toEqual(await asGit('refs/heads/'));
  await reader.close();
  await writeFile(join(repository.folder, 'refs', 'tags', 'broken'), 'nothing');
  expect(await readRefFiles(repository.folder, 'refs/tags/')).toBeNull();
  expect(await readRefFiles(repository.folder, 'refs/replace/')).toEqual([]);
  await mkdir(join(repository.folder, 'reftable'));
  expect(await readRefFiles(repository.folder, 'refs/replace/')).toBeNull();
});
