import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { rm } from 'node:fs/promises';
import type { AnyDocument, DocumentOf, SpecOf } from '../../src/core/model/documents.ts';
import { changeDigest } from '../../src/core/model/preimages.ts';
import { applyProtectedChange } from '../../src/core/trust/apply-change.ts';
import { createSshKey, createTemporaryFolder, type SshKey } from '../fakes/git-repository.ts';
import { openPgp } from '../fakes/openpgp.ts';
import { doc, pathOf } from '../fakes/world.ts';
import { attack, survives, type Verdict } from './attack.ts';
import { personOf, Stage } from './attacks-fixture.ts';
import { listOf, pushStop, stopVerdict } from './stop-desk.ts';

/**
 * Attacks on stops (T24). dave may stop anything, erin only in dev. One admin decides on most documents, two on freezes. Each attack has documents of
 * its own; principals are stopped in worlds of their own.
 */

let folder: string;
let keys: Readonly<Record<'dave' | 'erin' | 'mallory' | 'mallory2' | 'bot' | 'zoe', SshKey>>;
let stage: Stage;

const ADMIN = (count: number) => ({ people: count, roles: [{ role: 'admin', count }] });
const freeze = (name: string, spec: Partial<SpecOf['Freeze']> = {}): DocumentOf<'Freeze'> => doc('Freeze', name, { environments: ['dev'], reason: 'stop the line', ...spec });
const asDocuments = (...documents: readonly unknown[]): readonly AnyDocument[] => documents as readonly AnyDocument[];

const erin = () => doc('Principal', 'erin', { type: 'person', keys: [{ key: keys.erin.publicKey, status: 'active' }], roles: [{ role: 'stop', environments: ['dev'] }] });
const people = (): readonly AnyDocument[] => asDocuments(
  personOf('dave', [keys.dave], ['stop']), erin(), personOf('zoe', [keys.zoe], ['sre']),
  personOf('mallory', [keys.mallory, keys.mallory2], ['admin', 'sre']), personOf('bot', [keys.bot], ['stop'], { type: 'service' }),
  doc('Environment', 'prod', { order: 2, approvals: { people: 1, roles: [{ role: 'sre', count: 1 }] } }),
);

const open = (documents: readonly AnyDocument[] = []): Promise<Stage> =>
  Stage.open({ documents: [...people(), ...documents], root: { quorums: { default: ADMIN(1), create: ADMIN(1), kinds: { Freeze: ADMIN(2) } } } });

beforeAll(async () => {
  folder = await createTemporaryFolder();
  const names = ['dave', 'erin', 'mallory', 'mallory2', 'bot', 'zoe'] as const;
  keys = Object.fromEntries(await Promise.all(names.map(async (name) => [name, await createSshKey(folder, name)]))) as typeof keys;
  stage = await open(asDocuments(freeze('stock-taking'), freeze('audit'), freeze('narrow', { environments: ['dev'], applications: ['shop'] })));
});
afterAll(async () => {
  await stage.close();
  await rm(folder, { recursive: true, force: true });
});

async function stopBy(by: SshKey, ...documents: readonly unknown[]): Promise<Verdict> {
  const approval = await pushStop(stage, by, asDocuments(...documents));
  return stopVerdict(stage, asDocuments(...documents), approval);
}

/** Deletes a freeze on the target branch, with these approvals. */
async function lift(name: string, by: readonly SshKey[]): Promise<Verdict> {
  const changes = await stage.change('Freeze', name, null);
  await stage.world.commit(await Promise.all(by.map((key) => stage.changeApproval(key, changes))), { deletes: [pathOf(freeze(name) as unknown as AnyDocument)] });
  await stage.settle();
  return { accepted: (await stage.inForce('Freeze', name)) === null, codes: await stage.reasons(), executed: [] };
}

