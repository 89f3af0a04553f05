import { describe, expect, it } from 'vitest';
import { BucketMap } from '../../../src/core/model/bucket-map.ts';
import { digestOfBytes, type Digest } from '../../../src/core/model/digest.ts';
import { documentDigest, documentKey, type AnyDocument, type DocumentOf, type SpecOf } from '../../../src/core/model/documents.ts';
import { preimageDigest } from '../../../src/core/model/preimages.ts';
import { initialState, type InForce, type LogState } from '../../../src/core/evidence/log-state.ts';
import { makeLock, wantedBy } from '../../../src/core/release/lock.ts';
import { makePlan, type PlanInput } from '../../../src/core/release/plan.ts';
import { parseComposeFile } from '../../../src/adapters/yaml/parse-compose.ts';
import { doc } from '../../fakes/world.ts';

const LOG = digestOfBytes('log');
const IMAGE = digestOfBytes('image');
const COMPOSE = new TextEncoder().encode('services:\n  api:\n    image: registry.example/shop/api:1\n    environment:\n      LEVEL: ${LEVEL}\n');
const ROOT = doc('TrustRoot', 'root', { version: 1, previous: null, id: 'a'.repeat(64), tenant: 't', documents: null, keys: [], threshold: 1, services: [], quorums: { default: { people: 1 }, create: { people: 1 } }, proposerCounts: true });

function target(name: string, change: Partial<SpecOf['Target']> = {}): AnyDocument {
  return doc('Target', name, { type: 'compose_host', agent: 'host', environments: ['prod'], applications: ['shop'], labels: { tier: 'web' }, connection: { folder: '/srv' }, ...change });
}

function stateWith(documents: readonly AnyDocument[]): LogState {
  const state = initialState(ROOT, LOG);
  const inForce = BucketMap.from<InForce>(documents.map((d) => [documentKey(d.kind, d.metadata.name), { kind: d.kind, name: d.metadata.name, digest: documentDigest(d), document: d, seq: 1, tip: null, since: null, by: [], basis: 'genesis' }] as const));
  return { ...state, inForce };
}

const APPLICATION = doc('Application', 'shop', { components: ['api'], deployment: { type: 'compose', compose: 'compose.yaml', files: ['nginx.conf'] }, placement: { matchLabels: { tier: 'web' } } });
const DOCUMENTS: readonly AnyDocument[] = [
  APPLICATION, doc('Environment', 'prod', { order: 1 }), doc('Component', 'api', { repository: 'registry.example/shop/api', registry: 'images' }), target('b'), target('a'),
  target('other-label', { labels: { tier: 'db' } }), target('other-environment', { environments: ['dev'] }), target('other-application', { applications: ['blog'] }),
  target('other-type', { type: 'directory_host', connection: { root: '/srv' } }),
];
const FILES = new Map<Digest, Uint8Array>([[digestOfBytes(COMPOSE), COMPOSE], [digestOfBytes('nginx'), new TextEncoder().encode('nginx')]]);
const LOCK = makeLock({
  logId: LOG, release: doc('Release', 'shop/1.0', { components: { api: { tag: '1' } } }), application: APPLICATION,
  components: [{ name: 'api', repository: 'registry.example/shop/api', registry: 'images', digest: IMAGE, tag: '1' }],
  files: [{ path: 'compose.yaml', digest: digestOfBytes(COMPOSE), mode: 0o644 }, { path: 'nginx.conf', digest: digestOfBytes('nginx'), mode: 0o755 }],
});

function planned(change: Partial<PlanInput> = {}, documents = DOCUMENTS): ReturnType<typeof makePlan> {
  return makePlan({
    state: stateWith(documents), environment: 'prod', application: 'shop', operation: 'promote', lock: LOCK, configuration: doc('Configuration', 'prod/shop', { variables: { LEVEL: 'warn' } }), override: null,
    file: (digest) => FILES.get(digest), parseCompose: parseComposeFile, ...change,
  });
}

const good = (change?: Partial<PlanInput>, documents?: readonly AnyDocument[]) => {
  const result = planned(change, documents);
  if (!result.ok) throw new Error(result.detail);
  return result;
};

