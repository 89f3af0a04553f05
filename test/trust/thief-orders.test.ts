import { describe } from 'vitest';
import { digestOfBytes } from '../../src/core/model/digest.ts';
import type { AnyDocument } from '../../src/core/model/documents.ts';
import { limits } from '../../src/core/model/limits.ts';
import { preimageDigest, type Plan } from '../../src/core/model/preimages.ts';
import { documentOf } from '../fakes/log-fixture.ts';
import { attack, type Verdict } from './attack.ts';
import { json, type Heist, type Loot } from './heist.ts';
import { heists, honest, steal, targetOf, TWO, withRuns } from './heists.ts';

/** The thief of `thief.test.ts` with orders that were given once, and with extensions, which need no new approvals. */

const { open, approved, extended } = heists();

describe('a thief who sends orders', () => {
  attack('order of another agent', {
    rules: ['T17'], expects: 'TargetMismatch',
    attempt: async () => {
      const heist = await approved();
      return heist.hand(await heist.order(), await heist.agent('berta'), { agent: 'berta' });
    },
    twin: async () => {
      const heist = await approved();
      return heist.hand(await heist.order({ target: 'web-2' }), await heist.agent('berta'), { agent: 'berta' });
    },
  });

  attack('order that is re-targeted to a target that the plan does not name', {
    rules: ['T17'], expects: 'TargetMismatch', attempt: steal(approved, { order: { target: 'web-9' } }), twin: steal(approved, {}),
  });

  attack('plan with targets of somebody else’s environment', {
    rules: ['T17'], expects: 'TargetMismatch',
    attempt: steal(approved, { plan: (plan) => ({ ...plan, targets: [...plan.targets, { ...plan.targets[0]!, name: 'vault-1' }] }), order: { target: 'vault-1' } }), twin: steal(approved, {}),
  });

  attack('order of another log, whose people the thief made up', {
    rules: ['T13'], expects: 'ChangeNotEntitled',
    attempt: async () => {
      const [heist, other] = [await approved(), await open(TWO)];
      await other.log.allow('1.1.0');
      const root = heist.log.stored.get(heist.log.pin)!;
      const bundle = await other.order();
      return heist.hand({ ...bundle, artifacts: new Map([...bundle.artifacts, [heist.log.pin, root]]) });
    },
    twin: async () => honest(await approved()),
  });

  attack('order replayed under another digest, to run it once more', {
    rules: ['T22'], expects: 'OrderDigestMismatch',
    attempt: async () => {
      const heist = await approved();
      return heist.hand(await heist.order(), await heist.agent(), { digest: digestOfBytes('another') });
    },
    twin: async () => honest(await approved()),
  });

  attack('order of a lower generation, with a try that nobody has given', {
    rules: ['T22'], expects: 'GenerationOld', attempt: async () => wentOn('web-1', 99), twin: async () => wentOn('web-1', 1, false),
  });

  attack('order of a lower generation on a target of the same agent that has not seen the newer one', {
    rules: ['T22'], expects: 'GenerationOld', attempt: async () => wentOn('web-2', 1), twin: async () => wentOn('web-2', 1, false),
  });

  attack('orders of one run, reordered', {
    rules: ['T22'], expects: 'GenerationOld',
    attempt: async () => tries([2, 1]), twin: async () => tries([1, 2]),
  });

  attack('order long after its allow has ended', {
    rules: ['T23', 'T32'], expects: 'AllowExpired', attempt: async () => later(3600 + limits.clockSkewSeconds + 1), twin: async () => later(3600 + limits.clockSkewSeconds - 1),
  });

  async function later(seconds: number): Promise<Verdict> {
    const heist = await open();
    await heist.log.allow('1.0.0');
    const bundle = await heist.order();
    heist.log.after(seconds);
    return heist.hand(bundle);
  }

  async function tries(numbers: readonly number[]): Promise<Verdict> {
    const heist = await open();
    await heist.log.allow('1.0.0');
    const agent = await heist.agent();
    let last: Verdict | null = null;
    for (const number of numbers) last = await heist.hand(await heist.order({ try: number }), agent);
    return last!;
  }

  /** The agent deploys 1.1.0 to web-1, and then gets the old order of 1.0.0. @param newer whether it got the new one before */
  async function wentOn(target: string, number: number, newer = true): Promise<Verdict> {
    const heist = await open({ targets: { 'web-1': 'anna', 'web-2': 'anna' } });
    await heist.log.allow('1.0.0');
    const old = await heist.order({ target, try: number });
    heist.end();
    await heist.log.allow('1.1.0');
    const agent = await heist.agent();
    if (newer) await heist.hand(await heist.order(), agent);
    return heist.hand(old, agent);
  }
});

