import { describe, expect, it } from 'vitest';
import { initialState, type InForce, type LogState } from '../../../src/core/evidence/log-state.ts';
import { BucketMap } from '../../../src/core/model/bucket-map.ts';
import { API_VERSION, documentDigest, documentKey, type AnyDocument, type DocumentOf, type Kind, type PrincipalKey, type SpecOf } from '../../../src/core/model/documents.ts';
import { isStop, liftingFault, liftingIn, mayStop, stopFault } from '../../../src/core/trust/stop.ts';

const doc = <K extends Kind>(kind: K, name: string, spec: SpecOf[K]): AnyDocument => ({ apiVersion: API_VERSION, kind, metadata: { name }, spec }) as unknown as AnyDocument;
const freeze = (spec: Partial<SpecOf['Freeze']> = {}): AnyDocument => doc('Freeze', 'f', { reason: 'x', ...spec });
const key = (more: Partial<PrincipalKey> = {}): PrincipalKey => ({ key: 'ssh-ed25519 one', status: 'active', ...more });
const person = (spec: Partial<SpecOf['Principal']> = {}): AnyDocument => doc('Principal', 'ann', { type: 'person', keys: [key(), key({ key: 'ssh-ed25519 two' })], ...spec });
const two = key({ key: 'ssh-ed25519 two' });
const agent = (spec: Partial<SpecOf['Agent']> = {}): AnyDocument => doc('Agent', 'host', { identityKey: 'pem', owner: 'bob', capabilities: ['directory_host'], ...spec });
const window = (start: string) => ({ start, end: '2032-01-01T00:00', timeZone: 'UTC' });
const suspended = { reason: 'x' };
const since = '2031-01-01T00:00:00Z';

describe('a stop', () => {
  it.each<[string, AnyDocument | null, AnyDocument]>([
    ['a new freeze', null, freeze({ environments: ['prod'] })],
    ['a freeze of one environment more', freeze({ environments: ['prod'] }), freeze({ environments: ['dev', 'prod'], reason: 'other words' })],
    ['a freeze of everything', freeze({ environments: ['prod'], applications: ['shop'], releases: ['shop/1'] }), freeze()],
    ['a freeze without its calendar', freeze({ calendar: { windows: [window('2031-12-01T00:00')] } }), freeze()],
    ['a window more', freeze({ calendar: { windows: [window('2031-12-01T00:00')] } }), freeze({ calendar: { windows: [window('2031-11-01T00:00'), window('2031-12-01T00:00')] } })],
    ['an exception less', freeze({ calendar: { windows: [window('2031-12-01T00:00')], exceptions: [window('2031-12-02T00:00')] } }), freeze({ calendar: { windows: [window('2031-12-01T00:00')] } })],
    ['nobody who may except it any more', freeze({ except: { people: 1 } }), freeze()],
    ['a key that is retired', person(), person({ keys: [key({ status: 'retired', since }), two] })],
    ['a retired key that is compromised', person({ keys: [key({ status: 'retired', since }), two] }), person({ keys: [key({ status: 'compromised', since }), two] })],
    ['a person who is suspended', person(), person({ suspended })],
    ['a person who is suspended, and their key', person(), person({ suspended, keys: [key({ status: 'compromised', since }), two] })],
    ['an agent that is suspended', agent(), agent({ suspended })],
  ])('is %s', (_, before, after) => {
    expect(isStop({ before, after })).toBe(true);
    expect(liftingIn({ before, after })).toBeNull();
    if (before !== null) expect(isStop({ before: after, after: before })).toBe(false);
  });

  it.each<[string, AnyDocument | null, AnyDocument | null]>([
    ['nothing new', freeze(), freeze({ reason: 'other words' })], ['a freeze that is deleted', freeze(), null],
    ['a freeze that moves', freeze({ environments: ['prod'] }), freeze({ environments: ['dev'] })], ['a freeze that is wider here and narrower there', freeze({ environments: ['prod'] }), freeze({ applications: ['shop'] })],
    ['a freeze with an exception more', freeze(), freeze({ except: { people: 1 } })], ['a freeze whose exception changes', freeze({ environments: ['a'], except: { people: 2 } }), freeze({ except: { people: 1 } })],
    ['a latch that gets a calendar', freeze(), freeze({ calendar: { windows: [window('2031-12-01T00:00')] } })], ['a window that is replaced', freeze({ calendar: { windows: [window('2031-12-01T00:00')] } }), freeze({ calendar: { windows: [window('2031-11-01T00:00')] } })],
    ['a new person', null, person({ suspended })], ['a person who is deleted', person(), null], ['an active key again', person({ keys: [key({ status: 'retired', since }), two] }), person()],
    ['another date of a retired key', person({ keys: [key({ status: 'retired', since }), two] }), person({ keys: [key({ status: 'retired', since: '2032-01-01T00:00:00Z' }), two] })],
    ['a retired key that is superseded', person({ keys: [key({ status: 'retired', since }), two] }), person({ keys: [key({ status: 'superseded', since }), two] })],
    ['a key more', person(), person({ keys: [key({ status: 'retired', since }), two, key({ key: 'ssh-ed25519 three' })] })], ['a key less', person(), person({ keys: [key({ status: 'retired', since })] })],
    ['keys in another order', person(), person({ keys: [two, key({ status: 'retired', since })] })], ['a role besides', person(), person({ suspended, roles: [{ role: 'admin' }] })], ['a role less', person({ roles: [{ role: 'a' }] }), person({ suspended })],
    ['a service that becomes a person', person({ type: 'service' }), person({ suspended })], ['a suspension that ends', person({ suspended }), person()], ['another reason', person({ suspended }), person({ suspended: { reason: 'y' } })],
    ['another identity of an agent', agent(), agent({ suspended, identityKey: 'other' })], ['a new agent', null, agent({ suspended })], ['an environment', null, doc('Environment', 'prod', { order: 1 })],
  ])('is not %s', (_, before, after) => {
    expect(isStop({ before, after })).toBe(false);
  });
});

