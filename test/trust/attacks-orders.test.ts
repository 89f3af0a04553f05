import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { rm } from 'node:fs/promises';
import { canonicalBytes, parseCanonicalJson } from '../../src/core/model/canonical-json.ts';
import { digestOfBytes, type Digest } from '../../src/core/model/digest.ts';
import type { AnyDocument, DocumentOf } from '../../src/core/model/documents.ts';
import { preimageDigest, type Order, type Plan, type Runs } from '../../src/core/model/preimages.ts';
import type { DecisionInput } from '../../src/core/decision/types.ts';
import { encodeBundle, decodeBundle, type OrderBundle } from '../../src/core/order/bundle.ts';
import { proveOrder, type AgentMemory, type ProofResult } from '../../src/core/order/prove-order.ts';
import type { PromotionDecisionPredicate } from '../../src/core/evidence/records.ts';
import { buildBundle } from '../../src/reconciler/build-bundle.ts';
import { documentOf, LogFixture } from '../fakes/log-fixture.ts';
import { deployStep } from '../fakes/world.ts';
import { createTemporaryFolder } from '../fakes/git-repository.ts';
import { openPgp } from '../fakes/openpgp.ts';

/** What a thief of the server's key for decisions can make an agent believe, who has nobody's approval but those that were given. */

const FRESH: AgentMemory = { protectedChange: null, lastOrders: () => [], hasRun: () => false };

let folder: string;
let log: LogFixture;
beforeAll(async () => {
  folder = await createTemporaryFolder();
});
afterAll(() => rm(folder, { recursive: true, force: true }));

let made = 0;
const freshLog = async (options: Parameters<typeof LogFixture.create>[1] = {}): Promise<LogFixture> => LogFixture.create(`${folder}/${++made}`, options);

/** 1.0.0 runs in prod, and 1.1.0 is allowed there: what it replaces can be fallen back to. */
async function secondAllow(): Promise<LogFixture> {
  const l = await freshLog();
  await l.allow('1.0.0');
  succeed(l);
  await l.allow('1.1.0');
  return l;
}

function succeed(l: LogFixture): void {
  const run = l.app.openRun;
  if (run === null) throw new Error('no run is open');
  const at = l.now.toISOString();
  const { operation, generation, promotionDigest, decision } = run;
  l.close({ environment: 'prod', application: 'shop', operation, generation, promotionDigest, decision, result: 'Succeeded', reason: 'Ok', startedAt: at, endedAt: at, steps: [deployStep(run.targets, 'Succeeded')], fallback: null }, []);
}

/** Proves the order that names the log's last decision, as agent anna. */
async function prove(l: LogFixture, more: Partial<Order> = {}, options: { readonly memory?: AgentMemory; readonly edit?: (bundle: OrderBundle) => Partial<OrderBundle>; readonly agent?: string } = {}): Promise<ProofResult> {
  const decision = l.app.openRun?.decision ?? { seq: l.app.lastDecision?.seq ?? -1, digest: l.app.lastDecision?.digest as Digest };
  const order: Order = { type: 'stella/order/v1', decision: decision.digest, operation: 'promote', target: 'web-1', try: 1, ...more };
  const built = await buildBundle(order, decision, l);
  if (!built.ok) throw new Error(built.message);
  const bundle = decodeBundle(built.bundle);
  if (bundle === null) throw new Error('the bundle cannot be read');
  const edited = { ...bundle, ...options.edit?.(bundle) };
  return proveOrder({ bundle: encodeBundle(edited), pin: l.pin, agent: options.agent ?? 'anna', memory: options.memory ?? FRESH, now: l.now.getTime(), openPgp });
}

type Forged = { readonly predicate?: Partial<PromotionDecisionPredicate>; readonly input?: Partial<DecisionInput>; readonly plan?: (plan: Plan) => Plan; readonly stored?: readonly unknown[] };

