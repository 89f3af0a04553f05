import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import type { DocumentOf } from '../../src/core/model/documents.ts';
import { appStateOf } from '../../src/core/evidence/log-state.ts';
import { giteaDialect } from '../fakes/forge-gitea.ts';
import { fakeForge, startFakeForge, type FakeForgeServer } from '../fakes/forge-server.ts';
import { startGitHttpServer, type GitHttpServer } from '../fakes/git-http-server.ts';
import { createSshKey, createTemporaryFolder, runProgram, type SshKey } from '../fakes/git-repository.ts';
import { LiveBranches } from '../fakes/live-branches.ts';
import { doc, World } from '../fakes/world.ts';
import { cloneFor, json, putImage, stella, type CliResult, type Clone } from './cli-fixture.ts';

type Made = { readonly commit: string | null; readonly branch: string; readonly isNew: boolean; readonly isThere: boolean; readonly releaseSpec: string; readonly proposal: { readonly number: number; readonly opened: boolean } | null };
const GITHUB = { GITHUB_ACTIONS: 'true', GITHUB_SERVER_URL: 'https://github.example', GITHUB_REPOSITORY: 'acme/shop', GITHUB_SHA: 'a'.repeat(40), GITHUB_REF_TYPE: 'tag', GITHUB_REF_NAME: 'v1.0', GITHUB_RUN_ID: '17' };

let world: World;
let git: GitHttpServer;
let forge: FakeForgeServer;
let keys: string;
let robot: SshKey;
let pipeline: Clone;

/** A pipeline whose key belongs to a principal of type service. */
beforeEach(async () => {
  keys = await createTemporaryFolder();
  robot = await createSshKey(keys, 'robot');
  world = await World.create({ documents: [doc('Principal', 'robot', { type: 'service', keys: [{ key: robot.publicKey, status: 'active' }] })] });
  for (const tag of ['1.0', '1.1']) await putImage(world, 'shop/api', tag, tag);
  git = await startGitHttpServer({ repository: world.repository.folder });
  forge = await startFakeForge(giteaDialect(), fakeForge({ branches: new LiveBranches(world.repository.folder) }));
  pipeline = await cloneFor(world, robot);
  await pipeline.git('remote', 'set-url', 'origin', git.url);
});

afterEach(async () => {
  await forge.stop();
  await git.close();
  await world.close();
  await rm(keys, { recursive: true, force: true });
});

const create = (version: string, ...more: readonly string[]): Promise<CliResult> => pipeline.stella(['release', 'create', `shop/${version}`, ...more], { environment: { ...GITHUB, STELLA_FORGE_TOKEN: 'token-of-stella' } });
const propose = async (version: string, ...more: readonly string[]): Promise<Made> => json<Made>(await create(version, '--tag', version, '--propose', '-o', 'json', ...more));
const merge = async (branch: string): Promise<void> => {
  await world.repository.merge({ from: (await world.repository.tip(branch))!, sshKey: world.people.alice });
  await world.settle();
};

