import { parseCanonicalJson } from '../core/model/canonical-json.ts';
import { digestOfBytes, type Digest } from '../core/model/digest.ts';
import { limits } from '../core/model/limits.ts';
import type { Order, Plan, Runs } from '../core/model/preimages.ts';
import type { DecisionInput } from '../core/decision/types.ts';
import { parseEnvelope } from '../core/evidence/dsse.ts';
import { parseStatement } from '../core/evidence/statement.ts';
import type { PromotionDecisionPredicate } from '../core/evidence/records.ts';
import { encodeBundle } from '../core/order/bundle.ts';
import { EVIDENCE_FILE } from '../core/release/sticker.ts';
import type { ProtectedChangeShelf } from './protected-change-shelf.ts';

/** Artifacts of the log: `load` makes them available to `get`, as far as the log has them. */
export type ArtifactSource = {
  load(digests: readonly Digest[]): Promise<void>;
  get(digest: Digest): Uint8Array | undefined;
};

/** Where everything that proves an order lies. */
export type BundleSources = {
  readonly changes: ProtectedChangeShelf;
  readonly artifacts: ArtifactSource;
  /** Envelope file of a record of the pushed log; undefined when there is none. */
  readonly envelope: (seq: number) => Promise<Uint8Array | undefined>;
};

/** An allow: its place in the log and the digest of its envelope file. */
export type Allow = { readonly seq: number; readonly digest: Digest };
export type BundleResult =
  | { readonly ok: true; readonly bundle: Uint8Array }
  | { readonly ok: false; readonly code: 'ArtifactMissing' | 'BundleTooLarge'; readonly message: string };

/** Room in a message for everything but the bundle. */
const OVERHEAD_BYTES = 64 * 1024;

class Incomplete extends Error {}

/**
 * Everything that proves one order (TRUST "What an agent proves"): the allow, every protected change that it was decided under, the
 * approvals, and the artifacts that the operation looks up. Nothing in it is a secret: those stay references.
 * @param allow the decision that the order names
 * @throws what reading the log throws; then nothing can be said yet
 */
export async function buildBundle(order: Order, allow: Allow, sources: BundleSources): Promise<BundleResult> {
  try {
    return await build(order, allow, sources);
  } catch (cause) {
    if (cause instanceof Incomplete) return { ok: false, code: 'ArtifactMissing', message: cause.message };
    throw cause;
  }
}

async function build(order: Order, allow: Allow, sources: BundleSources): Promise<BundleResult> {
  const decision = await sources.envelope(allow.seq);
  // The digest came from the folded log, so these are the bytes that were verified there.
  if (decision === undefined || digestOfBytes(decision) !== order.decision || allow.digest !== order.decision) {
    throw new Incomplete(`record ${allow.seq} of the log is not the decision ${order.decision}: run \`stella verify\``);
  }
  const predicate = predicateOf(decision);
  const { input } = predicate;
  const plan = predicate.sources.plan ?? missing('plan');
  const changes = sources.changes.all();
  const approvals = await collect(sources.artifacts, predicate.sources.approvals);
  const artifacts = await collect(sources.artifacts, [
    ...changes.artifacts, input, plan, predicate.sources.promotion, ...[predicate.lock, predicate.sources.onBehalfOf].filter((digest) => digest !== null),
    ...predicate.sources.commits.map(({ artifact }) => artifact), ...predicate.artifacts.filter(({ name }) => name !== EVIDENCE_FILE).map(({ digest }) => digest),
  ]);
  for (const [digest, bytes] of await collectExtended(sources.artifacts, predicate)) artifacts.set(digest, bytes);
  const runs = await runsFor(order, read<Plan>(artifacts, plan), read<DecisionInput>(artifacts, input), sources.artifacts, artifacts);
  for (const [digest, bytes] of await collect(sources.artifacts, [...(runs?.files ?? []), ...(runs?.artifacts ?? [])].map((file) => file.digest))) artifacts.set(digest, bytes);
  const parts = [decision, ...changes.envelopes, ...approvals.values(), ...artifacts.values()];
  const bytes = parts.reduce((sum, part) => sum + part.length, 0);
  // Base64 takes four bytes for three; whatever is far too large is not even encoded.
  const bundle = (bytes * 4) / 3 > MAX_BYTES ? null : encodeBundle({ order, decision, changes: changes.envelopes, approvals: [...approvals.values()], artifacts });
  if (bundle !== null && bundle.length <= MAX_BYTES) return { ok: true, bundle };
  return { ok: false, code: 'BundleTooLarge', message: `what proves the order has ${bytes} bytes, more than fit into a message to an agent: ship fewer or smaller files, or put them into an image` };
}

const MAX_BYTES = limits.grpcMessageBytes - OVERHEAD_BYTES;

function predicateOf(envelope: Uint8Array): PromotionDecisionPredicate {
  const parsed = parseEnvelope(envelope);
  const statement = parsed.ok ? parseStatement(parsed.envelope.payload) : parsed;
  if (!statement.ok) return missing('decision');
  return (statement.statement.predicate as unknown as { readonly content: PromotionDecisionPredicate }).content;
}

/** What an extension rests on: the input of the allow that stands, and the plan that people approved. */
async function collectExtended(source: ArtifactSource, { sources }: PromotionDecisionPredicate): Promise<Map<Digest, Uint8Array>> {
  if (sources.extends === null) return new Map();
  const found = await collect(source, [sources.extends]);
  const { plan } = read<DecisionInput>(found, sources.extends);
  return new Map([...found, ...(await collect(source, plan === null ? [] : [plan]))]);
}

/** What the order makes run: the plan's, or for a fallback what ran before (T28). */
async function runsFor(order: Order, plan: Plan, input: DecisionInput, source: ArtifactSource, found: Map<Digest, Uint8Array>): Promise<Runs | null> {
  if (order.operation !== 'fall-back') return plan.runs;
  const before = input.state.runs;
  if (before === null) return null;
  for (const [digest, bytes] of await collect(source, [before])) found.set(digest, bytes);
  return read<Runs>(found, before);
}

/** Tries when a cache that is shared gives way between loading and taking. */
const LOAD_ATTEMPTS = 3;

/** @throws Incomplete for a digest that the log does not have */
async function collect(source: ArtifactSource, digests: readonly Digest[]): Promise<Map<Digest, Uint8Array>> {
  const found = new Map<Digest, Uint8Array>();
  let wanted = [...new Set(digests)];
  for (let attempt = 0; attempt < LOAD_ATTEMPTS && wanted.length > 0; attempt++) {
    await source.load(wanted);
    for (const digest of wanted) {
      const bytes = source.get(digest);
      if (bytes !== undefined) found.set(digest, bytes);
    }
    wanted = wanted.filter((digest) => !found.has(digest));
  }
  return wanted[0] === undefined ? found : missing(`artifact ${wanted[0]}`);
}

function read<T>(found: ReadonlyMap<Digest, Uint8Array>, digest: Digest): T {
  const bytes = found.get(digest);
  const value = bytes === undefined ? undefined : (parseCanonicalJson(bytes) as T | undefined);
  return value ?? missing(`artifact ${digest}`);
}

function missing(what: string): never {
  throw new Incomplete(`the log lacks the ${what} that the order needs: run \`stella verify\``);
}
