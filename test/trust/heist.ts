import type { KeyObject } from 'node:crypto';
import { canonicalBytes, parseCanonicalJson } from '../../src/core/model/canonical-json.ts';
import { digestOfBytes, type Digest } from '../../src/core/model/digest.ts';
import { documentPreimage, type AnyDocument, type DocumentOf } from '../../src/core/model/documents.ts';
import { preimageDigest, type Order, type Plan } from '../../src/core/model/preimages.ts';
import type { DecisionInput } from '../../src/core/decision/types.ts';
import type { DecisionSources, PromotionDecisionPredicate, ProtectedChangePredicate, RecordHeader } from '../../src/core/evidence/records.ts';
import { decodeBundle, encodeBundle, type OrderBundle } from '../../src/core/order/bundle.ts';
import { verifyReceipt } from '../../src/core/order/receipt.ts';
import { STICKER } from '../../src/core/release/sticker.ts';
import { buildBundle } from '../../src/reconciler/build-bundle.ts';
import { openAgent, type TestAgent } from '../fakes/in-process-agents.ts';
import { LogFixture, type LogOptions } from '../fakes/log-fixture.ts';
import { deployStep } from '../fakes/world.ts';
import { verdict, type Verdict } from './attack.ts';

/** What somebody makes who holds everything of the server: any record can be signed, and anything recomputed that follows from it. */
export type Loot = {
  readonly order?: Partial<Order>;
  /** Of the forged allow; the place in the log and the time are claims like all others. */
  readonly header?: Partial<RecordHeader>;
  readonly key?: KeyObject;
  readonly predicate?: Partial<PromotionDecisionPredicate>;
  readonly decision?: Partial<PromotionDecisionPredicate['decision']>;
  readonly sources?: Partial<DecisionSources>;
  readonly input?: Partial<DecisionInput>;
  readonly plan?: (plan: Plan) => Plan;
  /** The promotion digest is recomputed from everything that is claimed; otherwise that of the last decision stays. */
  readonly redigest?: boolean;
  /** Added under their own digests. */
  readonly stored?: readonly Uint8Array[];
  /** Instead of those that the last decision names. */
  readonly approvals?: readonly DocumentOf<'Approval'>[];
  /** Instead of those of the log. */
  readonly changes?: (honest: readonly Uint8Array[]) => readonly Uint8Array[];
};

export const json = (value: unknown): Uint8Array => canonicalBytes(value);

/** A log with the agents of its targets, and a thief who hands them what they like. Nothing of what is forged reaches the log. */
export class Heist {
  readonly log: LogFixture;
  readonly #folder: string;
  readonly #opened: TestAgent[] = [];
  #agents = 0;

  private constructor(log: LogFixture, folder: string) {
    this.log = log;
    this.#folder = folder;
  }

  static async open(folder: string, options: LogOptions = {}): Promise<Heist> {
    return new Heist(await LogFixture.create(folder, options), folder);
  }

  /** 1.0.0 runs where it was approved; nothing else is asked for. */
  async deploy(version = '1.0.0'): Promise<void> {
    await this.log.allow(version);
    this.end();
  }

  /** The open run ends well everywhere. */
  end(): void {
    const { openRun } = this.log.app;
    if (openRun === null) throw new Error('no run is open');
    const { operation, generation, promotionDigest, decision, targets } = openRun;
    const at = this.log.now.toISOString();
    this.log.close({
      environment: 'prod', application: 'shop', operation, generation, promotionDigest, decision, result: 'Succeeded', reason: 'Ok', startedAt: at, endedAt: at,
      steps: [deployStep(targets, 'Succeeded')], fallback: null,
    }, []);
  }

  /** An agent of that name with an empty journal; what it did is in its driver. */
  async agent(name = 'anna'): Promise<TestAgent> {
    const identity = this.log.agents.get(name);
    if (identity === undefined) throw new Error(`there is no agent ${name}`);
    const agent = await openAgent({ folder: `${this.#folder}/agents/${++this.#agents}`, identity, pin: this.log.pin, now: () => this.log.now });
    this.#opened.push(agent);
    return agent;
  }

  /** What the honest server would send for the last decision. */
  async order(more: Partial<Order> = {}): Promise<OrderBundle> {
    const { log } = this;
    const decision = log.app.openRun?.decision ?? log.app.lastDecision;
    if (decision === null) throw new Error('nothing was decided');
    const { operation } = log.lastDecision();
    const built = await buildBundle({ type: 'stella/order/v1', decision: decision.digest, operation, target: 'web-1', try: 1, ...more }, decision, log);
    const bundle = built.ok ? decodeBundle(built.bundle) : null;
    if (bundle === null) throw new Error('the bundle cannot be built');
    return bundle;
  }