/** Signs the last decision again as an allow with other content. What depends on that is made to fit, as far as it can be without people. */
function forge(l: LogFixture, f: Forged): void {
  const last = l.lastDecision();
  void l.push((batch) => {
    const json = (value: unknown): Digest => batch.artifact(canonicalBytes(value));
    for (const value of f.stored ?? []) json(value);
    batch.artifact(Buffer.from('evil'));
    const input = { ...lastInput(l), ...f.input };
    const plan = f.plan === undefined ? null : f.plan(read<Plan>(l, last.sources.plan as Digest));
    const sources = { ...last.sources, ...f.predicate?.sources, ...(plan === null ? {} : { plan: json(plan) }) };
    const runs = plan === null ? {} : { runs: plan.runs === null ? null : json(plan.runs) };
    batch.add({ type: 'promotion-decision', predicate: { ...last, ...f.predicate, ...runs, sources, input: json(input) } });
  });
}

const read = <T>(l: LogFixture, digest: Digest): T => parseCanonicalJson(l.stored.get(digest) ?? new Uint8Array()) as T;
const lastInput = (l: LogFixture): DecisionInput => read<DecisionInput>(l, l.lastDecision().input);

describe('a fallback', () => {
  it('to what the promotion replaces is proven by the approval of the promotion', async () => {
    log = await secondAllow();
    const runs = read<Runs>(log, lastInput(log).state.runs as Digest);
    expect(await prove(log, { operation: 'fall-back' })).toMatchObject({ ok: true, work: { runs: { release: '1.0.0', components: runs.components }, quorumProven: true } });
  });

  it('to other files, commands or images under the replaced lock is refused: the approved digest names what runs before', async () => {
    log = await secondAllow();
    const runs = read<Runs>(log, lastInput(log).state.runs as Digest);
    const evil: Runs = { ...runs, deployment: { ...runs.deployment, command: { argv: ['curl', 'evil.test'] } } };
    forge(log, { stored: [evil], input: { state: { ...lastInput(log).state, runs: preimageDigest(evil) } } });
    expect(await prove(log, { operation: 'fall-back' })).toMatchObject({ ok: false, code: 'PromotionDigestMismatch' });
  });

  it('to nothing, which would remove what runs, is refused where something ran', async () => {
    log = await secondAllow();
    forge(log, { input: { state: { ...lastInput(log).state, runs: null } } });
    expect(await prove(log, { operation: 'fall-back' })).toMatchObject({ ok: false, code: 'PromotionDigestMismatch' });
  });
});

describe('an approval', () => {
  const HOUR = 3_600_000;
  const until = (l: LogFixture, ms: number): string => new Date(l.now.getTime() + ms).toISOString();
  const approvedUntil = async (ms: number): Promise<LogFixture> => {
    const l = await freshLog();
    l.lock('1.0.0');
    await l.promote({ release: '1.0.0' });
    await l.approve('bob', { expires: until(l, ms) });
    return l;
  };

  it('that has expired carries no allow that is dated before it did, however long that claims to hold', async () => {
    log = await approvedUntil(HOUR);
    forge(log, { predicate: { decision: { ...log.lastDecision().decision, notAfter: until(log, 100 * HOUR) } } });
    log.after(2 * 3600);
    expect(await prove(log)).toMatchObject({ ok: false, code: 'AllowExpired' });
  });

  it('that has not expired carries it', async () => {
    log = await approvedUntil(10 * HOUR);
    forge(log, { predicate: { decision: { ...log.lastDecision().decision, notAfter: until(log, 100 * HOUR) } } });
    log.after(2 * 3600);
    expect(await prove(log)).toMatchObject({ ok: true });
  });
});