describe('stops', () => {
  attack('freeze deleted by one person', {
    rules: ['T15', 'T24'],
    expects: 'ChangeRefused',
    attempt: () => lift('stock-taking', [stage.world.people.alice]),
    twin: () => lift('stock-taking', [stage.world.people.alice, stage.world.people.bob]),
  });

  attack('freeze deleted with the signature that put it in force', {
    rules: ['T24'],
    expects: 'ChangeRefused',
    attempt: () => lift('audit', [keys.dave]),
    twin: () => lift('audit', [stage.world.people.alice, stage.world.people.bob]),
  });

  attack('freeze widened by somebody without a stop role', {
    rules: ['T24', 'T21'],
    expects: 'StopRefused',
    attempt: () => stopBy(stage.world.people.carol, freeze('narrow', { environments: ['dev', 'prod'], applications: ['shop'] })),
    twin: () => stopBy(keys.dave, freeze('narrow', { environments: ['dev', 'prod'], applications: ['shop'] })),
  });

  attack('freeze narrowed by a stop role', {
    rules: ['T24', 'T15'],
    expects: 'StopRefused',
    attempt: async () => {
      await stopBy(keys.dave, freeze('shrinking', { environments: ['dev', 'prod'] }));
      return stopBy(keys.dave, freeze('shrinking', { environments: ['dev'], applications: ['shop'] }));
    },
    twin: () => stopBy(keys.dave, doc('Freeze', 'shrinking', { reason: 'everything now' })),
  });

  attack('exception added to a freeze by a stop role', {
    rules: ['T24'],
    expects: 'StopRefused',
    attempt: async () => {
      await stopBy(keys.dave, freeze('excepted'));
      return stopBy(keys.dave, freeze('excepted', { environments: ['dev', 'prod'], except: { people: 1 } }));
    },
    twin: () => stopBy(keys.dave, freeze('excepted', { environments: ['dev', 'prod'] })),
  });

  attack('stop that smuggles another change in one list', {
    rules: ['T24', 'T15'],
    expects: 'StopRefused',
    attempt: () => stopBy(keys.dave, freeze('cover'), personOf('dave', [keys.dave], ['stop', 'admin'])),
    twin: () => stopBy(keys.dave, freeze('cover')),
  });

  attack('stop that smuggles a role into the principal it suspends', {
    rules: ['T24', 'T15'],
    expects: 'StopRefused',
    attempt: () => stopBy(keys.dave, personOf('zoe', [keys.zoe], ['sre', 'admin'], { suspended: { reason: 'on leave' } })),
    twin: () => stopBy(keys.dave, personOf('zoe', [keys.zoe], ['sre'], { suspended: { reason: 'on leave' } })),
  });

  attack('stop role of another environment', {
    rules: ['T24', 'T21'],
    expects: 'StopRefused',
    attempt: () => stopBy(keys.erin, freeze('for-prod', { environments: ['dev', 'prod'] })),
    twin: () => stopBy(keys.erin, freeze('for-dev', { environments: ['dev'] })),
  });

  attack('stop by a service with a stop role', {
    rules: ['T11', 'T24'],
    expects: 'StopRefused',
    attempt: () => stopBy(keys.bot, freeze('by-bot')),
    twin: () => stopBy(keys.dave, freeze('by-bot')),
  });

  attack('key of somebody else revoked without a stop role', {
    rules: ['T9', 'T24'],
    expects: 'StopRefused',
    attempt: () => stopBy(stage.world.people.carol, revoked('mallory', [keys.mallory2, keys.mallory], ['admin', 'sre'])),
    twin: () => stopBy(keys.mallory, revoked('mallory', [keys.mallory, keys.mallory2], ['admin', 'sre'])),
  });

  it('of strangers neither come into force nor reach the log', async () => {
    const stranger = await createSshKey(folder, 'stranger');
    const before = (await stage.world.state()).size;
    expect(await stopBy(stranger, freeze('by-stranger'))).toMatchObject({ accepted: false });
    expect((await stage.world.state()).size).toBe(before);
    expect(await stopBy(keys.dave, freeze('by-stranger'))).toMatchObject({ accepted: true });
  });

  survives('stop that somebody with a say rejects', {
    rules: ['T24'],
    expects: 'StopRefused',
    genuine: async () => {
      const list = await listOf(stage, asDocuments(freeze('rejected')));
      await stage.world.commit([await stage.changeApproval(stage.world.people.alice, list, { action: 'reject' })]);
      await stage.settle();
      return stopBy(keys.dave, freeze('rejected'));
    },
    forged: () => stopBy(stage.world.people.bob, freeze('rejected-2')),
  });

  attack('stop replayed after its lifting', {
    rules: ['T24', 'T7'],
    expects: 'ChangeNotEntitled',
    attempt: async () => {
      const document = asDocuments(freeze('phoenix'));
      const changes = await listOf(stage, document);
      const approval = await pushStop(stage, keys.dave, document);
      expect((await stopVerdict(stage, document, approval)).accepted).toBe(true);
      const put = stage.changes.find(({ predicate }) => predicate.changeDigest === changeDigest(stage.world.pin, changes));
      expect(await lift('phoenix', [stage.world.people.alice, stage.world.people.bob])).toMatchObject({ accepted: true });
      await pushStop(stage, keys.dave, document, { changes, approval });
      const again = await stopVerdict(stage, document, approval);
      const state = await stage.world.state();
      if (put === undefined) throw new Error('the stop was not recorded');
      // A server that would record it again convinces nobody who folds the log: the list does not start from what is in force.
      const replayed = applyProtectedChange(state, { seq: state.size, commit: put.header.commit, asOf: state.asOf ?? '' }, put.predicate, { artifact: () => undefined, openPgp });
      return { ...again, codes: replayed.ok ? [] : [replayed.code] };
    },
    twin: () => stopBy(keys.dave, freeze('phoenix')),
  });
});

const revoked = (name: string, [first, ...rest]: readonly SshKey[], roles: readonly string[]): AnyDocument =>
  doc('Principal', name, {
    type: 'person', roles: roles.map((role) => ({ role })),
    keys: [{ key: first?.publicKey ?? '', status: 'compromised', since: '2026-11-01T00:00:00Z' }, ...rest.map((key) => ({ key: key.publicKey, status: 'active' as const }))],
  }) as unknown as AnyDocument;
