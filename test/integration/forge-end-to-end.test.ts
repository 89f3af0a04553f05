import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { json, stella } from './cli-fixture.ts';
import { type Judged, type Merge, MERGES, Origin, type Stage } from './forge-stage.ts';

const within = { timeout: 60_000, interval: 50 };
let origin: Origin;
const stages: Stage[] = [];

beforeAll(async () => {
  origin = await Origin.create();
}, 120_000);
afterAll(() => origin.close());
afterEach(async () => {
  for (const stage of stages.splice(0)) {
    await stage.close();
    // Each request to the forge was as its published description says.
    expect(stage.forge.faults).toEqual([]);
  }
});

async function open(): Promise<Stage> {
  const stage = await origin.stage();
  stages.push(stage);
  await expect.poll(() => stage.server.reconciler.state?.locks.get('shop/1.0') !== undefined, within).toBe(true);
  return stage;
}

const judgedBy = new Map<Merge, Judged>();

test.each(MERGES)('a promotion that is merged by %s is planned, approved, allowed, deployed and evidenced, and its pull request tells all of it', async (method) => {
  const stage = await open();
  await stage.startAgent();
  const proposal = await stage.propose();
  await expect.poll(() => stage.comments().length, within).toBe(1);
  expect(stage.status(proposal.commit)).toContain('waiting for sre');
  const { seen } = stage.forge;
  expect(seen.findIndex((line) => line.startsWith('POST') && line.includes('/statuses/'))).toBeLessThan(seen.findIndex((line) => line.startsWith('POST') && line.includes('/comments')));
  // Nothing of a proposal is executed or recorded.
  expect([await stage.deployed(), (await stage.records('promotion-decision')).length]).toEqual(['nothing', 0]);
  const planned = /Promotion digest: `(sha256:[0-9a-f]{64})`/.exec(stage.comments()[0] ?? '')?.[1] ?? '';
  await stage.approve(planned);
  const merged = await stage.merge(proposal, method);
  await expect.poll(() => stage.server.reconciler.state?.states.get('dev/shop')?.lastOutcome?.result, within).toBe('Succeeded');
  expect(await stage.deployed()).toBe('one\n');
  for (const commit of [proposal.commit, merged]) await expect.poll(() => stage.status(commit), within).toMatch(/^success: deployed/);
  await expect.poll(() => stage.comments().map((comment) => comment.includes('**✅ deployed')), within).toEqual([true]);
  expect(await stage.records('deployment-outcome')).toMatchObject([{ content: { result: 'Succeeded', promotionDigest: planned } }]);
  // An auditor with the repository and the pin comes to the same.
  const audit = ['--repo', stage.repository.folder, '--genesis', origin.world.pin, '-C', origin.world.folder, '-o', 'json'];
  expect(json(await stella(['verify', ...audit]))).toMatchObject({ ok: true });
  expect(json(await stella(['replay', '--all', ...audit]))).toMatchObject({ decisions: 1, identical: 1 });
  const judged = await stage.judged();
  // What merged is what was planned, whoever signed the merge.
  expect(judged).toMatchObject({ promotionDigest: planned, outcome: 'allow', reasons: [], approvers: ['bob'], requesters: { people: ['alice'], unknown: 0 } });
  judgedBy.set(method, judged);
}, 180_000);

test('a merge commit, a squash and a rebase are judged alike: promotion digest, outcome, reason codes, gates and approvers', () => {
  const [first, ...others] = MERGES.map((method) => judgedBy.get(method));
  expect(others).toEqual([first, first]);
  expect(first).toBeDefined();
});

test('a merge without the approval says that it waits, and for whom, until the approval comes', async () => {
  const stage = await open();
  await stage.startAgent();
  const proposal = await stage.propose();
  await expect.poll(() => stage.comments().length, within).toBe(1);
  const planned = /Promotion digest: `(sha256:[0-9a-f]{64})`/.exec(stage.comments()[0] ?? '')?.[1] ?? '';
  const merged = await stage.merge(proposal, 'squash');
  await expect.poll(() => stage.status(merged), within).toMatch(/^pending: .*waiting for sre/);
  expect([await stage.deployed(), stage.status(proposal.commit)]).toEqual(['nothing', stage.status(merged)]);
  await stage.approve(planned);
  await expect.poll(() => stage.status(merged), within).toMatch(/^success: deployed/);
  expect(await stage.deployed()).toBe('one\n');
}, 180_000);

test('a token that lost its rights is a condition; what is proposed meanwhile is planned once it has them again, without a restart', async () => {
  const stage = await open();
  stage.forge.forge.token = 'another token';
  const proposal = await stage.propose();
  await expect.poll(() => stage.conditions(), within).toContain('ForgeUnauthorized');
  expect([stage.status(proposal.commit), stage.comments()]).toEqual(['none', []]);
  stage.forge.forge.token = 'token-of-stella';
  await stage.deliver('pull_request', { action: 'edited', number: proposal.number });
  await expect.poll(() => stage.status(proposal.commit), within).toContain('waiting for sre');
  await expect.poll(() => stage.comments().length, within).toBe(1);
  await expect.poll(() => stage.conditions(), within).not.toContain('ForgeUnauthorized');
}, 180_000);

test('a delivery that is replayed, cut off, signed otherwise, or for another repository wakes nobody', async () => {
  const stage = await open();
  const answer = async (sent: Parameters<Stage['post']>[0]): Promise<readonly [number, unknown]> => stage.post(sent);
  const body = JSON.stringify({ action: 'opened', number: 1, repository: { full_name: 'acme/deploy' } });
  expect(await answer({ body, id: 'one' })).toEqual([202, true]);
  expect(await answer({ body, id: 'one' })).toEqual([202, false]);
  expect(await answer({ body: body.replace('acme/deploy', 'mallory/deploy'), id: 'two' })).toEqual([202, false]);
  expect(await answer({ body: body.slice(0, 30), id: 'three' })).toEqual([400, 'PayloadInvalid']);
  expect(await answer({ body, id: 'four', secret: 'another secret' })).toEqual([401, 'SignatureInvalid']);
  expect(await answer({ body: body.padEnd(2 * 1024 * 1024), id: 'five' })).toEqual([413, 'BodyTooLarge']);
  expect(await answer({ body, id: 'four' })).toEqual([202, true]);
}, 180_000);