describe('a promotion shown to the agent', () => {
  it('that asks for another place than the decision, and so shows another requester, is refused', async () => {
    log = await freshLog();
    await log.allow('1.0.0');
    const elsewhere = { ...read<DocumentOf<'Promotion'>>(log, log.lastDecision().sources.promotion), metadata: { name: 'dev/shop' } };
    expect(await prove(log)).toMatchObject({ ok: true });
    forge(log, { stored: [elsewhere], predicate: { sources: { ...log.lastDecision().sources, promotion: digestOfBytes(canonicalBytes(elsewhere)) } } });
    expect(await prove(log)).toMatchObject({ ok: false, code: 'PromotionDigestMismatch' });
  });
});

describe('where nobody needs to approve, an order', () => {
  /** prod without approvals: what an agent refuses there, it refuses without anybody's signature. */
  const unprotected = async (): Promise<LogFixture> => {
    const l = await freshLog({ targets: { 'web-1': 'anna', 'web-2': 'anna' } });
    await l.change(documentOf('Environment', 'prod', { order: 1, workflow: 'rollout' }) as unknown as AnyDocument);
    l.lock('1.0.0');
    await l.promote({ release: '1.0.0' });
    const { operation, generation, promotionDigest, decision } = l.app.openRun!;
    const at = l.now.toISOString();
    l.close({ environment: 'prod', application: 'shop', operation, generation, promotionDigest, decision, result: 'Aborted', reason: 'Stopped', startedAt: at, endedAt: at, steps: [], fallback: null }, []);
    return l;
  };
  /** An allow of another plan, all digests recomputed. */
  const forgedPlan = async (edit: (plan: Plan) => Plan): Promise<LogFixture> => {
    const l = await unprotected();
    const last = l.lastDecision();
    const plan = edit(read<Plan>(l, last.sources.plan as Digest));
    const input = { ...lastInput(l), state: { ...lastInput(l).state, generation: 1 } };
    const lock = plan.runs === null ? null : last.lock;
    const promotionDigest = preimageDigest({
      type: 'stella/promotion/v1', logId: l.pin, tenant: 'acme', environment: 'prod', application: 'shop', generation: 1, replaces: null, replacesRuns: null, lock, plan: preimageDigest(plan), rules: [],
    });
    forge(l, { plan: () => plan, input, predicate: { lock, decision: { ...last.decision, generation: 2, promotionDigest } } });
    return l;
  };

  it('is believed as far as it fits the log: the agent says that no quorum is proven', async () => {
    expect(await prove(await forgedPlan((plan) => plan))).toMatchObject({ ok: true, work: { quorumProven: false, generation: 2 } });
  });

  it('for a plan that leaves out one of the targets, and with it what is demanded for that target, is refused', async () => {
    expect(await prove(await forgedPlan((plan) => ({ ...plan, targets: plan.targets.slice(0, 1) })))).toMatchObject({ ok: false, code: 'TargetMismatch' });
  });

  it('to promote nothing, which would be a removal, is refused', async () => {
    expect(await prove(await forgedPlan((plan) => ({ ...plan, runs: null })))).toMatchObject({ ok: false, code: 'PlanMismatch' });
  });

  it.each<[string, (runs: Runs) => Partial<Runs>]>([
    ['another command', () => ({ deployment: { type: 'directory', command: { argv: ['evil'] } } })],
    ['another image', (runs) => ({ components: runs.components.map((c) => ({ ...c, digest: digestOfBytes('evil') })) })],
    ['another file', (runs) => ({ files: runs.files.map((f) => ({ ...f, digest: digestOfBytes('evil') })) })],
    ['a file with another mode', (runs) => ({ files: runs.files.map((f) => ({ ...f, mode: 0o644 })) })],
    ['a file less', () => ({ files: [] })],
    ['the name of another release', () => ({ release: '9.9.9' })],
  ])('for a plan with %s than the lock is refused', async (_, edit) => {
    expect(await prove(await forgedPlan((plan) => ({ ...plan, runs: { ...plan.runs!, ...edit(plan.runs!) } })))).toMatchObject({ ok: false, code: 'PlanMismatch' });
  });
});
