import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { documentDigest, type DocumentOf, type SpecOf } from '../../src/core/model/documents.ts';
import { changeDigest } from '../../src/core/model/preimages.ts';
import { rootOf } from '../../src/core/evidence/log-state.ts';
import { changeTo } from '../../src/core/trust/apply-change.ts';
import { parseSshPublicKey } from '../../src/core/commit/ssh-key.ts';
import type { NextCommitSigner, Signers } from '../../src/ports/signing.ts';
import { createSshKey, signWithSsh, type SshKey } from '../fakes/git-repository.ts';
import { doc, recordSignerOf, World } from '../fakes/world.ts';
import { attack, verdict, type Verdict } from './attack.ts';
import { releaseOf } from './attacks-fixture.ts';

/** Keys of our own that are rotated by the next trust root: what the old one signs later is refused, what it signed before stays valid (T29). */

let world: World;
let next: { readonly decisions: KeyObject; readonly decisionsPem: string; readonly commits: SshKey };

beforeAll(async () => {
  world = await World.create({ idle: true });
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  next = { decisions: privateKey, decisionsPem: publicKey.export({ format: 'pem', type: 'spki' }).toString(), commits: await createSshKey(join(world.folder, 'next'), 'next') };
});
afterAll(() => world.close());

type Held = { readonly decisions: KeyObject; readonly commits: SshKey };

function signersOf(held: Held, later?: Held): Signers {
  return {
    records: recordSignerOf(held.decisions), commits: (payload) => signWithSsh(held.commits, payload),
    ...(later === undefined ? {} : { next: { records: recordSignerOf(later.decisions), commits: nextCommits(later.commits) } }),
  };
}

function nextCommits(key: SshKey): NextCommitSigner {
  const parsed = parseSshPublicKey(key.publicKey);
  if (!parsed.ok) throw new Error('not a key');
  return { fingerprint: parsed.key.fingerprint, sign: (payload) => signWithSsh(key, payload) };
}

/** A server that starts with these keys on an empty disk, has one release to lock, and comes to rest. @returns the fault that it stops with */
async function serve(signers: Signers, version: string): Promise<string | null> {
  await world.restart();
  await world.reconciler({ signers });
  world.registry.put(`shop/api:${version}`, `image ${version}`);
  await world.commit([releaseOf(version)], { by: world.people.alice });
  for (;;) {
    const report = await world.pass();
    if (report.fault !== null) return report.fault.code;
    if (report.records === 0) return null;
  }
}

async function rotate(more: Partial<SpecOf['TrustRoot']>): Promise<DocumentOf<'TrustRoot'>> {
  const root = rootOf(await world.state());
  const rotated = doc('TrustRoot', 'root', { ...root.spec, version: root.spec.version + 1, previous: documentDigest(root), documents: null, ...more });
  const changes = [changeTo(await world.state(), 'TrustRoot', 'root', documentDigest(rotated))];
  await world.commit([rotated, await world.approval(world.people.alice, { type: 'change', digest: changeDigest(world.pin, changes), changes })], { by: world.people.alice });
  return rotated;
}

const inForce = async (): Promise<string> => documentDigest(rootOf(await world.state()));
const written = (fault: string | null): Verdict => verdict(fault);

describe('a server whose keys are rotated', () => {
  it('does not follow a root under which it could sign nothing, says which setting lacks, and goes on', async () => {
    expect(await serve(signersOf(world.keys), '1.0')).toBeNull();
    const before = await inForce();
    await rotate({ services: rotatedServices() });
    await world.settle();
    expect(await inForce()).toBe(before);
    const { conditions } = await world.reconciler();
    expect(conditions.all().find((c) => c.kind === 'TrustRoot')).toMatchObject({ reason: 'ChangeRefused', message: expect.stringContaining('keys.nextDecisions') as unknown });
  });

  it('signs with the next keys from the record on that puts the root in force, and its whole log is verified', async () => {
    expect(await serve(signersOf(world.keys, next), '1.1')).toBeNull();
    expect(rootOf(await world.state()).spec.version).toBe(2);
    expect(await serve(signersOf(next), '1.2')).toBeNull();
    expect((await world.state()).locks.has('shop/1.0')).toBe(true);
    expect((await world.state()).locks.has('shop/1.2')).toBe(true);
  });

  attack('record signed with the key for decisions that was rotated away', {
    rules: ['T16', 'T29'], expects: 'KeyNotListed',
    attempt: async () => written(await serve(signersOf({ ...next, decisions: world.keys.decisions }), '1.3')),
    twin: async () => written(await serve(signersOf(next), '1.4')),
  });

  attack('evidence commit signed with the key that was rotated away', {
    rules: ['T29', 'T30'], expects: 'ForeignEvidence',
    attempt: async () => {
      const tip = await world.repository.tip('stella/evidence');
      // Whoever holds the old key for commits, and even the new one for decisions.
      expect(await serve(signersOf({ ...next, commits: world.keys.commits }), '1.5')).toBeNull();
      const fault = await serve(signersOf(next), '1.6');
      if (tip !== null) await world.repository.setBranch('stella/evidence', tip);
      return written(fault);
    },
    twin: async () => written(await serve(signersOf(next), '1.7')),
  });
});

function rotatedServices(): SpecOf['TrustRoot']['services'] {
  return [
    { role: 'decisions', name: 'reconciler-2', publicKey: next.decisionsPem }, { role: 'agent-ca', name: 'agents', publicKey: world.keys.agentCaPem },
    { role: 'evidence-commits', name: 'reconciler-2', publicKey: next.commits.publicKey },
  ];
}
