import { rm } from 'node:fs/promises';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { BucketMap } from '../../../src/core/model/bucket-map.ts';
import { digestOfBytes } from '../../../src/core/model/digest.ts';
import { API_VERSION, type DocumentOf, type PrincipalKey, type SpecOf } from '../../../src/core/model/documents.ts';
import type { OpenPgpSources } from '../../../src/core/trust/key-ring.ts';
import { meetsThreshold, rootHolders, rootKeyRing, successionFault, type RootInForce } from '../../../src/core/trust/root-change.ts';
import { createSshKey, createTemporaryFolder, type SshKey } from '../../fakes/git-repository.ts';
import { openPgp } from '../../fakes/openpgp.ts';

const sources: OpenPgpSources = { certificates: BucketMap.empty(), openPgp };
let folder: string;
let keys: Record<'alice' | 'bob' | 'carol', SshKey>;
beforeAll(async () => {
  folder = await createTemporaryFolder();
  const made = await Promise.all((['alice', 'bob', 'carol'] as const).map(async (name) => [name, await createSshKey(folder, name)] as const));
  keys = Object.fromEntries(made) as typeof keys;
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const person = (name: string, spec: Partial<SpecOf['Principal']> = {}): DocumentOf<'Principal'> =>
  ({ apiVersion: API_VERSION, kind: 'Principal', metadata: { name }, spec: { type: 'person', keys: [], ...spec } });
const listed = (key: SshKey, status: PrincipalKey['status']): PrincipalKey => ({ key: key.publicKey, status, ...(status === 'active' ? {} : { since: '2026-01-01T00:00:00Z' }) });

function root(more: Partial<SpecOf['TrustRoot']> = {}): DocumentOf<'TrustRoot'> {
  return {
    apiVersion: API_VERSION, kind: 'TrustRoot', metadata: { name: 'root' },
    spec: {
      version: 1, previous: null, id: 'f'.repeat(64), tenant: 't', documents: null, keys: Object.values(keys).map((key) => ({ principal: key.name, key: key.publicKey })), threshold: 2,
      services: [{ role: 'evidence-commits', name: 'server', publicKey: keys.carol.publicKey }], quorums: { default: { people: 1 }, create: { people: 1 } }, proposerCounts: true, ...more,
    },
  };
}

describe('the holders of root keys', () => {
  const holders = (principals: readonly DocumentOf<'Principal'>[], document = root()): readonly string[] => rootHolders(rootKeyRing(document, principals, sources));

  it('are the people in force whom the root names', () => {
    expect(holders(['alice', 'bob', 'carol'].map((name) => person(name)))).toEqual(['alice', 'bob', 'carol']);
    expect(holders([person('alice')])).toEqual(['alice']);
  });

  it('are no services', () => {
    expect(holders([person('alice', { type: 'service' }), person('bob')])).toEqual(['bob']);
  });

  it('do not hold a key that another principal holds as well, in the root or out of it', () => {
    expect(holders([person('alice'), person('bob', { keys: [listed(keys.alice, 'active')] }), person('carol')])).toEqual(['bob', 'carol']);
    const shared = root({ keys: [{ principal: 'alice', key: keys.alice.publicKey }, { principal: 'bob', key: keys.alice.publicKey }] });
    expect(holders([person('alice'), person('bob')], shared)).toEqual([]);
  });

  it('have the status that their own document gives the key, and none of it from the root', () => {
    const ring = rootKeyRing(root(), [person('alice', { keys: [listed(keys.alice, 'compromised')] }), person('bob')], sources);
    expect([...ring.values()].map(({ principal, key }) => `${principal.metadata.name} ${key.status}`)).toEqual(['alice compromised', 'bob active']);
  });
});

it('a threshold that is no whole number of people above zero is met by nobody', () => {
  const everybody = new Set(['alice', 'bob', 'carol', 'dave']);
  for (const threshold of [0, -1, 0.5, Number.NaN, '1' as unknown as number]) expect(meetsThreshold(root({ threshold }), everybody)).toBe(false);
  expect(meetsThreshold(root({ threshold: 4 }), everybody)).toBe(true);
  expect(meetsThreshold(root({ threshold: 5 }), everybody)).toBe(false);
});

describe('the next root', () => {
  const digest = digestOfBytes('in force');
  const before = (): RootInForce => ({ root: root(), digest });
  const next = (more: Partial<SpecOf['TrustRoot']>): RootInForce => ({ root: root({ version: 2, previous: digest, ...more }), digest: digestOfBytes('next') });

  it('follows when nothing but its content differs', () => {
    expect(successionFault(before(), next({}))).toBeNull();
    expect(successionFault(before(), next({ threshold: 3, keys: root().spec.keys, proposerCounts: false }))).toBeNull();
  });

  it.each<[string, Partial<SpecOf['TrustRoot']>, string]>([
    ['skips versions', { version: 3 }, 'RootVersionSkipped'], ['has no whole version', { version: 1.5 }, 'RootVersionSkipped'], ['has a version that is no number', { version: 'two' as unknown as number }, 'RootVersionSkipped'],
    ['goes back', { version: 0 }, 'RootRegressed'], ['has the version in force', { version: 1 }, 'RootEquivocation'], ['follows none', { previous: null }, 'RootPreviousOther'],
    ['is of another tenant', { tenant: 'u' }, 'RootIdentityOther'], ['is of another log', { id: '0'.repeat(64) }, 'RootIdentityOther'], ['names first documents', { documents: digest }, 'RootIdentityOther'],
    ['has a threshold of zero', { threshold: 0 }, 'RootThresholdInvalid'], ['has nobody with a key', { keys: [] }, 'RootThresholdInvalid'], ['has keys that cannot be read', { keys: [{ principal: 'alice', key: 'ssh-rsa AAAA' }], threshold: 1 }, 'RootThresholdInvalid'],
    ['lists no key of ours', { services: [] }, 'RootKeysMissing'], ['lists a key of ours that cannot be read', { services: [{ role: 'evidence-commits', name: 'server', publicKey: 'ssh-ed25519 AAAA' }] }, 'RootKeysMissing'],
  ])('that %s is refused', (_, more, code) => {
    expect(successionFault(before(), next(more))).toMatchObject({ code });
  });

  it('is never one with a version other than the next, whatever else it says', () => {
    fc.assert(fc.property(fc.integer({ min: -5, max: 50 }), fc.integer({ min: 0, max: 5 }), (version, threshold) => {
      fc.pre(version !== 2);
      return successionFault(before(), next({ version, threshold })) !== null;
    }));
  });
});