  /** The last decision again, as an allow that says what the thief likes. */
  async steal(loot: Loot = {}): Promise<OrderBundle> {
    const { log } = this;
    const honest = await this.order();
    const last = log.lastDecision();
    const stored: Uint8Array[] = [...(loot.stored ?? [])];
    const store = (bytes: Uint8Array): Digest => {
      stored.push(bytes);
      return digestOfBytes(bytes);
    };
    const plan = loot.plan?.(this.read<Plan>(last.sources.plan));
    const input = { ...this.input(), asOf: log.now.toISOString(), ...loot.input, ...(plan === undefined ? {} : { plan: preimageDigest(plan), runs: plan.runs === null ? null : preimageDigest(plan.runs) }) };
    const sources = { ...last.sources, ...(plan === undefined ? {} : { plan: store(json(plan)) }), ...loot.sources };
    if (plan?.runs != null) store(json(plan.runs));
    const promotionDigest = loot.redigest === true ? preimageDigest({
      type: 'stella/promotion/v1', logId: log.pin, tenant: log.state.tenant, environment: input.environment, application: input.application, generation: input.state.generation,
      replaces: input.state.lock, replacesRuns: input.state.runs, lock: loot.predicate?.lock === undefined ? last.lock : loot.predicate.lock, plan: sources.plan ?? log.pin, rules: input.clauses,
    }) : last.decision.promotionDigest;
    const notAfter = new Date(log.now.getTime() + 3_600_000).toISOString();
    const decision = { ...last.decision, outcome: 'allow', gates: [], reasons: [], notAfter, generation: input.state.generation + 1, promotionDigest, ...loot.decision } as const;
    const artifacts = last.artifacts.length > 0 ? last.artifacts : [{ name: STICKER, digest: store(Buffer.from('{}')) }];
    const predicate: PromotionDecisionPredicate = {
      ...last, decidedAt: input.asOf, ...(plan === undefined ? {} : { runs: input.runs }), artifacts, ...loot.predicate, sources, decision, input: store(json(input)),
    };
    const envelope = log.forge({ type: 'promotion-decision', predicate }, { ...(loot.header === undefined ? {} : { header: loot.header }), ...(loot.key === undefined ? {} : { key: loot.key }) });
    return {
      order: { ...honest.order, operation: predicate.operation, decision: digestOfBytes(envelope), ...loot.order }, decision: envelope, changes: loot.changes?.(honest.changes) ?? honest.changes,
      approvals: loot.approvals?.map(json) ?? honest.approvals, artifacts: new Map([...honest.artifacts, ...stored.map((bytes) => [digestOfBytes(bytes), bytes] as const)]),
    };
  }

  /** A protected change that nobody entitled approved, signed by the server's key. @returns its envelope, and what it names */
  forgeChange(predicate: ProtectedChangePredicate, documents: readonly AnyDocument[]): { readonly envelope: Uint8Array; readonly stored: readonly Uint8Array[] } {
    return { envelope: this.log.forge({ type: 'protected-change', predicate }), stored: documents.map(documentPreimage) };
  }

  /** Hands an order to an agent, as whoever holds its stream can. @returns what the signed receipt says, and what was done */
  async hand(bundle: OrderBundle, to?: TestAgent, as: { readonly agent?: string; readonly digest?: Digest } = {}): Promise<Verdict> {
    const name = as.agent ?? 'anna';
    const agent = to ?? (await this.agent(name));
    const before = agent.driver.actions.length;
    const envelope = await agent.runner.run({ digest: as.digest ?? preimageDigest(bundle.order), target: bundle.order.target, bundle: encodeBundle(bundle) }, () => undefined);
    const read = verifyReceipt(envelope ?? new Uint8Array(), this.log.agents.get(name)?.publicKeyDer ?? new Uint8Array());
    if (!read.ok) throw new Error(read.code);
    return verdict(read.receipt.result === 'Succeeded' ? null : read.receipt.code, agent.driver.actions.slice(before));
  }

  input(): DecisionInput {
    return this.read<DecisionInput>(this.log.lastDecision().input);
  }

  /** An artifact of the log. */
  read<T>(digest: Digest | null): T {
    const value = digest === null ? undefined : parseCanonicalJson(this.log.stored.get(digest) ?? new Uint8Array());
    if (value === undefined) throw new Error(`the log has no ${String(digest)}`);
    return value as T;
  }

  async close(): Promise<void> {
    await Promise.all(this.#opened.map((agent) => agent.journal.close()));
  }
}
