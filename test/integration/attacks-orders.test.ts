import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { rm } from 'node:fs/promises';
import { canonicalBytes, parseCanonicalJson } from '../../src/core/model/canonical-json.ts';
import type { Digest } from '../../src/core/model/digest.ts';
import { preimageDigest, type Order, type Plan, type Runs } from '../../src/core/model/preimages.ts';
import type { DecisionInput } from '../../src/core/decision/types.ts';
import { encodeBundle, decodeBundle, type OrderBundle } from '../../src/core/order/bundle.ts';
import { proveOrder, type AgentMemory, type ProofResult } from '../../src/core/order/prove-order.ts';
import type { PromotionDecisionPredicate } from '../../src/core/evidence/records.ts';
import { buildBundle } from '../../src/reconciler/build-bundle.ts';
import { LogFixture } from '../fakes/log-fixture.ts';
import { createTemporaryFolder } from '../fakes/git-repository.ts';

/** What a thief of the server's key for decisions can make an agent believe, who has nobody's approval but those that were given. */

const FRESH: AgentMemory = { protectedChange: null, lastOrder: () => null };

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
  l.close({ environment: 'prod', application: 'shop', operation, generation, promotionDigest, decision, result: 'Succeeded', reason: 'Ok', startedAt: at, endedAt: at, steps: [], fallback: null }, []);
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
  return proveOrder({ bundle: encodeBundle(edited), pin: l.pin, agent: options.agent ?? 'anna', memory: options.memory ?? FRESH, now: l.now.getTime() });
}

type Forged = { readonly predicate?: Partial<PromotionDecisionPredicate>; readonly input?: Partial<DecisionInput>; readonly plan?: (plan: Plan) => Plan; readonly stored?: readonly unknown[] };

/** Signs the last allow again with other content. What depends on it is made to fit, as far as it can be without people. */
function forge(l: LogFixture, f: Forged): void {
  const last = l.lastDecision();
  l.push((batch) => {
    const json = (value: unknown): Digest => batch.artifact(canonicalBytes(value));
    for (const value of f.stored ?? []) json(value);
    const before = read<DecisionInput>(l, last.input);
    const plan = f.plan === undefined ? null : f.plan(read<Plan>(l, last.sources.plan as Digest));
    const sources = { ...last.sources, ...f.predicate?.sources, ...(plan === null ? {} : { plan: json(plan) }) };
    const runs = plan === null ? {} : { runs: plan.runs === null ? null : json(plan.runs) };
    batch.add({ type: 'promotion-decision', predicate: { ...last, ...f.predicate, ...runs, sources, input: json({ ...before, ...f.input }) } });
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
