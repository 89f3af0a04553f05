import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { deriveRelease, derivedPromotion, isDerivedFrom, type Derivation } from '../../src/core/decision/automatic.ts';
import { decide } from '../../src/core/decision/decide.ts';
import { withLock } from '../../src/core/evidence/add-lock.ts';
import { emptyAppState, initialState, stateKey, type AppState, type InForce, type LogState } from '../../src/core/evidence/log-state.ts';
import { BucketMap } from '../../src/core/model/bucket-map.ts';
import { digestOfBytes } from '../../src/core/model/digest.ts';
import { API_VERSION, documentDigest, documentKey, type AnyDocument, type AutomaticRule, type DocumentOf } from '../../src/core/model/documents.ts';
import type { Lock } from '../../src/core/model/preimages.ts';
import { compareReleases } from '../../src/core/release/versions.ts';
import { arbitraryInput } from './decision-arbitraries.ts';

const PROD = { environment: 'prod', application: 'shop' };
const VERSIONS = ['1.0', '1.1', '1.2-rc.1', '1.2', '1.10', 'v2.0', 'build-7', '0a1b2c3'] as const;

const document = (kind: string, name: string, spec: object): AnyDocument => ({ apiVersion: API_VERSION, kind, metadata: { name }, spec }) as unknown as AnyDocument;
const root = document('TrustRoot', 'root', { version: 1, tenant: 't' }) as unknown as DocumentOf<'TrustRoot'>;
const digestOf = (release: string) => digestOfBytes(`lock ${release}`);

type Case = {
  readonly rule: AutomaticRule;
  /** Locked in this order, with their channels. */
  readonly locked: readonly (readonly [string, string | null])[];
  readonly running: string | null;
  readonly clean: boolean;
  readonly source: string | null;
  readonly left: readonly string[];
  readonly suspended: readonly string[];
  readonly unavailable: readonly string[];
};

const some = fc.subarray([...VERSIONS]);
const arbitraryCase: fc.Arbitrary<Case> = fc.tuple(fc.shuffledSubarray([...VERSIONS]), fc.array(fc.constantFrom('stable', 'beta', null), { minLength: VERSIONS.length, maxLength: VERSIONS.length })).chain(([names, channels]) => {
  const one = names.length === 0 ? fc.constant(null) : fc.option(fc.constantFrom(...names));
  return fc.record({
    rule: fc.constantFrom<AutomaticRule>({ channel: 'stable' }, { from: 'dev' }), locked: fc.constant(names.map((name, i) => [name, channels[i] ?? null] as const)),
    running: one, clean: fc.boolean(), source: one, left: some, suspended: some, unavailable: some,
  });
});

function stateOf(c: Case): LogState {
  const base = initialState(root, digestOfBytes('log'));
  const freeze = { reason: 'x', releases: c.suspended.map((name) => `shop/${name}`) };
  const documents = [
    document('Environment', 'prod', { order: 2, automatic: c.rule }), document('Application', 'shop', { components: [] }), document('Target', 't', { environments: ['prod'], applications: ['shop'] }),
    ...(c.suspended.length === 0 ? [] : [document('Freeze', 'f', freeze)]),
  ];
  const entries = documents.map((d): [string, InForce] => [documentKey(d.kind, d.metadata.name), { kind: d.kind, name: d.metadata.name, digest: documentDigest(d), document: d, seq: 0, tip: null, since: null, by: [], basis: 'genesis' }]);
  const app = (environment: string, release: string | null, more: Partial<AppState> = {}): [string, AppState] =>
    [stateKey(environment, 'shop'), { ...emptyAppState(environment, 'shop'), release, lock: release === null ? null : digestOf(release), ...more }];
  const states = [app('prod', c.running, { clean: c.clean, left: c.left.map((release) => ({ release, lock: digestOf(release) })) }), app('dev', c.source)];
  const bare: LogState = { ...base, inForce: BucketMap.from([...base.inForce.entries(), ...entries]), states: BucketMap.from(states) };
  return c.locked.reduce((state, [release, channel], i) => withLock(state, `shop/${release}`, {
    lock: { application: 'shop', release } as Lock, digest: digestOf(release), releaseSpec: digestOf(`spec ${release}`), seq: i + 2, tip: 'a'.repeat(40) as never, before: null, lockedAt: '', channel, onBehalfOf: null,
  }), bare);
}

