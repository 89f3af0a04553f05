import { readFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { chmod, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { digestOfBytes } from '../../src/core/model/digest.ts';
import type { AnyDocument } from '../../src/core/model/documents.ts';
import { createSshKey, createTemporaryFolder, runProgram, type SshKey } from '../fakes/git-repository.ts';
import { IdentityIssuer } from '../fakes/identity-issuer.ts';
import { doc, World } from '../fakes/world.ts';
import { runScript, type ScriptResult } from './script-fixture.ts';

const root = fileURLToPath(new URL('../../', import.meta.url));
const read = (path: string): unknown => parse(readFileSync(join(root, 'examples', path), 'utf8'));

type Step = { readonly name?: string; readonly run?: string };
type Workflow = { readonly jobs: Readonly<Record<string, { readonly steps: readonly Step[] }>> };
type Job = { readonly script: readonly string[] };

const API = digestOfBytes('the image of api 1.5.0');
const WEB = digestOfBytes('the image of web 1.5.0');

let keys: string;
/** Stands where GitHub is: it says who started a run to whoever has the token of that run. */
const issuer = new IdentityIssuer('https://token.actions.example', 'RS256');
let tokens: Server;
let pipeline: SshKey;
let world: World;
let folders = 0;

/** The shop of two components, with the pipeline as a service. */
beforeAll(async () => {
  keys = await createTemporaryFolder();
  pipeline = await createSshKey(keys, 'pipeline');
  const dora = await createSshKey(keys, 'dora');
  world = await World.create({
    documents: [
      doc('Component', 'web', { repository: 'shop/web', registry: 'images' }), doc('Application', 'shop', { components: ['api', 'web'], deployment: { type: 'directory' } }),
      doc('Principal', 'dora', { type: 'person', keys: [{ key: dora.publicKey, status: 'active' }], identities: [{ issuer: issuer.issuer, subject: '583231' }], roles: [{ role: 'dev' }] }),
      doc('Integration', 'github', issuer.spec({ services: ['shop-pipeline'] })),
      doc('Principal', 'shop-pipeline', { type: 'service', keys: [{ key: pipeline.publicKey, status: 'active' }], roles: [{ role: 'developer', applications: ['shop'] }] }),
    ],
  });
  // Tokens are judged by the clock of whoever looks, and programs of their own have the machine's.
  world.now = new Date();
  tokens = createServer((request, response) => {
    const audience = new URL(request.url ?? '', 'http://localhost').searchParams.get('audience') ?? '';
    if (request.headers.authorization !== 'bearer token-of-the-run') response.writeHead(403).end();
    else response.end(JSON.stringify({ count: 1, value: issuer.token('583231', audience, new Date()) }));
  });
  await new Promise<void>((resolve) => tokens.listen(0, '127.0.0.1', resolve));
  await runProgram('git', ['-C', world.repository.folder, 'config', 'receive.advertisePushOptions', 'true']);
});
afterAll(async () => {
  tokens.close();
  await world.close();
  await rm(keys, { recursive: true, force: true });
});

/** A clone as a runner makes it: the whole history, detached at `ref`, nobody's name in it. */
async function checkout(ref: string): Promise<string> {
  const folder = join(world.folder, `runner-${(folders += 1)}`);
  await runProgram('git', ['clone', '-q', world.repository.folder, folder]);
  await runProgram('git', ['-C', folder, 'checkout', '-q', '--detach', ref]);
  return folder;
}

/** A branch from main with one commit on it. */
async function propose(branch: string, documents: readonly AnyDocument[], by: SshKey): Promise<void> {
  await world.repository.setBranch(branch, (await world.repository.tip())!);
  await world.commit(documents, { by, branch });
}

async function inFolder(folder: string, script: string, environment: Readonly<Record<string, string>>): Promise<ScriptResult> {
  return runScript(script, { folder, scratch: join(world.folder, `home-${folders}`), environment: { STELLA_GENESIS: world.pin, ...environment } });
}

/** What a step of a workflow runs. */
function stepOf(path: string, job: string, name: string): string {
  const found = (read(path) as Workflow).jobs[job]?.steps.find((step) => step.name === name)?.run;
  if (found === undefined) throw new Error(`${path} has no step "${name}"`);
  return found;
}

const scriptOf = (path: string, job: string): string => ((read(path) as Readonly<Record<string, Job>>)[job]?.script ?? []).join('\n');

async function onBranch(branch: string, path: string): Promise<string> {
  return (await runProgram('git', ['-C', world.repository.folder, 'show', `${branch}:${path}`])).toString();
}

describe('the check of a pull request', () => {
  const CHECK = 'github-actions/.github/workflows/check.yaml';

  it('passes what nobody would refuse, and shows what would change', async () => {
    await propose('ask', [doc('Release', 'shop/1.0', { components: { api: { tag: '1.0', digest: API }, web: { tag: '1.0', digest: WEB } } }), doc('Promotion', 'dev/shop', { release: '1.0' })], world.people.alice);
    const folder = await checkout('origin/ask');
    const summary = join(world.folder, 'summary.md');
    expect(await inFolder(folder, stepOf(CHECK, 'check', 'Tell what would be refused'), {})).toMatchObject({ code: 0 });
    expect(await inFolder(folder, stepOf(CHECK, 'check', 'Show the plan'), { GITHUB_STEP_SUMMARY: summary })).toMatchObject({ code: 0 });
    expect(await readFile(summary, 'utf8')).toContain('dev');
  });

  it('fails on GitHub and GitLab when something would be refused', async () => {
    const rogue = await createSshKey(keys, 'nobody');
    await propose('weaken', [doc('Environment', 'prod', { order: 2 })], rogue);
    const folder = await checkout('origin/weaken');
    expect((await inFolder(folder, stepOf(CHECK, 'check', 'Tell what would be refused'), {})).code).toBe(1);
    const sha = (await runProgram('git', ['-C', folder, 'rev-parse', 'HEAD'])).toString().trim();
    expect((await inFolder(folder, scriptOf('gitlab-ci/declarations.gitlab-ci.yml', 'check'), { CI_COMMIT_SHA: sha })).code).toBe(1);
  });

  it('passes on GitLab as well, and keeps the plan', async () => {
    const folder = await checkout('origin/ask');
    const sha = (await runProgram('git', ['-C', folder, 'rev-parse', 'HEAD'])).toString().trim();
    expect(await inFolder(folder, scriptOf('gitlab-ci/declarations.gitlab-ci.yml', 'check'), { CI_COMMIT_SHA: sha })).toMatchObject({ code: 0 });
    expect(await readFile(join(folder, 'plan.md'), 'utf8')).toContain('dev');
  });

  it('does not take the pin from what it looks at', async () => {
    const folder = await checkout('origin/ask');
    expect((await inFolder(folder, stepOf(CHECK, 'check', 'Tell what would be refused'), { STELLA_GENESIS: '' })).code).toBe(2);
  });
});

describe('a release by a pipeline', () => {
  const RELEASE = 'github-actions/.github/workflows/release.yaml';

  /** Signed by the pipeline, with both digests, and accepted once it is merged. */
  async function expectReleased(version: string, commit: string): Promise<void> {
    const branch = `release/shop-${version}`;
    expect(parse(await onBranch(branch, `releases/shop/${version}.yaml`))).toMatchObject({
      kind: 'Release', metadata: { name: `shop/${version}` }, spec: { components: { api: { tag: version, digest: API }, web: { tag: version, digest: WEB } }, source: { commit }, channel: 'stable' },
    });
    const signers = join(keys, 'signers');
    await writeFile(signers, `pipeline ${pipeline.publicKey}\n`);
    await runProgram('git', ['-C', world.repository.folder, '-c', `gpg.ssh.allowedSignersFile=${signers}`, 'verify-commit', branch]);
    await runProgram('git', ['-C', world.repository.folder, 'update-ref', 'refs/heads/main', `refs/heads/${branch}`]);
    await world.settle();
    expect((await world.state()).locks.get(`shop/${version}`)?.lock.components).toMatchObject([{ name: 'api', digest: API }, { name: 'web', digest: WEB }]);
  }

  it('stands on a branch of its own on GitHub, signed, and is locked after the merge', async () => {
    const folder = await checkout('origin/main');
    const temporary = join(world.folder, 'runner-temp');
    await mkdir(temporary);
    const environment = {
      GITHUB_WORKSPACE: folder, RUNNER_TEMP: temporary, SIGNING_KEY: (await readFile(pipeline.privateKeyPath, 'utf8')).trimEnd(), GITHUB_REF_NAME: 'v1.5.0', GITHUB_SHA: 'c'.repeat(40),
      GITHUB_SERVER_URL: 'https://github.example', GITHUB_REPOSITORY: 'acme/shop', GITHUB_RUN_ID: '17', GITHUB_ACTIONS: 'true', API, WEB,
      ACTIONS_ID_TOKEN_REQUEST_URL: `http://127.0.0.1:${(tokens.address() as AddressInfo).port}/token?version=1`, ACTIONS_ID_TOKEN_REQUEST_TOKEN: 'token-of-the-run',
    };
    for (const name of ['Sign as the pipeline', 'Ask GitHub for a token about this release and no other', 'Write the release on a branch of its own', 'Take key and token away']) {
      const done = await inFolder(folder, stepOf(RELEASE, 'release', name), environment);
      expect(done.code, `${name}: ${done.stderr}`).toBe(0);
    }
    expect((await runProgram('ls', ['-A', temporary])).toString()).toBe('');
    await expectReleased('1.5.0', 'c'.repeat(40));
    // Who started the run is who asked, by a token that counted when the release was locked.
    expect((await world.state()).locks.get('shop/1.5.0')?.onBehalfOf).toMatchObject({ issuer: issuer.issuer, subject: '583231' });
  });

  it('stands on a branch of its own on GitLab, signed, and is locked after the merge', async () => {
    const folder = join(world.folder, 'gitlab-runner');
    await mkdir(folder);
    const secret = join(folder, 'signing-key');
    await writeFile(secret, await readFile(pipeline.privateKeyPath));
    await chmod(secret, 0o644);
    const deployKey = join(folder, 'deploy-key');
    await writeFile(deployKey, 'not asked for on this machine');
    const environment = {
      CI_COMMIT_TAG: 'v1.6.0', CI_COMMIT_SHA: 'd'.repeat(40), CI_PIPELINE_URL: 'https://gitlab.example/acme/shop/-/pipelines/17', GITLAB_CI: 'true', CI_PROJECT_URL: 'https://gitlab.example/acme/shop', api: API, web: WEB,
      PIPELINE_SIGNING_KEY: secret, DECLARATIONS_DEPLOY_KEY: deployKey, DECLARATIONS_KNOWN_HOSTS: '/dev/null',
      // The host of the example is this repository here.
      GIT_CONFIG_COUNT: '1', GIT_CONFIG_KEY_0: `url.${world.repository.folder}.insteadOf`, GIT_CONFIG_VALUE_0: 'git@gitlab.example:acme/deploy.git',
    };
    expect(await inFolder(folder, scriptOf('gitlab-ci/application.gitlab-ci.yml', 'release'), environment)).toMatchObject({ code: 0 });
    await expectReleased('1.6.0', 'd'.repeat(40));
  });

  it('is made again without harm, and never with another content', async () => {
    const folder = await checkout('origin/main');
    const create = `stella release create shop/1.5.0 --component api=1.5.0@${API} --component web=1.5.0@${WEB} --source-commit ${'c'.repeat(40)} --channel stable`;
    const release = parse(await onBranch('main', 'releases/shop/1.5.0.yaml')) as { readonly spec: { readonly source: { readonly repository: string; readonly build: string } } };
    const { repository, build } = release.spec.source;
    expect((await inFolder(folder, `${create} --source-repository ${repository} --build ${build}`, {})).code).toBe(0);
    expect((await inFolder(folder, `${create} --build another`, {})).code).toBe(1);
  });
});
