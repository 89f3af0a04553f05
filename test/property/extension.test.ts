import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { canonicalText, type JsonObject } from '../../src/core/model/canonical-json.ts';
import type { CommitId } from '../../src/core/model/commit-id.ts';
import { digestOfBytes } from '../../src/core/model/digest.ts';
import { API_VERSION, documentDigest, documentKey, type AnyDocument, type Kind, type SpecOf } from '../../src/core/model/documents.ts';
import type { Clause, Plan } from '../../src/core/model/preimages.ts';
import { everyClause } from '../../src/core/decision/clauses.ts';
import { extendsPlan, lackingTargets } from '../../src/core/decision/extension.ts';
import { emptyAppState, initialState, type AppState, type LogState, type OpenRun, type Standing } from '../../src/core/evidence/log-state.ts';
import type { DecisionSources, DeploymentOutcomePredicate } from '../../src/core/evidence/records.ts';
import { extendedStanding, placesOf } from '../../src/core/evidence/standing.ts';

const digest = digestOfBytes('x');
const sources: DecisionSources = {
  promotionDocument: digest, promotion: digest, derived: null, ended: null, problems: [], plan: digest, configuration: null, releaseSpec: null, intents: [], approvals: [], extends: null, onBehalfOf: null, commits: [],
};
const approved: Plan = {
  type: 'stella/plan/v1', operation: 'promote', breakGlass: null,
  runs: {
    type: 'stella/runs/v1', environment: 'prod', application: 'shop', release: '1', lock: digest, deployment: { type: 'directory' }, components: [{ name: 'api', repository: 'shop/api', registry: 'hub', digest }],
    artifacts: [], files: [], variables: {}, secrets: {},
  },
  workflow: { name: 'default', steps: [{ name: 'deploy', type: 'deploy' }], onFailure: 'fall-back' },
  targets: [{ name: 'a', type: 'directory_host', agent: 'host', connection: { root: '/srv/a/0' } }],
};

function doc<K extends Kind>(kind: K, name: string, spec: SpecOf[K]): AnyDocument {
  return { apiVersion: API_VERSION, kind, metadata: { name }, spec } as unknown as AnyDocument;
}

type Place = { readonly name: string; readonly version: number; readonly environments: readonly string[] };
const arbitraryPlaces: fc.Arbitrary<readonly Place[]> = fc.uniqueArray(
  fc.record({ name: fc.constantFrom('a', 'b', 'c', 'd', 'e'), version: fc.nat(2), environments: fc.constantFrom(['prod'], ['dev'], ['dev', 'prod']) }), { selector: ({ name }) => name, maxLength: 5 });

/** Documents in force with these targets. */
function stateWith(places: readonly Place[]): LogState {
  const root = doc('TrustRoot', 'root', {
    version: 1, previous: null, id: 'a'.repeat(64), tenant: 'acme', documents: digest, keys: [], threshold: 1, services: [], quorums: { default: { people: 1 }, create: { people: 1 } }, proposerCounts: true,
  });
  const documents = [
    doc('Application', 'shop', { components: ['api'], deployment: { type: 'directory' } }), doc('Environment', 'prod', { order: 1 }),
    ...places.map(({ name, version, environments }) => doc('Target', name, { type: 'directory_host', agent: 'host', environments, applications: ['shop'], connection: { root: `/srv/${name}/${version}` } })),
  ];
  const start = initialState(root as never, digest);
  const inForce = documents.reduce((map, document) => map.set(documentKey(document.kind, document.metadata.name), {
    kind: document.kind, name: document.metadata.name, digest: documentDigest(document), document, seq: 1, tip: null, since: null, by: [], basis: 'genesis',
  }), start.inForce);
  return { ...start, inForce };
}

const standing = (targets: Standing['targets'] = []): Standing => ({ promotionDigest: digest, generation: 1, plan: digest, input: digest, attempt: 1, sources, targets, closed: null });
const appWith = (s: Standing): AppState => ({ ...emptyAppState('prod', 'shop'), generation: 1, standing: s });
const runOf = (plan: Plan): OpenRun => ({
  operation: 'extend', generation: 1, promotionDigest: digest, decision: { seq: 5, digest }, openedSeq: 5, tip: 'c'.repeat(40) as CommitId, promotion: digest, release: '1', attempt: 1, lock: digest, runs: digest,
  plan: digest, intents: [], notAfter: '2031-01-01T00:00:00.000Z', fallen: false, input: digest, sources, targets: placesOf(plan),
} as unknown as OpenRun);

type Answer = { readonly ok: boolean; readonly tries: number };
/** How a run on the plan's targets ended, target by target. */
function outcomeOf(plan: Plan, answers: readonly Answer[]): DeploymentOutcomePredicate {
  const targets = plan.targets.map(({ name }, i) => {
    const { ok, tries } = answers[i % answers.length]!;
    return { target: name, agent: 'host', result: ok ? 'Succeeded' : 'Failed', code: '', message: '', try: tries, receipt: digest } as const;
  });
  const ok = targets.every(({ result }) => result === 'Succeeded');
  return {
    environment: 'prod', application: 'shop', operation: 'extend', generation: 1, promotionDigest: digest, decision: { seq: 5, digest }, result: ok ? 'Succeeded' : 'Failed', reason: '',
    startedAt: '', endedAt: '', steps: [{ name: 'deploy', result: ok ? 'Succeeded' : 'Failed', targets }], fallback: null,
  };
}
const arbitraryAnswers = fc.array(fc.record({ ok: fc.boolean(), tries: fc.integer({ min: 1, max: 9 }) }), { minLength: 1, maxLength: 5 });

