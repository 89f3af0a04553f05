import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { canonicalBytes, type JsonObject } from '../../src/core/model/canonical-json.ts';
import type { AnyDocument, DocumentOf, SpecOf } from '../../src/core/model/documents.ts';
import { intentPreimage } from '../../src/core/model/preimages.ts';
import { createSshKey, signWithSsh, type SshKey } from '../fakes/git-repository.ts';
import { doc } from '../fakes/world.ts';
import { attack, survives, verdict, type Verdict } from './attack.ts';
import { personOf, releaseOf, Stage } from './attacks-fixture.ts';

/**
 * Attacks on rollbacks and on broken glass. prod and stage take two sre; a rollback takes one within an hour, broken glass one of anybody
 * with the role. The root demands two people in stage, whatever it is called there.
 */

let stage: Stage;
let dave: SshKey;
let version = 1;

const emergency: SpecOf['Environment'] = {
  order: 2, approvals: { people: 2, roles: [{ role: 'sre', count: 2 }] }, rollback: { people: 1, roles: [{ role: 'sre', count: 1 }], withinSeconds: 3_600 },
  breakGlass: { people: 1, roles: [{ role: 'sre', count: 1 }], skip: ['approvals'], withinSeconds: 7_200, review: { people: 1, roles: [{ role: 'sre', count: 1 }] } },
};

beforeAll(async () => {
  const folder = (await import('../fakes/git-repository.ts')).createTemporaryFolder();
  dave = await createSshKey(await folder, 'dave');
  const target: DocumentOf<'Target'> = doc('Target', 'stage-1', { type: 'directory_host', agent: 'host', environments: ['stage'], applications: ['shop'], connection: { root: '/srv/stage' } });
  stage = await Stage.open({
    documents: [personOf('dave', [dave], ['sre']), doc('Environment', 'prod', emergency), doc('Environment', 'stage', { ...emergency, order: 3 }), target] as readonly AnyDocument[],
    root: { minimums: { environments: [{ name: 'stage', people: 2 }], breakGlass: { people: 1 } } },
  });
});
afterAll(() => stage.close());

const people = () => stage.world.people;
const hour = (hours: number): void => { stage.world.now = new Date(stage.world.now.getTime() + hours * 3_600_000); };

async function lockedRelease(): Promise<string> {
  const release = `${(version += 1)}.0`;
  stage.world.registry.put(`shop/api:${release}`, release);
  await stage.world.commit([releaseOf(release)], { by: people().alice });
  await stage.settle();
  return release;
}

async function ask(environment: string, spec: SpecOf['Promotion'], more: readonly AnyDocument[] = []): Promise<void> {
  const promotion = doc('Promotion', `${environment}/shop`, spec);
  const releaseSpec = (await stage.world.state()).locks.get(`shop/${spec.release ?? ''}`)?.releaseSpec ?? null;
  const preimage = canonicalBytes(intentPreimage({ logId: stage.world.pin, promotion, releaseSpec }) as unknown as JsonObject);
  const signed = { ...promotion, signatures: [{ format: 'sshsig' as const, signature: await signWithSsh(people().alice, preimage, 'stella-intent') }] };
  await stage.world.commit([signed, ...more], { by: people().alice });
  await stage.settle();
}

async function approve(environment: string, by: readonly SshKey[], more: Partial<SpecOf['Approval']> = {}): Promise<void> {
  for (const key of by) await stage.world.commit([await stage.promotionApproval(key, environment, more)], {});
  await stage.settle();
}

async function deploy(environment: string, release: string): Promise<void> {
  await ask(environment, { release });
  await approve(environment, [people().bob, people().carol]);
  expect((await stage.app(environment)).release).toBe(release);
}

/** Releases that ran there one after the other. */
async function history(environment: string, count: number): Promise<readonly string[]> {
  const releases: string[] = [];
  for (let i = 0; i < count; i++) {
    const release = await lockedRelease();
    await deploy(environment, release);
    releases.push(release);
  }
  return releases;
}

/** What came of it, by what ran since `before`. */
async function since(environment: string, release: string, before: number): Promise<Verdict> {
  const seen = await stage.verdict(environment, release);
  return { ...seen, executed: seen.executed.slice(before) };
}

const ran = (environment: string, release: string): number => stage.executed(environment, release).length;

/** Goes back to one of the releases that ran there, with one approval. */
async function goBack(environment: string, to: string, approvers: readonly SshKey[], more: readonly AnyDocument[] = []): Promise<Verdict> {
  const before = ran(environment, to);
  await ask(environment, { release: to }, more);
  await approve(environment, approvers);
  return since(environment, to, before);
}

