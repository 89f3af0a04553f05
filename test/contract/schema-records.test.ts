import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { openSchemas } from '../../src/adapters/schema/open-schemas.ts';
import type { Decision } from '../../src/core/decision/types.ts';
import { PREDICATE_TYPES, type AnchorPredicate, type DeploymentOutcomePredicate, type Observation, type PromotionDecisionPredicate, type ProtectedChangePredicate, type RecordHeader, type ReleaseLockPredicate, type ReviewPredicate } from '../../src/core/evidence/records.ts';
import type { CommitId } from '../../src/core/model/commit-id.ts';
import { digestOfBytes } from '../../src/core/model/digest.ts';
import type { Lock } from '../../src/core/model/preimages.ts';

const schemas = openSchemas();
const d = digestOfBytes('x');
const commit = 'a'.repeat(40) as CommitId;
const at = '2031-05-17T09:30:00.000Z';
const vector = <T>(word: string): T => (JSON.parse(readFileSync(new URL(`../fixtures/vectors/${word}.json`, import.meta.url), 'utf8')) as { preimage: T }[])[0]!.preimage;

// Typed in full, so that the compiler points here when a record changes and its schema has to follow.
const header: RecordHeader = { seq: 0, prev: null, logId: d, tenant: 'acme', root: d, principals: d, policy: d, commit, asOf: at, rules: 1, engine: { name: 'stella-gitops', version: '0.1.0' } };
const observations: readonly Observation[] = [
  { type: 'tip', ref: 'refs/heads/main', commit },
  { type: 'approval', action: 'reject', document: d, artifact: d, approves: { type: 'change', digest: d }, subject: null, principal: 'bob', fingerprint: 'SHA256:x', payload: d },
  { type: 'approval', action: 'approve', document: d, artifact: d, approves: { type: 'promotion', digest: d }, subject: { environment: 'prod', application: 'shop' }, principal: 'bob', fingerprint: 'SHA256:x', payload: d },
  { type: 'tag', component: 'api', repository: 'shop/api', tag: '1.4.0', digest: d, previous: null },
];
const changes: readonly ProtectedChangePredicate[] = [
  { basis: 'genesis', changeDigest: null, changes: [{ kind: 'Target', name: 'x', count: 0, from: null, to: d }], approvals: [], proposers: { people: [], unknown: 0, commits: [] } },
  {
    basis: 'quorum', changeDigest: d, changes: [{ kind: 'Target', name: 'x', count: 1, from: d, to: null }],
    approvals: [{ carrier: 'embedded', principal: 'a', document: d, artifact: d, observedAt: at }, { carrier: 'commit', principal: 'b', commit, artifact: d, observedAt: at }],
    proposers: { people: ['c'], unknown: 1, commits: [{ commit, artifact: d }] },
  },
  {
    basis: 'stop', changeDigest: d, changes: [{ kind: 'Freeze', name: 'x', count: 0, from: null, to: d }],
    approvals: [{ carrier: 'embedded', principal: 'a', document: d, artifact: d, observedAt: at }], proposers: { people: [], unknown: 0, commits: [] },
  },
];
const locks: readonly ReleaseLockPredicate[] = [
  { application: 'shop', release: '1.4.0', releaseSpec: d, spec: { components: { api: { tag: '1.4.0' }, web: { digest: d } }, source: { commit: 'a'.repeat(40) }, channel: 'stable' }, lock: vector<Lock>('lock'), lockDigest: d, basis: 'resolved', tags: [{ component: 'api', tag: '1.4.0', digest: d }, { component: 'web', tag: null, digest: d }], approval: null, onBehalfOf: { integration: 'forge', issuer: 'https://ci.example', subject: '7', token: d } },
];
const DERIVED = { from: 'channel', name: 'stable', unavailable: ['1.5.0'] } as const;
const decisions: readonly PromotionDecisionPredicate[] = [
  {
    environment: 'prod', application: 'shop', operation: 'promote', release: '1.4.0', attempt: 1, lock: d, runs: null, requestedAt: at, decidedAt: at, input: d, relevant: d,
    sources: {
      promotionDocument: d, promotion: d, derived: DERIVED, ended: null, problems: [{ code: 'LockMissing', detail: 'x' }], plan: null, configuration: null, releaseSpec: d, intents: [d], approvals: [d], extends: null, onBehalfOf: d,
      commits: [{ commit, artifact: d, touched: ['promotion', 'release', 'files', 'configuration'] }],
    },
    strangers: 0, decision: vector<Decision>('decision'), breakGlass: { skip: ['approvals'], reason: 'x', expires: at, participants: ['bob'] }, artifacts: [{ name: 'stella.version.json', digest: d }],
  },
  {
    environment: 'prod', application: 'shop', operation: 'extend', release: '1.4.0', attempt: 1, lock: d, runs: d, requestedAt: at, decidedAt: at, input: d, relevant: d,
    sources: { promotionDocument: d, promotion: d, derived: null, ended: null, problems: [], plan: d, configuration: null, releaseSpec: d, intents: [d], approvals: [d], extends: d, onBehalfOf: null, commits: [] },
    strangers: 0, decision: vector<Decision>('decision'), breakGlass: null, artifacts: [],
  },
];
const outcomes: readonly DeploymentOutcomePredicate[] = [
  {
    environment: 'prod', application: 'shop', operation: 'promote', generation: 1, promotionDigest: d, decision: { seq: 5, digest: d }, result: 'Failed', reason: '', startedAt: at, endedAt: at,
    steps: [{ name: 'deploy', result: 'Failed', targets: [{ target: 't', agent: 'a', result: 'Refused', code: 'QuorumMissing', message: '', try: 1, receipt: null }] }], fallback: 'Succeeded',
  },
];
const anchors: readonly AnchorPredicate[] = [
  { basis: 'rewrite', rewrite: { ref: 'refs/heads/main', from: commit, to: commit }, digest: d, approvals: [{ principal: 'bob', document: d, artifact: d, observedAt: at }] },
];
const reviews: readonly ReviewPredicate[] = [{ environment: 'prod', application: 'shop', promotionDigest: d, approvals: [{ principal: 'bob', document: d, artifact: d, observedAt: at }] }];
const samples = { header: [header], observation: observations, 'protected-change': changes, 'release-lock': locks, 'promotion-decision': decisions, 'deployment-outcome': outcomes, anchor: anchors, review: reviews } as const;

describe.each(['header', ...PREDICATE_TYPES] as const)('the schema of the record %s', (type) => {
  it('takes what the type takes', () => {
    for (const sample of samples[type]) expect(schemas.validateRecord(type, sample)).toEqual({ ok: true });
  });

  it('refuses a member more or one less', () => {
    for (const sample of samples[type]) {
      expect(schemas.validateRecord(type, { ...sample, extra: null }).ok).toBe(false);
      for (const member of Object.keys(sample)) {
        const { [member]: _, ...rest } = sample as unknown as Record<string, unknown>;
        expect({ member, ok: schemas.validateRecord(type, rest).ok }).toEqual({ member, ok: false });
      }
    }
  });

  it('wants times with milliseconds in UTC', () => {
    for (const sample of samples[type]) {
      for (const [member, value] of Object.entries(sample)) {
        if (value !== at) continue;
        for (const other of ['2031-05-17T09:30:00Z', '2031-05-17T09:30:00.000+00:00', '2031-02-30T00:00:00.000Z']) expect(schemas.validateRecord(type, { ...sample, [member]: other }).ok).toBe(false);
      }
    }
  });
});