const derive = (c: Case): Derivation => deriveRelease(stateOf(c), PROD, (release) => !c.unavailable.includes(release))!;
const seqOf = (c: Case, release: string): number => c.locked.findIndex(([name]) => name === release) + 2;
const compare = (c: Case, a: string, b: string): number => compareReleases({ release: a, seq: seqOf(c, a) }, { release: b, seq: seqOf(c, b) });
const recordOf = (c: Case, release: string) => {
  const digest = documentDigest(derivedPromotion(PROD, release));
  return { ...PROD, operation: 'promote', sources: { derived: derive(c).derived, promotionDocument: digest, promotion: digest, ended: null } } as unknown as Parameters<typeof isDerivedFrom>[1];
};

describe('what is promoted by itself', () => {
  it('is never older than what runs, and never what was left, suspended or taken back', () => {
    fc.assert(fc.property(arbitraryCase, (c) => {
      const { release, isKept } = derive(c);
      if (release === null || isKept) return;
      if (c.running !== null) expect(compare(c, release, c.running)).toBeGreaterThan(0);
      expect([...c.left, ...c.suspended, ...c.unavailable]).not.toContain(release);
    }));
  });

  it('is what runs already or nothing, unless the rule names it', () => {
    fc.assert(fc.property(arbitraryCase, (c) => {
      const { release, isKept } = derive(c);
      if (isKept) expect([release, c.clean]).toEqual([c.running, true]);
      else if (release !== null) expect(c.rule.channel === undefined ? c.source : c.locked.find(([name]) => name === release)?.[1]).toBe(c.rule.channel ?? release);
    }));
  });

  it('never becomes an older one because a newer release comes into the channel', () => {
    fc.assert(fc.property(arbitraryCase, fc.nat(), (c, at) => {
      const [removed] = c.locked.slice(at % Math.max(1, c.locked.length));
      if (removed === undefined || c.rule.channel === undefined || removed[0] === c.running) return;
      // The same log before the last release came.
      const order = [...c.locked.filter((other) => other !== removed), removed];
      const [before, after] = [derive({ ...c, locked: order.slice(0, -1) }).release, derive({ ...c, locked: order }).release];
      if (before !== null && after !== null) expect(compare({ ...c, locked: order }, after, before)).toBeGreaterThanOrEqual(0);
    }));
  });

  it('is the newest of the channel, however the channel filled', () => {
    fc.assert(fc.property(fc.shuffledSubarray(VERSIONS.slice(0, 6), { minLength: 1 }), (names) => {
      const c: Case = { rule: { channel: 'stable' }, locked: names.map((name) => [name, 'stable']), running: null, clean: true, source: null, left: [], suspended: [], unavailable: [] };
      expect(derive(c).release).toBe([...names].sort((a, b) => VERSIONS.indexOf(a) - VERSIONS.indexOf(b)).at(-1));
      expect(stateOf(c).channels.get('shop/stable')).toEqual([...names].sort((a, b) => VERSIONS.indexOf(b) - VERSIONS.indexOf(a)));
    }));
  });

  it('is found again from the log by everybody, and nothing else is', () => {
    fc.assert(fc.property(arbitraryCase, fc.constantFrom(...VERSIONS), (c, other) => {
      const state = stateOf(c);
      const { release } = derive(c);
      expect(derive(c)).toEqual(derive(c));
      if (release !== null) expect(isDerivedFrom(state, recordOf(c, release))).toBe(true);
      if (other !== release) expect(isDerivedFrom(state, recordOf(c, other))).toBe(false);
    }));
  });

  it('passes no gate that the same promotion would not pass if somebody had written it', () => {
    fc.assert(fc.property(arbitraryInput, (input) => {
      expect(decide({ ...input, derived: { from: 'channel', name: 'stable' } })).toEqual(decide({ ...input, derived: null }));
    }));
  });
});