describe('a rollback', () => {
  attack('rollback to an older state than the last under eased rules', {
    rules: ['T28'], expects: 'ApprovalsMissing',
    attempt: async () => goBack('prod', (await history('prod', 3))[0]!, [people().carol]),
    twin: async () => goBack('prod', (await history('prod', 3))[1]!, [people().carol]),
  });

  attack('rollback under eased rules after its time', {
    rules: ['T28'], expects: 'ApprovalsMissing',
    attempt: async () => {
      const [first] = await history('prod', 2);
      hour(2);
      return goBack('prod', first!, [people().carol]);
    },
    twin: async () => {
      const [first] = await history('prod', 2);
      hour(0.5);
      return goBack('prod', first!, [people().carol]);
    },
  });

  attack('rollback under eased rules with another configuration', {
    rules: ['T28'], expects: 'ApprovalsMissing',
    attempt: async () => {
      const [first] = await history('prod', 2);
      return goBack('prod', first!, [people().carol], [doc('Configuration', 'prod/shop', { variables: { DEBUG: first! } })]);
    },
    twin: async () => goBack('prod', (await history('prod', 2))[0]!, [people().carol]),
  });

  attack('rollback under eased rules to what was rolled back from', {
    rules: ['T28'], expects: 'ApprovalsMissing',
    attempt: async () => {
      const [first, second] = await history('prod', 2);
      expect((await goBack('prod', first!, [people().carol])).accepted).toBe(true);
      return goBack('prod', second!, [people().carol]);
    },
    twin: async () => goBack('prod', (await history('prod', 2))[0]!, [people().carol]),
  });

  attack("rollback below the root's minimum", {
    rules: ['T17', 'T28'], expects: 'ApprovalsMissing',
    attempt: async () => goBack('stage', (await history('stage', 2))[0]!, [people().carol]),
    twin: async () => goBack('stage', (await history('stage', 2))[0]!, [people().carol, dave]),
  });

  attack('rollback approved by who asked for it', {
    rules: ['T19', 'T28'], expects: 'ApprovalsMissing',
    attempt: async () => {
      const [first] = await history('prod', 2);
      const promotion = doc('Promotion', 'prod/shop', { release: first! });
      await stage.world.commit([promotion], { by: dave });
      await stage.settle();
      const before = ran('prod', first!);
      await approve('prod', [dave]);
      return since('prod', first!, before);
    },
    twin: async () => goBack('prod', (await history('prod', 2))[0]!, [people().carol]),
  });
});

/** A request that breaks the glass for an hour. */
const broken = (release: string, more: Partial<NonNullable<SpecOf['Promotion']['breakGlass']>> = {}): SpecOf['Promotion'] =>
  ({ release, breakGlass: { skip: ['approvals'], reason: 'shop is down', expires: new Date(stage.world.now.getTime() + 3_600_000).toISOString(), ...more } });

async function breakGlass(environment: string, approvers: readonly SshKey[], more: Partial<NonNullable<SpecOf['Promotion']['breakGlass']>> = {}): Promise<Verdict> {
  const release = await lockedRelease();
  await ask(environment, broken(release, more));
  await approve(environment, approvers);
  return since(environment, release, 0);
}

async function review(environment: string, by: SshKey, more: Partial<SpecOf['Approval']> = {}): Promise<void> {
  const [debt] = (await stage.app(environment)).debts;
  await stage.world.commit([await stage.world.approval(by, { type: 'review', environment, application: 'shop', digest: debt!.promotionDigest, ...more })], {});
  await stage.settle();
}

/** Pays what is owed, so that the next attack begins without debts. */
async function settleDebts(environment: string): Promise<void> {
  while ((await stage.app(environment)).debts.length > 0) await review(environment, people().bob);
}

