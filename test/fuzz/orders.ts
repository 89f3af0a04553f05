import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { decodeBundle, encodeBundle, type OrderBundle } from '../../src/core/order/bundle.ts';
import { digestOf } from '../../src/core/model/digest.ts';
import { encodeRootChain, proveRoot, type RootChain } from '../../src/core/order/root-chain.ts';
import { proveOrder, type AgentMemory } from '../../src/core/order/prove-order.ts';
import { buildBundle } from '../../src/reconciler/build-bundle.ts';
import { LogFixture } from '../fakes/log-fixture.ts';
import { openPgp } from '../fakes/openpgp.ts';
import type { Decoder, Layer } from './decoder.ts';

/**
 * Whole orders as an agent gets them. Whatever is changed in one, what is proven is what was approved: the same work.
 * A proof folds a log, so this is slower than the others by a hundred times.
 */
export const orderProof: Decoder = {
  name: 'order-proof',
  open: async () => {
    const folder = await mkdtemp(join(tmpdir(), 'stella-fuzz-'));
    const log = await LogFixture.create(folder);
    await log.allow('1.0.0');
    const decision = log.app.openRun?.decision;
    if (decision === undefined) throw new Error('nothing is allowed');
    const built = await buildBundle({ type: 'stella/order/v1', decision: decision.digest, operation: 'promote', target: 'web-1', try: 1 }, decision, log);
    await rm(folder, { recursive: true, force: true });
    if (!built.ok) throw new Error(built.message);
    const prove = (bytes: Uint8Array): ReturnType<typeof proveOrder> => proveOrder({ bundle: bytes, pin: log.pin, agent: 'anna', memory, now: log.now.getTime(), openPgp });
    const genuine = prove(built.bundle);
    if (!genuine.ok) throw new Error(genuine.message);
    const said = JSON.stringify({ ...genuine.work, artifacts: null });
    return {
      samples: [{ bytes: built.bundle, layers: layersOf(built.bundle) }], words: ['"', ',', '{', '}', 'null', '0', '1', 'web-1', 'anna', 'prod', 'bob'],
      read: (input) => {
        const outcome = prove(input);
        if (!outcome.ok) return outcome.code;
        // Another try of the same order is another order, and proves the same work.
        if (JSON.stringify({ ...outcome.work, artifacts: null, try: genuine.work.try }) !== said) throw new Error('proved work that nobody approved');
        return 'Same';
      },
    };
  },
};

const memory: AgentMemory = { protectedChange: null, lastOrders: () => [], hasRun: () => false };

/** Everything that a bundle holds, each by itself; and without one of them. */
function layersOf(bytes: Uint8Array): readonly Layer[] {
  const whole = decodeBundle(bytes);
  if (whole === null) throw new Error('the bundle cannot be read');
  const layer = (part: Uint8Array, put: (changed: Uint8Array) => Partial<OrderBundle>): Layer => ({ bytes: part, wrap: (changed) => encodeBundle({ ...whole, ...put(changed) }) });
  return [
    layer(whole.decision, (decision) => ({ decision })),
    ...whole.changes.map((change, i) => layer(change, (changed) => ({ changes: whole.changes.with(i, changed) }))),
    ...whole.approvals.map((approval, i) => layer(approval, (changed) => ({ approvals: whole.approvals.with(i, changed) }))),
    ...[...whole.artifacts].map(([digest, artifact]) => layer(artifact, (changed) => ({ artifacts: new Map([...whole.artifacts, [digest, changed]]) }))),
  ];
}

/** The chain of trust roots that an agent gets before it enrols. Whatever is changed, the root that is proven is the one in force. */
export const rootChain: Decoder = {
  name: 'root-chain',
  open: async () => {
    const folder = await mkdtemp(join(tmpdir(), 'stella-fuzz-'));
    const log = await LogFixture.create(folder);
    await rm(folder, { recursive: true, force: true });
    const changes = log.envelopes.slice(1, 2);
    const artifacts = [...log.stored.values()];
    const prove = (bytes: Uint8Array): ReturnType<typeof proveRoot> => proveRoot(bytes, { pin: log.pin, known: null, openPgp });
    const layer = (part: Uint8Array, chain: (changed: Uint8Array) => RootChain): Layer => ({ bytes: part, wrap: (changed) => encodeRootChain(chain(changed)) });
    const layers = [
      ...changes.map((change, i) => layer(change, (changed) => ({ changes: changes.with(i, changed), artifacts }))),
      ...artifacts.map((artifact, i) => layer(artifact, (changed) => ({ changes, artifacts: artifacts.with(i, changed) }))),
    ];
    return {
      samples: [{ bytes: encodeRootChain({ changes, artifacts }), layers }], words: ['"', ',', '[', ']', '{', '}', 'null', '""', 'AAAA', '"changes":[]', '"artifacts":[]'],
      read: (input) => {
        const outcome = prove(input);
        if (!outcome.ok) return outcome.code;
        if (digestOf(outcome.root as never) !== log.pin) throw new Error('proved a root that nobody pinned');
        return 'Same';
      },
    };
  },
};
