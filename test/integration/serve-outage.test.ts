import { afterEach, expect, test } from 'vitest';
import type { StartedServer } from '../../src/cli/compose/server.ts';
import { startGitHttpServer, type GitHttpServer } from '../fakes/git-http-server.ts';
import { startPostgres, type ScratchPostgres } from '../fakes/postgres.ts';
import { doc, World } from '../fakes/world.ts';
import { environment, getJson, serverConfig, start } from './serve-fixture.ts';

const within = { timeout: 40_000, interval: 50 };
let world: World;
let server: StartedServer | null = null;
let postgres: ScratchPostgres | null = null;
let git: GitHttpServer | null = null;

afterEach(async () => {
  await server?.close();
  await git?.close();
  await postgres?.stop();
  [server, git, postgres] = [null, null, null];
  await world.close();
});

async function settled(started: StartedServer): Promise<StartedServer> {
  await expect.poll(() => started.loop.status.lastReport, within).toMatchObject({ ok: true, records: 0 });
  return started;
}

test('while Postgres is away readiness and reads say so; once it is back the mirror has every record', async () => {
  postgres = await startPostgres();
  world = await World.create({ idle: true });
  server = await settled(await start(await serverConfig(world, { STORAGE__DRIVER: 'postgres', CONNECTIONSTRINGS__DEFAULT: postgres.url }), { createLog: true }));
  await postgres.pause();
  await world.commit([doc('Release', 'shop/1.0', { components: { api: { digest: `sha256:${'d'.repeat(64)}` as never } } }), doc('Promotion', 'dev/shop', { release: '1.0' })], { by: world.people.alice });
  await expect.poll(() => server?.loop.status.lastReport?.fault?.code, within).toBe('StorageUnavailable');
  expect(await getJson(server, '/readyz')).toMatchObject({ status: 503, body: { ready: false, storage: false } });
  expect(await getJson(server, '/api/v1/evidence')).toMatchObject({ status: 503, body: { code: 'StorageUnavailable' } });
  await postgres.resume();
  await settled(server);
  await expect.poll(async () => ((await getJson(server!, '/api/v1/evidence')).body['data'] as unknown[] | undefined)?.length, within).toBe(server.reconciler.state?.size);
  expect(await getJson(server, '/readyz')).toMatchObject({ status: 200 });
  expect((await getJson(server, '/api/v1/conditions')).body['data']).not.toContainEqual(expect.objectContaining({ kind: 'Repository', type: 'Stalled' }));
});

test('a token by reference opens a repository over http, and stands nowhere but in the request', async () => {
  world = await World.create({ idle: true });
  git = await startGitHttpServer({ repository: world.repository.folder, credential: { kind: 'basic', username: 'ci', password: 'a-secret-token' } });
  await world.repository.git(['config', 'http.receivepack', 'true']);
  const variables = { STELLA_REPOSITORY__URL: git.url, STELLA_REPOSITORY__USERNAME: 'ci', STELLA_REPOSITORY__TOKEN_REF: 'env:GIT_TOKEN' };
  const config = await serverConfig(world, variables);
  await expect(start(config, { createLog: true })).rejects.toMatchObject({ code: 'SecretUnavailable' });
  server = await settled(await start(config, { createLog: true, environment: { ...environment, GIT_TOKEN: 'a-secret-token' } }));
  expect(await world.repository.tip('stella/evidence')).toBe(server.reconciler.evidenceTip);
  expect(JSON.stringify(config)).not.toContain('a-secret-token');
});

test('evidence can lie in a repository of its own', async () => {
  world = await World.create({ idle: true });
  await world.repository.git(['init', '-q', '--bare', '--initial-branch=main', `${world.folder}/log.git`]);
  server = await settled(await start(await serverConfig(world, { STELLA_EVIDENCE__URL: `${world.folder}/log.git` }), { createLog: true }));
  expect(await world.repository.tip('stella/evidence')).toBeNull();
  expect(await world.repository.git(['--git-dir', `${world.folder}/log.git`, 'rev-parse', 'refs/heads/stella/evidence'])).toBe(server.reconciler.evidenceTip);
});
