import { rm } from 'node:fs/promises';
import { afterAll, beforeAll, describe } from 'vitest';
import { canonicalBytes } from '../../src/core/model/canonical-json.ts';
import type { CommitId } from '../../src/core/model/commit-id.ts';
import type { Digest } from '../../src/core/model/digest.ts';
import { documentDigest, documentPreimage, type AnyDocument } from '../../src/core/model/documents.ts';
import type { Order } from '../../src/core/model/preimages.ts';
import { initialState, rootOf } from '../../src/core/evidence/log-state.ts';
import type { ProtectedChangePredicate } from '../../src/core/evidence/records.ts';
import { readLog } from '../../src/core/evidence/verify-log.ts';
import { decodeBundle, encodeBundle, type OrderBundle } from '../../src/core/order/bundle.ts';
import { proveOrder, type AgentMemory } from '../../src/core/order/prove-order.ts';
import { encodeRootChain, proveRoot, type RootChain, type RootProof } from '../../src/core/order/root-chain.ts';
import { buildBundle } from '../../src/reconciler/build-bundle.ts';
import { createTemporaryFolder } from '../fakes/git-repository.ts';
import { documentOf, LogFixture, type Person } from '../fakes/log-fixture.ts';
import { openPgp } from '../fakes/openpgp.ts';
import { attack, proofVerdict, verdict, type Verdict } from './attack.ts';

/** What agents make of a trust root that changes: while they run, and before they enrol. */

let folder: string;
beforeAll(async () => {
  folder = await createTemporaryFolder();
});
afterAll(() => rm(folder, { recursive: true, force: true }));

let made = 0;
const freshLog = (): Promise<LogFixture> => LogFixture.create(`${folder}/${++made}`);
const FRESH: AgentMemory = { protectedChange: null, lastOrders: () => [], hasRun: () => false };

/** What agent anna says to the order that names the decision of the open run. */
async function prove(log: LogFixture, edit: (bundle: OrderBundle) => Partial<OrderBundle> = () => ({}), memory = FRESH): Promise<Verdict> {
  const decision = log.app.openRun?.decision;
  if (decision === undefined) throw new Error('no run is open');
  const order: Order = { type: 'stella/order/v1', decision: decision.digest, operation: 'promote', target: 'web-1', try: 1 };
  const built = await buildBundle(order, decision, log);
  const bundle = built.ok ? decodeBundle(built.bundle) : null;
  if (bundle === null) throw new Error('the bundle cannot be built');
  return proofVerdict(proveOrder({ bundle: encodeBundle({ ...bundle, ...edit(bundle) }), pin: log.pin, agent: 'anna', memory, now: log.now.getTime(), openPgp }));
}

/** The next root of a log: with the keys of these people. */
function nextRoot(log: LogFixture, keys: readonly Person[] = ['bob']): AnyDocument {
  const root = rootOf(log.state);
  const next = { ...root.spec, version: root.spec.version + 1, previous: log.state.inForceDigests.root, documents: null, keys: keys.map((name) => ({ principal: name, key: log.people[name].publicKey })) };
  return documentOf('TrustRoot', root.metadata.name, next) as unknown as AnyDocument;
}

describe('an agent under a root that changed', () => {
  attack('order under an allow that the rotated key of the server signed', {
    rules: ['T16', 'T29'], expects: 'DecisionUnsigned',
    attempt: async () => {
      const log = await freshLog();
      await log.allow('1.0.0');
      await log.rotateDecisions();
      return prove(log);
    },
    twin: async () => {
      const log = await freshLog();
      await log.allow('1.0.0');
      await log.rotateDecisions();
      await log.decide();
      return prove(log);
    },
  });

  attack('order from which the change of the root is withheld', {
    rules: ['T13', 'T16'], expects: 'InForceMismatch',
    attempt: async () => {
      const log = await freshLog();
      await log.change(nextRoot(log));
      await log.allow('1.0.0');
      return prove(log, ({ changes }) => ({ changes: changes.slice(0, -1) }));
    },
    twin: async () => {
      const log = await freshLog();
      await log.change(nextRoot(log));
      await log.allow('1.0.0');
      return prove(log);
    },
  });

  attack('order under the root before, to an agent that has seen the next', {
    rules: ['T16'], expects: 'ChainRegressed',
    attempt: async () => {
      const log = await freshLog();
      await log.allow('1.0.0');
      const before = log.changes.all().envelopes;
      await log.change(nextRoot(log));
      return prove(log, () => ({ changes: before }), { ...FRESH, protectedChange: lastChange(log) });
    },
    twin: async () => {
      const log = await freshLog();
      await log.allow('1.0.0');
      await log.change(nextRoot(log));
      return prove(log, () => ({}), { ...FRESH, protectedChange: lastChange(log) });
    },
  });
});

function lastChange(log: LogFixture): { readonly seq: number; readonly digest: Digest } {
  const proof = proveRoot(chainOf(log), { pin: log.pin, known: null, openPgp });
  if (!proof.ok || proof.last === null) throw new Error('the log has no changes');
  return proof.last;
}