describe('a plan', () => {
  it('names the targets in force that name environment and application and fit placement and kind, sorted', () => {
    expect(good().plan.targets.map((t) => t.name)).toEqual(['a', 'b']);
  });

  it('is an error without a target, a workflow that is in force, or an override that exists', () => {
    expect(planned({}, DOCUMENTS.filter((d) => !['a', 'b'].includes(d.metadata.name)))).toMatchObject({ ok: false, code: 'PlanInvalid' });
    const application = doc('Application', 'shop', { ...APPLICATION.spec, workflow: 'gone' });
    expect(planned({}, [application, ...DOCUMENTS.slice(1)])).toMatchObject({ ok: false, code: 'PlanInvalid' });
    expect(planned({ configuration: doc('Configuration', 'prod/shop', { override: 'gone.yaml', variables: { LEVEL: 'x' } }) })).toMatchObject({ ok: false, code: 'PlanInvalid' });
    expect(planned({ configuration: null })).toMatchObject({ ok: false, detail: expect.stringContaining('LEVEL') });
  });

  it('holds the rendered file by digest, with the image by digest, and the other files as they are', () => {
    const { plan, artifacts } = good();
    expect(plan.runs?.artifacts).toEqual([{ path: 'compose.stella.lock.yml', digest: artifacts[0]?.digest, mode: 0o644 }]);
    expect(new TextDecoder().decode(artifacts[0]?.bytes)).toContain(`registry.example/shop/api@${IMAGE}`);
    expect(plan.runs?.files).toEqual([{ path: 'nginx.conf', digest: digestOfBytes('nginx'), mode: 0o755 }]);
  });

  const changes: readonly (readonly [string, Partial<PlanInput>])[] = [
    ['a variable', { configuration: doc('Configuration', 'prod/shop', { variables: { LEVEL: 'error' } }) }],
    ['a secret reference', { configuration: doc('Configuration', 'prod/shop', { variables: { LEVEL: 'warn' }, secrets: { TOKEN: { ref: 'env:TOKEN' } } }) }],
    ['the mode of a file', { lock: { ...LOCK, snapshot: { ...LOCK.snapshot, files: LOCK.snapshot.files.map((f) => ({ ...f, mode: 0o644 })) } } }],
    ['an image', { lock: { ...LOCK, components: LOCK.components.map((c) => ({ ...c, digest: digestOfBytes('x') })) } }],
    ['an override', { configuration: doc('Configuration', 'prod/shop', { override: 'o.yaml', variables: { LEVEL: 'warn' } }), override: { path: 'o.yaml', digest: digestOfBytes('o'), mode: 0o644, bytes: new TextEncoder().encode('services: {api: {ports: ["1:1"]}}') } }],
  ];
  it.each(changes)('gets another digest, and so do its runs, by %s', (_, change) => {
    expect(good(change).planDigest).not.toBe(good().planDigest);
    expect(good(change).runsDigest).not.toBe(good().runsDigest);
  });

  it('gets another digest by a target, its connection or its agent, while what runs stays the same', () => {
    for (const changed of [target('a', { connection: { folder: '/other' } }), target('a', { agent: 'other' }), target('c')]) {
      const documents = [...DOCUMENTS.filter((d) => d.metadata.name !== changed.metadata.name), changed];
      expect(good({}, documents).planDigest).not.toBe(good().planDigest);
      expect(good({}, documents).runsDigest).toBe(good().runsDigest);
    }
  });

  it('of a removal runs nothing, keeps the targets, and leaves out what only a deployment has', () => {
    const { plan, runsDigest } = good({ operation: 'remove', lock: null });
    expect({ runs: plan.runs, runsDigest, types: new Set(plan.workflow.steps.map((s) => s.type)) }).toEqual({ runs: null, runsDigest: null, types: new Set(['deploy']) });
    expect(plan.targets.map((t) => t.name)).toEqual(['a', 'b', 'other-type']);
  });
});

describe('a lock', () => {
  it('has one digest whatever order components and files come in, and none of it is the tag', () => {
    const reversed = makeLock({
      logId: LOG, release: doc('Release', 'shop/1.0', { components: { api: { tag: 'other' } } }), application: APPLICATION,
      components: [{ name: 'api', repository: 'registry.example/shop/api', registry: 'images', digest: IMAGE, tag: 'other' }],
      files: [{ path: 'nginx.conf', digest: digestOfBytes('nginx'), mode: 0o755 }, { path: 'compose.yaml', digest: digestOfBytes(COMPOSE), mode: 0o644 }],
    });
    expect(preimageDigest(reversed)).toBe(preimageDigest(LOCK));
  });

  it('wants every component of the application in force, no more and no less, and every file that is listed', () => {
    const release = (components: DocumentOf<'Release'>['spec']['components']) => wantedBy(stateWith(DOCUMENTS), doc('Release', 'shop/1.0', { components }));
    expect(release({ api: { tag: '1' } })).toMatchObject({ ok: true, files: ['compose.yaml', 'nginx.conf'], components: [{ name: 'api', tag: '1', digest: null }] });
    expect(release({})).toMatchObject({ ok: false });
    expect(release({ api: { tag: '1' }, web: { tag: '1' } })).toMatchObject({ ok: false });
    expect(wantedBy(stateWith([]), doc('Release', 'shop/1.0', { components: { api: { tag: '1' } } }))).toMatchObject({ ok: false });
  });
});
