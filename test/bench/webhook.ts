import { createHmac } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import { writeImage } from '../../src/adapters/oci/write-layout.ts';
import { startServer, type StartedServer } from '../../src/cli/compose/server.ts';
import type { CommitId } from '../../src/core/model/commit-id.ts';
import { githubDialect } from '../fakes/forge-github.ts';
import { addProposal, fakeForge, startFakeForge, type FakeForgeServer, type FakeProposal } from '../fakes/forge-server.ts';
import { runProgram } from '../fakes/git-repository.ts';
import { doc, World } from '../fakes/world.ts';
import { environment, serverConfig } from '../integration/serve-fixture.ts';
import { median } from './figure.ts';
import { startGitServerThread } from './git-server-thread.ts';

const ROUNDS = 20;
const WARM_UPS = 3;
/** For the status and the comment of one round. */
const BETWEEN_ROUNDS_MS = 2_000;
const SECRETS = { ...environment, FORGE_TOKEN: 'token-of-stella', FORGE_SECRET: 'of the forge' };

/**
 * From the delivery of a webhook until the forge has the status of the head that it tells of, against the `git fetch` of that head from the same http
 * server into a warm clone. Both in turn; the server has listed, fetched and planned by then, and has asked a forge over http.
 * @returns ratio of the medians of 20 rounds each
 */
export async function webhookToStatusVsFetch(): Promise<number> {
  const world = await World.create({ idle: true });
  const git = await startGitServerThread(world.folder);
  const forge = await startFakeForge(githubDialect(), fakeForge());
  let server: StartedServer | null = null;
  try {
    await mkdir(join(world.folder, 'images'), { recursive: true });
    await writeImage({ layoutFolder: join(world.folder, 'images', 'shop', 'api'), tag: '1.0', files: [{ path: 'app.txt', content: 'one\n', mode: 0o644 }] });
    await world.commit([doc('Release', 'shop/1.0', { components: { api: { tag: '1.0' } } }), doc('Promotion', 'dev/shop', { release: '1.0' })], { by: world.people.alice });
    const url = git.urlOf('origin.git');
    const config = await serverConfig(world, {
      STELLA_REPOSITORY__URL: url, STELLA_POLL_SECONDS: '3600', STELLA_FORGE__TYPE: 'github', STELLA_FORGE__URL: forge.url, STELLA_FORGE__REPOSITORY: 'acme/deploy', STELLA_FORGE__TOKEN_REF: 'env:FORGE_TOKEN',
      STELLA_FORGE__WEBHOOK_SECRET_REF: 'env:FORGE_SECRET',
    });
    server = await startServer(config, { now: () => new Date(), log: () => undefined, environment: SECRETS, pid: process.pid, version: 'bench', createLog: true });
    await until(() => server?.loop.status.lastReport?.ok === true && server.loop.status.lastReport.records === 0);
    const clone = join(world.folder, 'clone.git');
    await runProgram('git', ['clone', '-q', '--bare', url, clone]);
    const times: { ours: number; plain: number }[] = [];
    const proposal = await firstProposal(world, forge);
    for (let round = -WARM_UPS; round < ROUNDS; round += 1) {
      const head = await pushed(world, proposal, round);
      const ours = (): Promise<number> => statusTime(server, forge, proposal, head);
      const plain = (): Promise<number> => elapsed(() => runProgram('git', ['--git-dir', clone, 'fetch', '-q', url, `+refs/pull/${proposal.number}/head:refs/seen`]));
      const first = await (round % 2 === 0 ? ours : plain)();
      const second = await (round % 2 === 0 ? plain : ours)();
      if (round >= 0) times.push(round % 2 === 0 ? { ours: first, plain: second } : { ours: second, plain: first });
      // The comment follows, and is no part of the figure.
      await until(() => forge.forge.comments.some(({ body }) => body.includes(head.slice(0, 12))));
      // Nor is the pace at which a forge wants to be written to: pushes do not come in a row of twenty.
      await new Promise((resolve) => setTimeout(resolve, BETWEEN_ROUNDS_MS));
    }
    const [oursMs, plainMs] = [median(times.map((t) => t.ours)), median(times.map((t) => t.plain))];
    process.stderr.write(`a status is set ${oursMs.toFixed(1)} ms after the webhook, the fetch alone takes ${plainMs.toFixed(1)} ms\n`);
    return oursMs / plainMs;
  } finally {
    await server?.close();
    await forge.stop();
    await git.close();
    await world.close();
  }
}

async function firstProposal(world: World, { forge }: FakeForgeServer): Promise<FakeProposal> {
  await world.repository.setBranch('feature', (await world.repository.tip()) as CommitId);
  return addProposal(forge, { branch: 'feature', commit: (await world.repository.tip()) as CommitId });
}

/** Another commit on the branch that is proposed, as the forge shows it. */
async function pushed(world: World, proposal: FakeProposal, round: number): Promise<CommitId> {
  const head = await world.commit([doc('Promotion', 'prod/shop', { release: '1.0', attempt: round + WARM_UPS + 1 })], { branch: 'feature', by: world.people.alice });
  await world.repository.git(['update-ref', `refs/pull/${proposal.number}/head`, head]);
  Object.assign(proposal, { commit: head, updatedAt: new Date().toISOString() });
  return head;
}

async function statusTime(server: StartedServer | null, { forge }: FakeForgeServer, { number }: FakeProposal, head: CommitId): Promise<number> {
  const body = JSON.stringify({ action: 'synchronize', number, pull_request: { number }, repository: { full_name: forge.repository } });
  const signature = `sha256=${createHmac('sha256', SECRETS.FORGE_SECRET).update(body).digest('hex')}`;
  return elapsed(async () => {
    const headers = { 'content-type': 'application/json', 'x-github-event': 'pull_request', 'x-github-delivery': head, 'x-hub-signature-256': signature };
    await fetch(`http://127.0.0.1:${server?.httpPort}/api/v1/webhooks/github`, { method: 'POST', body, headers });
    await until(() => forge.statuses.some(({ commit }) => commit === head));
  });
}

async function elapsed(work: () => Promise<unknown>): Promise<number> {
  const begunAt = performance.now();
  await work();
  return performance.now() - begunAt;
}

async function until(isDone: () => boolean): Promise<void> {
  const begunAt = performance.now();
  while (!isDone()) {
    if (performance.now() - begunAt > 60_000) throw new Error('nothing came for a minute');
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}
