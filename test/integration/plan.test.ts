import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { appStateOf } from '../../src/core/evidence/log-state.ts';
import { doc, yamlOf } from '../fakes/world.ts';
import { openPlanDesk, PROMOTION_15, RELEASE_15, type PlanDesk } from './plan-fixture.ts';

let desk: PlanDesk;
beforeAll(async () => {
  desk = await openPlanDesk();
}, 120_000);
afterAll(() => desk.world.close());

describe('the plan of a promotion', () => {
  it('says what would run instead of what, where, how, who is asked and when it could pass', async () => {
    const files = { 'promotions/prod/shop.yaml': PROMOTION_15, 'releases/shop/1.5.0.yaml': RELEASE_15(desk.sources['1.5.0']), 'configurations/prod/shop.yaml': yamlOf(doc('Configuration', 'prod/shop', { variables: { LEVEL: 'warn', SIZE: '1', NEW: 'yes' }, secrets: { TOKEN: { ref: 'env:TWO' } } })), 'shop/app.conf': 'level = warn\nport = 80\n' };
    const commit = await desk.branch('next', files);
    const plan = await desk.plan('next');
    expect(plan).toMatchObject({ code: 1, outcome: 'changes', candidate: commit, target: { ref: 'refs/heads/main', commit: await desk.bob.git('rev-parse', 'origin/main') } });
    const [prod] = plan.promotions;
    expect(plan.promotions).toHaveLength(1);
    expect(prod).toMatchObject({ environment: 'prod', application: 'shop', effect: 'deploy', release: { from: '1.4.1', to: '1.5.0' }, targets: { all: ['prod-1'], added: [], removed: [] } });
    expect(prod?.components).toEqual([
      { name: 'api', change: 'changed', from: { tag: '1.4.1', digest: desk.world.registry.tags.get('shop/api:1.4.1') }, to: { tag: '1.5.0', digest: desk.world.registry.tags.get('shop/api:1.5.0') } },
      { name: 'web', change: 'changed', from: { tag: '2.1', digest: desk.world.registry.tags.get('shop/web:2.1') }, to: { tag: '2.0', digest: desk.world.registry.tags.get('shop/web:2.0') } },
    ]);
    expect(prod?.files.map(({ path, change, diff }) => ({ path, change, diff }))).toEqual([
      { path: 'shop/app.conf', change: 'changed', diff: '@@ -1,2 +1,2 @@\n-level = info\n+level = warn\n port = 80' }, { path: 'shop/start.sh', change: 'unchanged', diff: null },
    ]);
    expect(prod?.variables).toEqual([{ name: 'LEVEL', from: 'info', to: 'warn' }, { name: 'NEW', from: null, to: 'yes' }]);
    expect(prod?.secrets).toEqual([{ name: 'TOKEN', from: 'env:ONE', to: 'env:TWO' }]);
    expect(prod?.strategy).toBe('default: deploy; on failure fall-back');
    expect(prod?.notes).toEqual(['1.5.0 lacks 1 commit of 1.4.1, which runs here', 'web goes back from 2.1 to 2.0']);
    expect(prod?.decision?.outcome).toBe('pending');
    const approvals = prod?.lines.find(({ gate }) => gate === 'approvals');
    expect(approvals).toMatchObject({ outcome: 'pending', code: 'ApprovalsMissing', who: ['carol'], command: `stella approve ${prod?.promotionDigest?.slice('sha256:'.length, 'sha256:'.length + 12)}` });
    expect(plan.releases).toMatchObject([{ name: 'shop/1.5.0', change: 'added', lock: prod?.lock.to }]);
  });

  it('has the digest that an approver signs and that is decided about after the merge', async () => {
    const plan = await desk.plan('next');
    const explained = JSON.parse((await desk.bob.stella(['explain', 'prod/shop', '--ref', 'next', '-o', 'json'])).stdout) as { decision: { promotionDigest: string } }[];
    expect(plan.promotions[0]?.promotionDigest).toBe(explained[0]?.decision.promotionDigest);
  });

  it('is the same text whoever asks, and for a comment has its gates in a table', async () => {
    const [text, again, markdown] = await Promise.all([desk.run('next'), desk.run('next', '-o', 'text'), desk.run('next', '-o', 'markdown')]);
    const untimed = (s: string): string => s.replace(/2026-\S+Z/g, 'TIME');
    expect(untimed(text.stdout)).toBe(untimed(again.stdout));
    // The target branch does not ask for it yet: `stella approve prod/shop` would find nothing.
    expect(text.stdout).toMatch(/stella approve [0-9a-f]{12}\n/);
    for (const shown of ['1.4.1 → 1.5.0', 'lacks 1 commit of 1.4.1', '+level = warn']) expect(text.stdout).toContain(shown);
    expect(markdown.stdout).toMatch(/^### Plan: /);
    expect(markdown.stdout).toContain('| Gate | Result | Why | Who could, and how |');
    expect(markdown.stdout).toContain('```diff\n@@ -1,2 +1,2 @@\n');
    expect([text.code, markdown.code]).toEqual([1, 1]);
  });

  it('says when a soak time ends, and as of then that it has', async () => {
    await desk.branch('dev-first', { 'promotions/dev/shop.yaml': yamlOf(doc('Promotion', 'dev/shop', { release: '1.4.0' })) });
    await desk.world.commit([doc('Promotion', 'dev/shop', { release: '1.4.0' })], { by: desk.world.people.alice });
    await desk.world.settle();
    await desk.bob.git('fetch', '-q', 'origin');
    await desk.branch('back', { 'promotions/prod/shop.yaml': yamlOf(doc('Promotion', 'prod/shop', { release: '1.4.0' })) });
    const now = await desk.plan('back', '--as-of', '2026-11-01T10:30:00Z');
    expect(now.promotions[0]?.decision?.gates.find(({ gate }) => gate === 'source')).toMatchObject({ outcome: 'pending', code: 'Soaking', opensAt: '2026-11-01T11:00:00.000Z' });
    expect(now.promotions[0]).toMatchObject({ couldPassAt: null });
    expect(now.nextChangeAt).toBe('2026-11-01T11:00:00.000Z');
    const later = await desk.plan('back', '--as-of', '2026-11-01T11:00:00Z');
    expect(later.promotions[0]?.decision?.gates.find(({ gate }) => gate === 'source')?.outcome).toBe('passed');
    expect(now.promotions[0]?.notes).toContain('1.4.0 lacks 1 commit of 1.4.1, which runs here');
    expect((await desk.run('back', '--as-of', '2026-10-01T00:00:00Z')).code).toBe(2);
  });
});

describe('a candidate that changes nothing that runs', () => {
  it('is nothing, where the target branch holds it already', async () => {
    for (const ref of ['origin/main', 'origin/main~1']) expect(await desk.plan(ref)).toMatchObject({ code: 0, outcome: 'nothing', promotions: [], findings: [] });
  });

  it('is nothing, where it only brings a release, which it shows', async () => {
    await desk.branch('release', { 'releases/shop/1.5.0.yaml': RELEASE_15(desk.sources['1.5.0']) });
    const plan = await desk.plan('release');
    expect(plan).toMatchObject({ code: 0, outcome: 'nothing', releases: [{ name: 'shop/1.5.0', change: 'added' }] });
    expect(plan.releases[0]?.components.map(({ name, tag }) => [name, tag])).toEqual([['api', '1.5.0'], ['web', '2.0']]);
  });

  it('is nothing, where a Promotion goes of what runs, which keeps running', async () => {
    await desk.branch('gone', { 'promotions/prod/shop.yaml': null });
    const plan = await desk.plan('gone');
    expect(plan).toMatchObject({ code: 0, outcome: 'nothing', promotions: [{ effect: 'nothing', decision: null, notes: ['the Promotion is deleted: 1.4.1 keeps running'] }] });
  });
});

describe('the plan of a protected change', () => {
  const target = yamlOf(doc('Target', 'web-3', { type: 'directory_host', agent: 'host', environments: ['prod'], applications: ['shop'], connection: { root: '/srv/three' } }));

  it('shows what is in force against what is new, its quorum, who could approve, and the command that does', async () => {
    await desk.branch('protected', { 'environments/prod.yaml': yamlOf(doc('Environment', 'prod', { order: 2, from: [{ environment: 'dev', soakSeconds: 60 }], approvals: { people: 1, roles: [{ role: 'sre', count: 1 }] } })) });
    const plan = await desk.plan('protected');
    expect(plan).toMatchObject({ code: 1, outcome: 'changes', promotions: [] });
    const [change] = plan.protectedChanges;
    expect(change).toMatchObject({ kind: 'Environment', name: 'prod', change: 'changed', quorum: '1 person (1 admin)', approvedBy: [], couldApprove: ['alice', 'bob'], isMet: false, command: `stella approve --change ${change?.digest ?? ''}` });
    expect(change?.diff).toContain('-    "soakSeconds": 3600\n+    "soakSeconds": 60');
  });

  it('counts who approved it, and shows where it reaches new targets', async () => {
    await desk.branch('target', { 'targets/web-3.yaml': target });
    const before = await desk.plan('target');
    const approved = await desk.bob.stella([...(before.protectedChanges[0]?.command ?? '').split(' ').slice(1), '--ref', 'target', '--yes']);
    expect(approved.code).toBe(0);
    await desk.bob.git('fetch', '-q', 'origin');
    const plan = await desk.plan('target');
    expect(plan.protectedChanges).toMatchObject([{ name: 'web-3', change: 'added', approvedBy: ['bob'], isMet: true }]);
    expect(plan.promotions).toMatchObject([{ environment: 'prod', effect: 'extend', targets: { all: ['prod-1', 'web-3'], added: ['web-3'], removed: [] } }]);
    expect(appStateOf(await desk.world.state(), 'prod', 'shop').standing?.targets.map(({ target: name }) => name)).toEqual(['prod-1']);
  });
});

describe('a candidate that would loosen the rules that judge it', () => {
  it('is judged by what is in force: its own rules, people and approvals by nobody we know count for nothing', async () => {
    const loose = {
      'environments/prod.yaml': yamlOf(doc('Environment', 'prod', { order: 2 })), 'principals/mallory.yaml': yamlOf(doc('Principal', 'mallory', { type: 'person', keys: [{ key: desk.world.keys.commits.publicKey, status: 'active' }], roles: [{ role: 'sre' }, { role: 'admin' }] })),
      'promotions/prod/shop.yaml': yamlOf(doc('Promotion', 'prod/shop', { release: '1.4.0' })),
    };
    await desk.branch('loose', loose);
    const plan = await desk.plan('loose');
    expect(plan.promotions[0]?.decision?.gates.find(({ gate }) => gate === 'approvals')).toMatchObject({ outcome: 'pending', code: 'ApprovalsMissing' });
    expect(plan.protectedChanges.map(({ kind, name, isMet }) => [kind, name, isMet])).toEqual([['Environment', 'prod', false], ['Principal', 'mallory', false]]);
    expect(plan.protectedChanges.flatMap(({ couldApprove }) => couldApprove)).not.toContain('mallory');
    await desk.branch('tight', { 'promotions/prod/shop.yaml': loose['promotions/prod/shop.yaml'] });
    expect((await desk.plan('tight')).promotions[0]?.promotionDigest).toBe(plan.promotions[0]?.promotionDigest);
  });

  it('leaves the log, the branches and the working tree as they are', async () => {
    const seen = async (): Promise<readonly string[]> => [await desk.bob.git('for-each-ref'), await desk.bob.git('status', '--porcelain'), String((await desk.world.state()).size)];
    const before = await seen();
    await desk.plan('loose');
    expect(await seen()).toEqual(before);
  });
});

describe('findings of a plan', () => {
  it('name file and line of a faulty document, and are only those that the candidate brings', async () => {
    await desk.branch('faulty', { 'configurations/prod/shop.yaml': 'apiVersion: stella/v1alpha1\nkind: Configuration\nmetadata:\n  name: prod/shop\nspec:\n  variable:\n    LEVEL: debug\n' });
    const plan = await desk.plan('faulty');
    expect(plan.findings).toEqual(expect.arrayContaining([expect.objectContaining({ code: 'UnknownField', severity: 'refused', file: 'configurations/prod/shop.yaml', line: 6 })]));
  });

  it('refuse a file that both sides changed, and a history of its own, without planning', async () => {
    const base = await desk.bob.git('rev-parse', 'origin/main');
    await desk.world.commit([], { by: desk.world.people.alice, files: { 'shop/start.sh': 'exec shop --theirs\n' } });
    await desk.world.settle();
    await desk.bob.git('fetch', '-q', 'origin');
    await desk.branch('conflict', { 'shop/start.sh': 'exec shop --ours\n' }, { from: base });
    expect(await desk.plan('conflict')).toMatchObject({ code: 2, outcome: 'error', promotions: [], findings: [{ code: 'Conflict', file: 'shop/start.sh' }] });
    await desk.bob.git('switch', '-q', '--orphan', 'stranger');
    await desk.bob.git('commit', '-q', '--allow-empty', '-m', 'Alone');
    expect(await desk.plan('stranger')).toMatchObject({ code: 2, outcome: 'error', findings: [{ code: 'Unrelated' }] });
  });

  it('refuse 5,000 files with documents, and plan 5,000 files without', async () => {
    const many = (ending: string): Record<string, string> => Object.fromEntries(Array.from({ length: 5_000 }, (_, i) => [`many/${i % 50}/${i}.${ending}`, `kind: ${i}\n`]));
    await desk.branch('documents', many('yaml'));
    expect(await desk.plan('documents')).toMatchObject({ code: 2, outcome: 'error', findings: [{ code: 'TooLarge' }] });
    await desk.branch('sources', { ...many('txt'), 'promotions/prod/shop.yaml': yamlOf(doc('Promotion', 'prod/shop', { release: '1.4.0' })) });
    expect(await desk.plan('sources')).toMatchObject({ code: 1, outcome: 'changes', promotions: [{ release: { to: '1.4.0' } }] });
  }, 120_000);
});

describe('a range', () => {
  it('is what its end would change if it were merged into its beginning', async () => {
    const beginning = await desk.branch('one', { 'promotions/prod/shop.yaml': yamlOf(doc('Promotion', 'prod/shop', { release: '1.4.0' })) });
    await desk.branch('two', { 'configurations/dev/shop.yaml': yamlOf(doc('Configuration', 'dev/shop', { variables: { LEVEL: 'debug' } })) }, { from: 'one' });
    expect((await desk.plan('two')).promotions.map(({ environment, effect }) => [environment, effect])).toEqual([['dev', 'redeploy'], ['prod', 'deploy']]);
    const range = await desk.plan('one..two');
    expect(range.target.commit).toBe(beginning);
    expect(range.promotions).toMatchObject([{ environment: 'dev', effect: 'redeploy', variables: [{ name: 'LEVEL', from: null, to: 'debug' }] }]);
  });
});