describe('stella release create --propose in a pipeline', () => {
  it('pushes one commit signed by the service, and the release runs once a person asks for it', async () => {
    const made = await propose('1.0', '--ci');
    expect(made).toMatchObject({ branch: 'release/shop-1.0', isNew: true, isThere: false, proposal: null });
    expect(await pipeline.git('status', '--porcelain')).toBe('');
    expect(await world.repository.git(['log', '--format=%s %an', 'main..release/shop-1.0'])).toBe('Release shop 1.0 robot');
    expect(await world.repository.git(['cat-file', 'commit', made.commit!])).toContain('gpgsig');
    const release = parse(await world.repository.git(['show', `${made.commit!}:releases/shop/1.0.yaml`])) as DocumentOf<'Release'>;
    expect(release.spec).toEqual({
      components: { api: { tag: '1.0', digest: world.registry.tags.get('shop/api:1.0') } },
      source: { repository: 'https://github.example/acme/shop', commit: 'a'.repeat(40), build: 'https://github.example/acme/shop/actions/runs/17' },
    });
    await merge(made.branch);
    const alice = await cloneFor(world, world.people.alice);
    expect((await alice.stella(['promote', 'shop/1.0', '--to', 'dev'])).code).toBe(0);
    await merge('promote/dev/shop-1.0');
    expect(appStateOf(await world.state(), 'dev', 'shop').release).toBe('1.0');
  });

  it('does the same thing once: on the branch, in the pull request, and after the merge', async () => {
    await pipeline.git('config', 'stella.forge', 'gitea:acme/deploy');
    await pipeline.git('config', 'stella.forgeUrl', forge.url);
    const first = await propose('1.0');
    expect(first).toMatchObject({ isNew: true, proposal: { number: 1, opened: true } });
    expect(await propose('1.0')).toMatchObject({ commit: first.commit, isNew: false, proposal: { number: 1, opened: false } });
    await merge(first.branch);
    expect(await propose('1.0')).toMatchObject({ isThere: true, commit: null, releaseSpec: first.releaseSpec });
    expect(forge.forge.proposals).toHaveLength(1);
    expect(forge.faults).toEqual([]);
  });

  it('refuses other content under the same version, and names both digests', async () => {
    const first = await propose('1.0');
    await merge(first.branch);
    await putImage(world, 'shop/api', '1.0', 'moved');
    const refused = await create('1.0', '--tag', '1.0', '--propose');
    expect(refused).toMatchObject({ code: 1 });
    expect(refused.stderr).toContain(first.releaseSpec);
    expect(refused.stderr.match(/sha256:[0-9a-f]{64}/g)).toHaveLength(2);
  });

  it('says what a shallow checkout lacks, and writes nothing', async () => {
    const folder = join(world.folder, 'shallow');
    await runProgram('git', ['clone', '-q', '--depth', '1', '--no-single-branch', `file://${world.repository.folder}`, folder]);
    await runProgram('git', ['-C', folder, 'config', 'stella.genesis', world.pin]);
    const refused = await stella(['release', 'create', 'shop/1.0', '--component', `api=@${world.registry.tags.get('shop/api:1.0')!}`, '--propose', '--key', robot.privateKeyPath, '-C', folder]);
    expect(refused).toMatchObject({ code: 2 });
    expect(refused.stderr).toContain('fetch-depth: 0');
    expect(await world.repository.git(['for-each-ref', 'refs/heads/release'])).toBe('');
  });

  it('leaves out an address with a credential, and knows when it runs in no pipeline', async () => {
    const environment = { GITLAB_CI: 'true', CI_PROJECT_URL: 'https://gitlab-ci-token:secret@gitlab.example/acme/shop', CI_COMMIT_SHA: 'b'.repeat(40), CI_COMMIT_BRANCH: 'main', CI_PIPELINE_URL: 'https://gitlab.example/acme/shop/-/pipelines/3' };
    expect((await pipeline.stella(['release', 'create', 'shop/1.0', '--tag', '1.0', '--ci', '--source-branch', 'release'], { environment })).code).toBe(0);
    const { source } = (parse(await readFile(join(pipeline.folder, 'releases/shop/1.0.yaml'), 'utf8')) as DocumentOf<'Release'>).spec;
    expect(source).toEqual({ commit: 'b'.repeat(40), branch: 'release', build: 'https://gitlab.example/acme/shop/-/pipelines/3' });
    const nowhere = await pipeline.stella(['release', 'create', 'shop/1.1', '--tag', '1.1', '--ci']);
    expect(nowhere).toMatchObject({ code: 2 });
    expect(nowhere.stderr).toContain('--source-commit');
  });

  it('takes a key that nobody in force holds, and says that nobody can tell who wrote it', async () => {
    const made = await create('1.0', '--tag', '1.0', '--propose', '--key', world.keys.commits.privateKeyPath);
    expect(made).toMatchObject({ code: 0 });
    expect(made.stderr).toContain('no principal in force');
  });
});

describe('stella release create elsewhere', () => {
  it('commits where the person is with --here, and nothing else that lies around', async () => {
    await writeFile(join(pipeline.folder, 'stray.txt'), 'stray');
    const made = json<Made>(await create('1.0', '--tag', '1.0', '--here', '-o', 'json'));
    expect(await pipeline.git('rev-parse', 'HEAD')).toBe(made.commit);
    expect(await pipeline.git('show', '--format=', '--name-only', 'HEAD')).toBe('releases/shop/1.0.yaml');
    expect(await pipeline.git('status', '--porcelain')).toBe('?? stray.txt');
  });

  it('refuses options that contradict each other', async () => {
    for (const more of [['--here', '--propose'], ['--no-push'], ['--branch', 'x'], ['--channel', 'Not A Name'], ['--source-commit', 'no commit']]) {
      expect((await create('1.0', '--tag', '1.0', ...more)).code).toBe(2);
    }
  });
});