describe('a lifting', () => {
  it.each<[string, AnyDocument, AnyDocument | null, string | null]>([
    ['a freeze deleted', freeze(), null, null], ['a freeze narrowed', freeze(), freeze({ environments: ['prod'] }), null], ['a suspension ended', person({ suspended }), person(), 'ann'],
    ['a key that is active again', person({ keys: [key({ status: 'compromised', since }), two] }), person(), 'ann'], ['a compromised key taken out', person({ keys: [key({ status: 'compromised', since }), two] }), person({ keys: [two] }), 'ann'],
    ['a retirement put off', person({ keys: [key({ status: 'retired', since }), two] }), person({ keys: [key({ status: 'retired', since: '2039-01-01T00:00:00Z' }), two] }), 'ann'],
    ['an agent let loose', agent({ suspended }), agent(), 'bob'], ['a suspended agent deleted', agent({ suspended }), null, 'bob'], ['a suspended agent with another owner', agent({ suspended }), agent({ suspended, owner: 'ann' }), 'bob'],
  ])('is %s, and says who is affected', (_, before, after, affected) => {
    expect(liftingIn({ before, after })).toEqual({ affected });
  });

  it('is nothing else', () => {
    for (const [before, after] of [[person(), null], [person({ suspended }), null], [agent(), null], [person(), person({ roles: [{ role: 'x' }] })], [freeze(), freeze({ reason: 'y' })], [agent({ suspended }), agent({ suspended, capabilities: ['compose_host'] })]] as const) {
      expect(liftingIn({ before, after })).toBeNull();
    }
  });

  it('takes somebody other than the one affected', () => {
    const [ann, bob] = [person() as DocumentOf<'Principal'>, { ...person(), metadata: { name: 'bob' } } as DocumentOf<'Principal'>];
    const sides = [{ before: person({ suspended }), after: person() }];
    expect(liftingFault(sides, [ann])).toContain('ann');
    expect(liftingFault(sides, [ann, bob])).toBeNull();
    expect(liftingFault([{ before: freeze(), after: null }], [ann])).toBeNull();
  });
});