describe('broken glass', () => {
  attack('break-glass without its quorum', {
    rules: ['T27'], expects: 'ApprovalsMissing',
    attempt: () => breakGlass('prod', [people().alice]),
    twin: async () => {
      const seen = await breakGlass('prod', [people().carol]);
      await settleDebts('prod');
      return seen;
    },
  });

  attack('break-glass that has expired', {
    rules: ['T27'], expects: 'BreakGlassExpired',
    attempt: () => breakGlass('prod', [people().carol], { expires: new Date(stage.world.now.getTime() - 1_000).toISOString() }),
    twin: async () => {
      const seen = await breakGlass('prod', [people().carol]);
      await settleDebts('prod');
      return seen;
    },
  });

  attack('break-glass for longer than policy lets it', {
    rules: ['T27'], expects: 'BreakGlassNotAllowed',
    attempt: () => breakGlass('prod', [people().carol], { expires: new Date(stage.world.now.getTime() + 86_400_000).toISOString() }),
    twin: async () => {
      const seen = await breakGlass('prod', [people().carol]);
      await settleDebts('prod');
      return seen;
    },
  });

  attack('break-glass that skips more than policy lists', {
    rules: ['T27'], expects: 'BreakGlassNotAllowed',
    attempt: () => breakGlass('prod', [people().bob, people().carol], { skip: ['approvals', 'source'] }),
    twin: async () => {
      const seen = await breakGlass('prod', [people().carol], { skip: ['approvals'] });
      await settleDebts('prod');
      return seen;
    },
  });

  attack("break-glass below the root's minimum", {
    rules: ['T17', 'T27'], expects: 'ApprovalsMissing',
    attempt: () => breakGlass('stage', [people().carol]),
    twin: async () => {
      const seen = await breakGlass('stage', [people().carol, dave]);
      await settleDebts('stage');
      return seen;
    },
  });

  attack("break-glass that skips somebody else's stop", {
    rules: ['T24', 'T27'], expects: 'Frozen',
    attempt: async () => {
      const freeze = doc('Freeze', 'holidays', { environments: ['prod'], reason: 'nobody is here' });
      await stage.world.commit([freeze, await stage.changeApproval(people().bob, await stage.change('Freeze', 'holidays', freeze))], { by: people().bob });
      await stage.settle();
      expect(await stage.inForce('Freeze', 'holidays')).not.toBeNull();
      const seen = await breakGlass('prod', [people().carol, dave]);
      await stage.world.commit([await stage.changeApproval(people().alice, await stage.change('Freeze', 'holidays', null))], { by: people().alice, deletes: ['freezes/holidays.yaml'] });
      await stage.world.commit([await stage.changeApproval(people().bob, await stage.change('Freeze', 'holidays', null))], { by: people().alice });
      await stage.settle();
      expect(await stage.inForce('Freeze', 'holidays')).toBeNull();
      await settleDebts('prod');
      return seen;
    },
    twin: async () => {
      const seen = await breakGlass('prod', [people().carol, dave]);
      await settleDebts('prod');
      return seen;
    },
  });

  attack('review by who took part', {
    rules: ['T27'], expects: 'ReviewMissing',
    attempt: async () => {
      expect((await breakGlass('prod', [people().carol])).accepted).toBe(true);
      await review('prod', people().carol);
      await review('prod', people().alice);
      const release = await lockedRelease();
      await ask('prod', { release });
      await approve('prod', [people().bob, people().carol]);
      return since('prod', release, 0);
    },
    twin: async () => {
      await review('prod', people().bob);
      const release = await lockedRelease();
      await deploy('prod', release);
      return since('prod', release, 0);
    },
  });

  attack('promotion past broken glass that nobody reviewed', {
    rules: ['T27'], expects: 'ReviewMissing',
    attempt: async () => {
      await history('prod', 1);
      expect((await breakGlass('prod', [people().carol])).accepted).toBe(true);
      const release = await lockedRelease();
      await ask('prod', { release });
      await approve('prod', [people().bob, people().carol]);
      return since('prod', release, 0);
    },
    twin: async () => {
      // The way back is open.
      const { previous } = await stage.app('prod');
      const seen = await goBack('prod', previous!.release, [dave]);
      await settleDebts('prod');
      return seen;
    },
  });

  attack('review of one promotion as an approval of another', {
    rules: ['T27'], expects: 'ApprovalsMissing',
    attempt: async () => {
      const release = await lockedRelease();
      await ask('prod', { release });
      await approve('prod', [people().carol]);
      await stage.world.commit([await stage.world.approval(people().bob, { type: 'review', environment: 'prod', application: 'shop', digest: stage.digest('prod') })], {});
      await stage.settle();
      return since('prod', release, 0);
    },
    twin: async () => {
      const release = await lockedRelease();
      await deploy('prod', release);
      return since('prod', release, 0);
    },
  });

  /** Who asked for it speaks of it first, as if it were broken elsewhere. */
  async function misplaced(): Promise<void> {
    expect((await breakGlass('prod', [people().carol])).accepted).toBe(true);
    const [debt] = (await stage.app('prod')).debts;
    await review('prod', people().alice, { environment: 'stage', digest: debt!.promotionDigest });
  }

  const owed = async (): Promise<Verdict> => verdict((await stage.app('prod')).debts.length === 0 ? null : 'ReviewMissing');

  survives('review of what somebody else spoke of in the name of another environment', {
    rules: ['T27', 'T31'], expects: 'ReviewMissing',
    genuine: async () => {
      await misplaced();
      await review('prod', people().bob);
      return owed();
    },
    forged: async () => {
      await misplaced();
      const seen = await owed();
      await settleDebts('prod');
      return seen;
    },
  });

  it('is a condition until it is reviewed, and in the record with its reason and who took part', async () => {
    expect((await breakGlass('prod', [people().carol])).accepted).toBe(true);
    expect((await stage.app('prod')).debts).toMatchObject([{ reason: 'shop is down', participants: ['alice', 'carol'] }]);
    expect(await stage.reasons()).toContain('ReviewMissing');
    await stage.restart();
    expect(await stage.reasons()).toContain('ReviewMissing');
    await review('prod', dave);
    expect(await stage.reasons()).not.toContain('ReviewMissing');
    expect((await stage.app('prod')).debts).toEqual([]);
  });
});
