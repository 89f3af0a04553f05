import { describe, expect, it } from 'vitest';
import { API_VERSION, type DocumentOf, type ProtectedChange, type Quorum, type SpecOf } from '../../../src/core/model/documents.ts';
import type { Digest } from '../../../src/core/model/digest.ts';
import { meetsQuorum, quorumFor } from '../../../src/core/trust/quorum.ts';
import { listFault } from '../../../src/core/trust/apply-change.ts';
import { initialState } from '../../../src/core/evidence/log-state.ts';

const person = (name: string, spec: Partial<SpecOf['Principal']> = {}): DocumentOf<'Principal'> => ({
  apiVersion: API_VERSION, kind: 'Principal', metadata: { name }, spec: { type: 'person', keys: [], roles: [{ role: 'admin' }], ...spec },
});
const digest = `sha256:${'a'.repeat(64)}` as Digest;
const root: DocumentOf<'TrustRoot'> = {
  apiVersion: API_VERSION, kind: 'TrustRoot', metadata: { name: 'root' },
  spec: { version: 1, previous: null, id: 'f'.repeat(64), tenant: 't', documents: digest, keys: [], threshold: 1, services: [], quorums: { default: { people: 3 }, create: { people: 2 }, kinds: { Freeze: { people: 4 } } }, proposerCounts: true },
};
const change = (kind: string): ProtectedChange => ({ kind: kind as ProtectedChange['kind'], name: 'x', count: 1, from: digest, to: null });

describe('a quorum', () => {
  const people = ['alice', 'bob', 'carol'].map((name) => person(name));

  it('is met by as many people as it demands', () => {
    expect(meetsQuorum({ people: 3 }, people)).toBe(true);
    expect(meetsQuorum({ people: 4 }, people)).toBe(false);
  });

  it.each<[string, unknown]>([
    ['none at all', {}], ['zero people', { people: 0 }], ['fewer than zero', { people: -1 }], ['half a person', { people: 0.5 }], ['a number in quotes', { people: '1' }], ['null', { people: null }],
    ['a role without a number', { people: 1, roles: [{ role: 'admin' }] }], ['a role fewer than zero times', { people: 1, roles: [{ role: 'admin', count: -1 }] }],
  ])('that demands %s is met by nobody', (_, quorum) => {
    expect(meetsQuorum(quorum as Quorum, people)).toBe(false);
  });

  it('does not count a service, nor a role that is bound to one environment', () => {
    const quorum = { people: 1, roles: [{ role: 'admin', count: 1 }] };
    expect(meetsQuorum(quorum, [person('bot', { type: 'service' })])).toBe(false);
    expect(meetsQuorum(quorum, [person('dev', { roles: [{ role: 'admin', environments: ['dev'] }] })])).toBe(false);
    expect(meetsQuorum(quorum, [person('alice')])).toBe(true);
  });

  it('is that of the kind, and never something that every object inherits', () => {
    expect(quorumFor(root, change('Freeze'))).toEqual({ people: 4 });
    expect(quorumFor(root, change('Target'))).toEqual({ people: 3 });
    for (const kind of ['constructor', 'toString', '__proto__']) expect(quorumFor(root, change(kind))).toEqual({ people: 3 });
  });
});

it('a list of changes may name only kinds that are known and protected, each document once', () => {
  const state = initialState(root, digest);
  const list = (kind: string): ProtectedChange => ({ ...change(kind), count: 0, from: null, to: digest });
  expect(listFault(state, [list('Freeze')])).toBeNull();
  for (const kind of ['constructor', 'freeze', 'Plugin', 'Promotion', 'TrustRoot']) expect(listFault(state, [list(kind)])).not.toBeNull();
  expect(listFault(state, [list('Freeze'), list('Freeze')])).not.toBeNull();
  expect(listFault(state, [])).not.toBeNull();
});