describe('who may stop', () => {
  const root = doc('TrustRoot', 'root', { version: 1, previous: null, id: 'f'.repeat(64), tenant: 't', documents: null, keys: [], threshold: 1, services: [], quorums: { default: { people: 1 }, create: { people: 1 } }, proposerCounts: true }) as DocumentOf<'TrustRoot'>;
  const target = doc('Target', 't', { type: 'directory_host', agent: 'host', environments: ['dev', 'test'], applications: ['shop'], connection: { root: '/x' } });
  const stateOf = (...documents: readonly AnyDocument[]): LogState => {
    const entries = [root as unknown as AnyDocument, ...documents].map((document): [string, InForce] => [documentKey(document.kind, document.metadata.name), { kind: document.kind, name: document.metadata.name, digest: documentDigest(document), document, seq: 0, tip: null, since: null, by: [], basis: 'genesis' }]);
    return { ...initialState(root, documentDigest(root as unknown as AnyDocument)), inForce: BucketMap.from(entries) };
  };
  const state = stateOf(target);
  const holder = (...roles: NonNullable<SpecOf['Principal']['roles']>): DocumentOf<'Principal'> => ({ ...person({ roles }), metadata: { name: 'dave' } }) as DocumentOf<'Principal'>;
  const may = (after: AnyDocument, who: DocumentOf<'Principal'>, before: AnyDocument | null = null): boolean => mayStop(state, { before, after }, who);

  it('holds a stop role wherever the stop applies', () => {
    const everywhere = holder({ role: 'stop' });
    const inDev = holder({ role: 'stop', environments: ['dev'] });
    expect([may(freeze(), everywhere), may(freeze(), inDev), may(freeze({ environments: ['dev'] }), inDev), may(freeze({ environments: ['dev', 'prod'] }), inDev)]).toEqual([true, false, true, false]);
    expect(may(freeze({ environments: ['dev', 'prod'] }), holder({ role: 'stop', environments: ['dev'] }, { role: 'stop', environments: ['prod'] }))).toBe(true);
    const ofShop = holder({ role: 'stop', applications: ['shop'] });
    expect([may(freeze({ environments: ['dev'] }), ofShop), may(freeze({ applications: ['shop'] }), ofShop), may(freeze({ releases: ['shop/1'] }), ofShop), may(freeze({ releases: ['shop/1', 'web/2'] }), ofShop)]).toEqual([false, true, true, false]);
    expect([may(freeze(), holder({ role: 'admin' })), may(freeze(), { ...everywhere, spec: { ...everywhere.spec, suspended } }), may(freeze(), { ...everywhere, spec: { ...everywhere.spec, type: 'service' } })]).toEqual([false, false, false]);
  });

  it('reaches as far as the targets of an agent, and everywhere for a person', () => {
    expect([may(agent({ suspended }), holder({ role: 'stop', environments: ['dev', 'test'] }), agent()), may(agent({ suspended }), holder({ role: 'stop', environments: ['dev'] }), agent())]).toEqual([true, false]);
    expect(mayStop(stateOf(), { before: agent(), after: agent({ suspended }) }, holder({ role: 'stop', environments: ['dev', 'test'] }))).toBe(false);
    expect([may(person({ suspended }), holder({ role: 'stop', environments: ['dev'] }), person()), may(person({ suspended }), holder({ role: 'stop' }), person())]).toEqual([false, true]);
  });

  it('is the owner for their own key, and for nothing else', () => {
    const ann = person() as DocumentOf<'Principal'>;
    const revoked = person({ keys: [key({ status: 'compromised', since }), two] });
    expect([may(revoked, ann, person()), may(person({ suspended }), ann, person()), may(revoked, holder(), person())]).toEqual([true, false, false]);
  });

  it('signs a list in which every change is a stop that one of the signers may give', () => {
    const sides = [{ before: null, after: freeze({ environments: ['dev'] }) }, { before: person(), after: person({ suspended }) }];
    expect(stopFault(state, sides, [holder({ role: 'stop' })])).toBeNull();
    expect(stopFault(state, sides, [holder({ role: 'stop', environments: ['dev'] })])).toContain('Principal/ann');
    expect(stopFault(state, [...sides, { before: null, after: doc('Environment', 'x', { order: 1 }) }], [holder({ role: 'stop' })])).toContain('Environment/x');
    expect(stopFault(state, sides, [])).not.toBeNull();
  });
});