describe('targets that lack what runs', () => {
  test('are those in force for the place which no extension has reached as they are, whatever came and went before', () => {
    fc.assert(fc.property(fc.array(fc.tuple(arbitraryPlaces, arbitraryAnswers), { minLength: 1, maxLength: 6 }), (history) => {
      let stands = standing();
      for (const [places, answers] of history) {
        const state = stateWith(places);
        const targets = lackingTargets(state, appWith(stands), approved);
        expect(targets.every(({ name }) => places.some((place) => place.name === name && place.environments.includes('prod')))).toBe(true);
        if (targets.length === 0) continue;
        const plan: Plan = { ...approved, operation: 'extend', targets };
        const outcome = outcomeOf(plan, answers);
        const after = extendedStanding(stands, runOf(plan), outcome);
        const failed = new Set(outcome.steps[0]!.targets.filter((t) => t.result !== 'Succeeded').map((t) => t.target));
        expect(lackingTargets(state, appWith(after), approved).map((t) => t.name)).toEqual(targets.map((t) => t.name).filter((name) => failed.has(name)));
        // An agent accepts only a higher try, so what was counted is never forgotten.
        for (const mark of stands.targets) expect(after.targets.find((t) => t.target === mark.target)!.try).toBeGreaterThanOrEqual(mark.try);
        expect(after.closed === null).toBe(failed.size === 0);
        expect({ ...after, targets: [], closed: null }).toEqual({ ...stands, targets: [], closed: null });
        stands = after;
      }
    }));
  });
});

describe('a plan extends an approved one', () => {
  test('with any other targets in force', () => {
    fc.assert(fc.property(arbitraryPlaces.filter((places) => places.length > 0), (places) => {
      const targets = places.map(({ name, version }) => ({ name, type: 'directory_host', agent: 'host', connection: { root: `/srv/${name}/${version}` } }));
      expect(extendsPlan({ ...approved, operation: 'extend', targets }, approved)).toBe(true);
    }));
  });

  test('with nothing else changed, wherever it lies', () => {
    const genuine: Plan = { ...approved, operation: 'extend' };
    const paths = leaves(genuine as unknown as JsonObject).filter(([first]) => first !== 'targets');
    fc.assert(fc.property(fc.constantFrom(...paths), fc.oneof(fc.string(), fc.integer(), fc.constant(null), fc.constant({ more: 1 })), (path, value) => {
      const edited = withValue(genuine as unknown as JsonObject, path, value) as unknown as Plan;
      fc.pre(canonicalText(edited) !== canonicalText(genuine));
      expect(extendsPlan(edited, approved)).toBe(false);
    }));
  });

  test('never a removal, and never without a target', () => {
    expect(extendsPlan({ ...approved, operation: 'extend', targets: [] }, approved)).toBe(false);
    expect(extendsPlan({ ...approved, operation: 'extend' }, { ...approved, operation: 'remove' })).toBe(false);
    expect(extendsPlan(approved, approved)).toBe(false);
  });
});

describe('the demands of an extension', () => {
  const clause = fc.record<Clause>({
    origin: fc.constantFrom('root', 'environment', 'target', 'application'), name: fc.constantFrom('prod', 'shop', 'a'), people: fc.integer({ min: 1, max: 3 }), roles: fc.constant([]),
    authorNeverApproves: fc.boolean(), unknownRequester: fc.constantFrom('deny', 'one-more'),
  });
  test('are all that were approved and all of today, each once, in one order', () => {
    fc.assert(fc.property(fc.array(clause, { maxLength: 4 }), fc.array(clause, { maxLength: 4 }), (before, today) => {
      const all = everyClause(before, today);
      const texts = all.map((c) => canonicalText(c));
      expect(new Set(texts)).toEqual(new Set([...before, ...today].map((c) => canonicalText(c))));
      expect(new Set(texts).size).toBe(texts.length);
      expect(everyClause(today, before)).toEqual(all);
    }));
  });
});

/** Paths to everything that is no object or list. */
function leaves(value: unknown, path: readonly (string | number)[] = []): readonly (readonly (string | number)[])[] {
  if (typeof value !== 'object' || value === null) return [path];
  const below = Object.entries(value).flatMap(([key, member]) => leaves(member, [...path, Array.isArray(value) ? Number(key) : key]));
  return below.length > 0 ? below : [path];
}

function withValue(value: unknown, [first, ...rest]: readonly (string | number)[], to: unknown): unknown {
  if (first === undefined) return to;
  if (Array.isArray(value)) return value.with(Number(first), withValue(value[Number(first)], rest, to));
  const object = value as JsonObject;
  return { ...object, [first]: withValue(object[first], rest, to) };
}
