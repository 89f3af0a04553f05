import type { OpenPgpVerifier } from '../core/commit/openpgp.ts';
import type { Digest } from '../core/model/digest.ts';
import { preimageDigest } from '../core/model/preimages.ts';
import { decodeBundle } from '../core/order/bundle.ts';
import { proveOrder, type AgentMemory } from '../core/order/prove-order.ts';
import type { ProvenWork } from '../ports/target-driver.ts';
import { slotKey, type JournalState } from './journal-state.ts';

/** An order as it came from the server: nothing of it is believed. */
export type UnprovenOrder = { readonly digest: Digest; readonly target: string; readonly bundle: Uint8Array };

export type OrderProof =
  | { readonly ok: true; readonly work: ProvenWork }
  | { readonly ok: false; readonly code: string; readonly message: string };

/** Proves that people approved an order, by what the journal remembers. Pure. */
export type ProveOrder = (order: UnprovenOrder, journal: JournalState, now: Date) => OrderProof;

/**
 * The proof of TRUST "What an agent proves" for one agent. The digest under which the order is journaled must be that of the order in the
 * bundle: under another one a thief could have one order executed many times.
 */
export function orderProver(agent: string, openPgp: OpenPgpVerifier): ProveOrder {
  return (order, journal, now) => {
    if (journal.genesis === null) return { ok: false, code: 'GenesisNotPinned', message: 'this agent has pinned no genesis: run `stella agent enrol`' };
    const bundle = decodeBundle(order.bundle);
    if (bundle === null) return { ok: false, code: 'BundleMalformed', message: 'the bundle cannot be read' };
    if (preimageDigest(bundle.order) !== order.digest) return { ok: false, code: 'OrderDigestMismatch', message: 'the bundle holds another order than it was sent for' };
    return proveOrder({
      bundle: order.bundle,
      pin: journal.genesis,
      agent,
      openPgp,
      memory: {
        protectedChange: journal.protectedChange,
        lastOrders: (environment, application) => ordersOf(journal, slotKey({ environment, application, target: '' })),
        hasRun: (environment, application, runs) => [...journal.ran].some(([key, all]) => key.startsWith(slotKey({ environment, application, target: '' })) && all.has(runs)),
      },
      now: now.getTime(),
    });
  };
}

function ordersOf({ generations }: JournalState, prefix: string): ReturnType<AgentMemory['lastOrders']> {
  return [...generations].flatMap(([key, mark]) => (key.startsWith(prefix) ? [{ ...mark, target: key.slice(prefix.length) }] : []));
}