describe('a thief who extends', () => {
  const onNew = async (loot: Loot): Promise<Verdict> => {
    const heist = await extended();
    return heist.hand(await heist.steal({ ...loot, order: { target: 'web-2', ...loot.order } }), await heist.agent('berta'), { agent: 'berta' });
  };
  const genuine = async (): Promise<Verdict> => {
    const heist = await extended();
    return heist.hand(await heist.order({ target: 'web-2' }), await heist.agent('berta'), { agent: 'berta' });
  };

  attack('extension to a new target of content that nobody approved', {
    rules: ['T22', 'T28'], expects: 'PlanMismatch', attempt: () => onNew({ plan: withRuns(() => ({ variables: { CURL: 'evil.test' } })) }), twin: genuine,
  });

  attack('extension that brings another workflow along', {
    rules: ['T22'], expects: 'PlanMismatch', attempt: () => onNew({ plan: (plan) => ({ ...plan, workflow: { ...plan.workflow, steps: plan.workflow.steps.slice(0, 1) } }) }), twin: genuine,
  });

  attack('extension of a plan that claims to be the approved one', {
    rules: ['T22'], expects: 'PromotionDigestMismatch',
    attempt: async () => {
      const heist = await extended();
      const edit = withRuns(() => ({ variables: { CURL: 'evil.test' } }));
      const base = heist.read<ReturnType<Heist['input']>>(heist.log.lastDecision().sources.extends);
      const claimed = edit(heist.read<Plan>(base.plan));
      const input = { ...base, plan: preimageDigest(claimed) };
      return onNew({ plan: edit, stored: [json(claimed), json(input)], sources: { extends: digestOfBytes(json(input)) } });
    },
    twin: genuine,
  });

  attack('extension of a promotion that nobody approved', {
    rules: ['T21'], expects: 'QuorumNotMet', attempt: () => onNew({ approvals: [] }), twin: genuine,
  });

  attack('extension to a target with another environment, which production’s approvals do not reach', {
    rules: ['T17'], expects: 'TargetMismatch',
    attempt: async () => {
      const heist = await open();
      await heist.deploy();
      await heist.log.change(targetOf('web-2'));
      await heist.log.decide();
      await heist.log.change(targetOf('web-2', { environments: ['dev'] }));
      return heist.hand(await heist.steal({ order: { target: 'web-2' } }));
    },
    twin: genuine,
  });

  attack('extension to a target whose minimum the approvals do not meet', {
    rules: ['T17'], expects: 'QuorumNotMet', attempt: async () => minimum(2), twin: async () => minimum(1),
  });

  attack('extension under rules that were eased in the input that it names', {
    rules: ['T17'], expects: 'PromotionDigestMismatch',
    attempt: async () => {
      const heist = await extended();
      const base = heist.read<ReturnType<Heist['input']>>(heist.log.lastDecision().sources.extends);
      const input = { ...base, clauses: [] };
      return onNew({ approvals: [], stored: [json(input)], sources: { extends: digestOfBytes(json(input)) } });
    },
    twin: genuine,
  });

  attack('extension that is used to fall back', {
    rules: ['T28'], expects: 'OperationMismatch', attempt: () => onNew({ order: { operation: 'fall-back' } }), twin: genuine,
  });

  attack('extension that names no allow on which it rests', {
    rules: ['T22'], expects: 'NotAnAllow', attempt: () => onNew({ sources: { extends: null } }), twin: genuine,
  });

  async function minimum(people: number): Promise<Verdict> {
    const heist = await open({ minimums: { targets: [{ name: 'vault-1', people }] } });
    await heist.deploy();
    await heist.log.change(targetOf('vault-1'));
    await heist.log.decide();
    return heist.hand(await heist.steal({ order: { target: 'vault-1' } }));
  }
});

describe('a thief who uses places that were not approved', () => {
  const side = documentOf('Environment', 'side', { order: 2 }) as unknown as AnyDocument;

  attack('new environment on production’s targets, where nobody is asked', {
    rules: ['T17'], expects: 'TargetMismatch', attempt: async () => besides(['prod']), twin: async () => besides(['prod', 'side']),
  });

  attack('plan that leaves out a target that was there all along, and with it what is demanded for that one', {
    rules: ['T17'], expects: 'TargetMismatch', attempt: async () => without('web-2'), twin: async () => without(null),
  });

  attack('target edited after the approval, to lead elsewhere', {
    rules: ['T17', 'T22'], expects: 'TargetMismatch', attempt: async () => edited('/srv/elsewhere'), twin: async () => edited(null),
  });

  /** An environment without approvals came into force; the thief deploys production's release to web-1 in its name. @param environments that web-1 lets use it */
  async function besides(environments: readonly string[]): Promise<Verdict> {
    const heist = await open();
    await heist.deploy();
    await heist.log.change(side);
    if (environments.length > 1) await heist.log.change(targetOf('web-1', { environments }));
    const asked = documentOf('Promotion', 'side/shop', { release: '1.0.0' });
    return heist.hand(await heist.steal({
      plan: withRuns(() => ({ environment: 'side' })), redigest: true, stored: [json(asked)], sources: { promotion: digestOfBytes(json(asked)) },
      input: { environment: 'side', clauses: [], state: { ...heist.input().state, generation: 0, lock: null, runs: null } }, predicate: { environment: 'side' },
    }));
  }

  /** prod asks nobody, but its target web-2 asks for two; the thief deploys to web-1. @param left the target that the plan leaves out; otherwise it came into force after the decision */
  async function without(left: 'web-2' | null): Promise<Verdict> {
    const heist = await open({ approvals: false, ...(left === null ? {} : TWO), agents: ['berta'], minimums: { targets: [{ name: 'web-2', people: 2 }] } });
    const { log } = heist;
    log.lock('1.0.0');
    await log.promote({ release: '1.0.0' });
    if (left !== null) return heist.hand(await heist.steal({ plan: (plan) => ({ ...plan, targets: plan.targets.filter(({ name }) => name !== left) }), redigest: true, input: { clauses: [] } }));
    await log.change(targetOf('web-2', { agent: 'berta' }));
    return heist.hand(await heist.order());
  }

  async function edited(root: string | null): Promise<Verdict> {
    const heist = await open();
    await heist.log.allow('1.0.0');
    if (root !== null) await heist.log.change(targetOf('web-1', { connection: { root } }));
    return honest(heist);
  }
});