/** The chain as a server shows it before an agent enrols. */
function chainOf(log: LogFixture, edit: (chain: RootChain) => Partial<RootChain> = () => ({})): Uint8Array {
  const { envelopes, artifacts } = log.changes.all();
  const chain = { changes: envelopes, artifacts: artifacts.flatMap((digest) => log.stored.get(digest) ?? []) };
  return encodeRootChain({ ...chain, ...edit(chain) });
}

/** The chain with one more change, which the first key of the server signed. */
function withForged(log: LogFixture, predicate: ProtectedChangePredicate, artifacts: readonly Uint8Array[]): Uint8Array {
  const forged = log.forge({ type: 'protected-change', predicate });
  return chainOf(log, (chain) => ({ changes: [...chain.changes, forged], artifacts: [...chain.artifacts, ...artifacts] }));
}

/** Accepted, if it proves the root that is in force in this log. */
function rootVerdict(log: LogFixture, proof: RootProof): Verdict {
  if (!proof.ok) return verdict(proof.code);
  return verdict(documentDigest(proof.root as unknown as AnyDocument) === log.state.inForceDigests.root ? null : 'OtherRoot');
}

describe('an auditor under a root that changed', () => {
  const audit = (log: LogFixture, more: readonly Uint8Array[] = []): Verdict => {
    const read = readLog(initialState(log.root, log.pin), [...log.envelopes, ...more], { artifact: log.artifacts.get, openPgp });
    return verdict(read.ok ? null : read.fault.code);
  };
  const tip = { type: 'observation', predicate: { type: 'tip', ref: 'refs/heads/main', commit: 'd'.repeat(40) as CommitId } } as const;

  attack('record of the log that the rotated key of the server signed', {
    rules: ['T16', 'T29'], expects: 'RecordUnsigned',
    attempt: async () => {
      const log = await freshLog();
      await log.rotateDecisions();
      return audit(log, [log.forge(tip)]);
    },
    twin: async () => {
      const log = await freshLog();
      await log.allow('1.0.0');
      await log.rotateDecisions();
      log.record(tip);
      return audit(log);
    },
  });
});

describe('enrolment under a root that changed', () => {
  attack('chain of roots with one that the threshold did not sign', {
    rules: ['T13', 'T16'], expects: 'ChangeNotEntitled',
    attempt: async () => {
      const log = await freshLog();
      const root = nextRoot(log, ['mallory']);
      const { approval, predicate } = await log.changeOf(root, 'mallory');
      return rootVerdict(log, proveRoot(withForged(log, predicate, [documentPreimage(root), canonicalBytes(approval)]), { pin: log.pin, known: null, openPgp }));
    },
    twin: async () => {
      const log = await freshLog();
      await log.change(nextRoot(log, ['bob', 'mallory']));
      return rootVerdict(log, proveRoot(chainOf(log), { pin: log.pin, known: null, openPgp }));
    },
  });

  attack('chain of roots that is cut back, to an agent that has seen more', {
    rules: ['T16'], expects: 'ChainRegressed',
    attempt: async () => {
      const log = await freshLog();
      await log.change(nextRoot(log));
      return rootVerdict(log, proveRoot(chainOf(log, ({ changes }) => ({ changes: changes.slice(0, 1) })), { pin: log.pin, known: lastChange(log), openPgp }));
    },
    twin: async () => {
      const log = await freshLog();
      await log.change(nextRoot(log));
      return rootVerdict(log, proveRoot(chainOf(log), { pin: log.pin, known: lastChange(log), openPgp }));
    },
  });

  attack('chain of roots of another log', {
    rules: ['T13'], expects: 'ArtifactMissing',
    attempt: async () => {
      const [log, other] = [await freshLog(), await freshLog()];
      return rootVerdict(log, proveRoot(chainOf(other), { pin: log.pin, known: null, openPgp }));
    },
    twin: async () => {
      const log = await freshLog();
      return rootVerdict(log, proveRoot(chainOf(log), { pin: log.pin, known: null, openPgp }));
    },
  });

  attack('change of the root that the rotated key of the server signed', {
    rules: ['T16', 'T29'], expects: 'ChangeNotEntitled',
    attempt: async () => {
      const log = await freshLog();
      await log.rotateDecisions();
      const root = nextRoot(log, ['bob', 'mallory']);
      const { approval, predicate } = await log.changeOf(root, 'bob');
      return rootVerdict(log, proveRoot(withForged(log, predicate, [documentPreimage(root), canonicalBytes(approval)]), { pin: log.pin, known: null, openPgp }));
    },
    twin: async () => {
      const log = await freshLog();
      await log.rotateDecisions();
      await log.change(nextRoot(log));
      return rootVerdict(log, proveRoot(chainOf(log), { pin: log.pin, known: null, openPgp }));
    },
  });
});
