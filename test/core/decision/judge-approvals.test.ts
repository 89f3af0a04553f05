import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { judgeApprovals, type ApprovalCandidate, type ApprovalQuestion } from '../../../src/core/decision/judge-approvals.ts';
import type { Digest } from '../../../src/core/model/digest.ts';
import type { RejectCode } from '../../../src/core/decision/types.ts';
import type { DocumentOf, PrincipalKey, PrincipalSpec } from '../../../src/core/model/documents.ts';
import type { KeyHolder } from '../../../src/core/trust/key-ring.ts';
import { AS_OF, clause, digest } from './inputs.ts';

type People = { readonly [name: string]: PrincipalSpec };
const active: PrincipalKey = { key: 'ssh-ed25519 key', status: 'active' };

function person(key: Partial<PrincipalKey> = {}, roles: PrincipalSpec['roles'] = []): PrincipalSpec {
  return { type: 'person', keys: [{ ...active, ...key }], roles };
}

function candidate(principal: string, more: Partial<ApprovalCandidate> = {}): ApprovalCandidate {
  return {
    principal, fingerprint: `key of ${principal}`, document: digest(`document ${principal}`), payload: digest(`payload ${principal}`), action: 'approve',
    approves: digest('this'), expires: null, despite: [], excepts: [], observedAt: '2026-05-04T10:00:00.000Z', ...more,
  };
}

function question(people: People, candidates: readonly ApprovalCandidate[], more: Partial<ApprovalQuestion> = {}): ApprovalQuestion {
  const ring = Object.entries(people).map(([name, spec]): [string, KeyHolder] => {
    const principal: DocumentOf<'Principal'> = { apiVersion: 'stella/v1alpha1', kind: 'Principal', metadata: { name }, spec };
    return [`key of ${name}`, { principal, key: spec.keys[0] ?? active, openPgp: null }];
  });
  return {
    candidates, promotionDigest: digest('this'), environment: 'prod', application: 'shop', principals: new Map(Object.entries(people)), ring: new Map(ring),
    clauses: [clause()], freezes: [], requesters: ['rita'], asOf: AS_OF, ...more,
  };
}

/** The verdict on one candidate by ann. */
function verdict(ann: PrincipalSpec, more: Partial<ApprovalCandidate> = {}, context: Partial<ApprovalQuestion> = {}): RejectCode | 'counted' {
  const { approvals, rejected } = judgeApprovals(question({ ann }, [candidate('ann', more)], context));
  expect(approvals.length + rejected.length).toBe(1);
  return rejected[0]?.code ?? 'counted';
}

describe('judgeApprovals', () => {
  it('counts an approval of exactly this digest by a person in force', () => {
    expect(verdict(person())).toBe('counted');
  });

  it('rejects an approval of another digest, and every approval while there is no digest', () => {
    expect(verdict(person(), { approves: digest('that') })).toBe('OtherDigest');
    expect(verdict(person(), {}, { promotionDigest: null })).toBe('OtherDigest');
  });

  it('rejects one that has expired or whose expiry is no time', () => {
    expect(verdict(person(), { expires: '2026-05-04T12:00:00.001Z' })).toBe('counted');
    expect(verdict(person(), { expires: AS_OF })).toBe('Expired');
    expect(verdict(person(), { expires: 'never' })).toBe('Expired');
  });

  it('never takes a service for a person', () => {
    expect(verdict({ ...person(), type: 'service' })).toBe('NotAPerson');
  });

  it('rejects a key that belongs to nobody in force, or to somebody else', () => {
    expect(verdict(person(), { fingerprint: 'another key' })).toBe('KeyNotActive');
    const people = { ann: person(), bob: person() };
    expect(judgeApprovals(question(people, [candidate('ann', { fingerprint: 'key of bob' })])).rejected[0]?.code).toBe('KeyNotActive');
  });

  it('judges a key at the time of observation', () => {
    expect(verdict(person({ status: 'retired', since: '2026-05-04T10:00:00.001Z' }))).toBe('counted');
    expect(verdict(person({ status: 'retired', since: '2026-05-04T10:00:00.000Z' }))).toBe('KeyNotActive');
    expect(verdict(person({ status: 'superseded', since: '2026-05-05T00:00:00Z' }))).toBe('counted');
    expect(verdict(person({ notAfter: '2026-05-04T10:00:00Z' }))).toBe('KeyExpired');
    expect(verdict(person({ notAfter: '2026-05-04T11:00:00Z' }))).toBe('counted');
    expect(verdict(person({ notBefore: '2026-05-04T10:00:01Z' }))).toBe('KeyNotYetValid');
    expect(verdict(person(), { observedAt: 'then' })).toBe('KeyNotActive');
  });

  it('voids what a compromised key signed, however early', () => {
    expect(verdict(person({ status: 'compromised', since: '2030-01-01T00:00:00Z' }))).toBe('KeyCompromised');
  });

  it('binds roles to environments and applications', () => {
    const context = { clauses: [clause({ roles: [{ role: 'qa', count: 1 }] })] };
    expect(verdict(person({}, [{ role: 'qa' }]), {}, context)).toBe('counted');
    expect(verdict(person({}, [{ role: 'qa', environments: ['prod'], applications: ['shop'] }]), {}, context)).toBe('counted');
    expect(verdict(person({}, [{ role: 'qa', environments: ['dev'] }]), {}, context)).toBe('RoleMissing');
    expect(verdict(person({}, [{ role: 'qa', applications: ['other'] }]), {}, context)).toBe('RoleMissing');
    expect(verdict(person({}, [{ role: 'qa', environments: [] }]), {}, context)).toBe('RoleMissing');
    expect(verdict(person({}, [{ role: 'sre' }]), {}, context)).toBe('RoleMissing');
  });

  it('voids the yes of somebody who is suspended, and neither their no nor that of a key which was stopped (T24)', () => {
    const suspended = { ...person(), suspended: { reason: 'left' } };
    expect(verdict(suspended)).toBe('PrincipalSuspended');
    for (const spec of [suspended, person({ status: 'compromised', since: '2026-05-04T11:00:00Z' }), person({ status: 'retired', since: '2026-05-04T09:00:00Z' })]) {
      expect(verdict(spec, { action: 'reject' })).toBe('counted');
    }
    expect(verdict(person({ notAfter: '2026-05-04T09:00:00Z' }), { action: 'reject' })).toBe('KeyExpired');
  });

  it('names nobody who is suspended among those who could approve, unless their no stands', () => {
    const people = { ann: { ...person(), suspended: { reason: 'left' } }, bob: person() };
    expect(judgeApprovals(question(people, [candidate('ann')])).approvers.map((a) => a.principal)).toEqual(['bob']);
    expect(judgeApprovals(question(people, [candidate('ann', { action: 'reject' })])).approvers.map((a) => a.principal)).toEqual(['ann', 'bob']);
  });

  it('rejects the yes of a requester, and keeps their no', () => {
    const requesters = ['ann'];
    expect(verdict(person(), {}, { requesters })).toBe('Requester');
    expect(verdict(person(), { action: 'reject' }, { requesters })).toBe('counted');
    expect(verdict(person(), {}, { requesters, clauses: [clause(), clause({ authorNeverApproves: false })] })).toBe('counted');
  });

  it('counts one signed payload once, whichever wrapping was seen first', () => {
    const again = candidate('ann', { document: digest('second document'), observedAt: '2026-05-04T10:30:00.000Z' });
    const { approvals, rejected } = judgeApprovals(question({ ann: person() }, [again, candidate('ann'), again]));
    expect(approvals.map(({ document }) => document)).toEqual([candidate('ann').document]);
    expect(rejected).toEqual([{ principal: 'ann', document: again.document, code: 'Duplicate' }]);
  });

  it('does not let a copy under a void key take the place of a good one', () => {
    const people = { ann: person(), bob: person() };
    const stolen = candidate('ann', { fingerprint: 'unknown key', observedAt: '2026-05-04T09:00:00.000Z' });
    const { approvals } = judgeApprovals(question(people, [stolen, candidate('ann')]));
    expect(approvals).toHaveLength(1);
  });

  it('lists as approvers the people with a say and the demanded roles they hold here', () => {
    const people = {
      bob: person({}, [{ role: 'sre' }, { role: 'qa', environments: ['dev'] }, { role: 'cook' }]),
      ann: person({}, [{ role: 'qa' }, { role: 'sre' }]),
      cid: person({}, [{ role: 'cook' }]),
      bot: { ...person({}, [{ role: 'qa' }]), type: 'service' as const },
    };
    const clauses = [clause({ roles: [{ role: 'qa', count: 1 }, { role: 'sre', count: 1 }] })];
    expect(judgeApprovals(question(people, [], { clauses })).approvers).toEqual([{ principal: 'ann', roles: ['qa', 'sre'] }, { principal: 'bob', roles: ['sre'] }]);
    expect(judgeApprovals(question(people, [], { clauses: [clause()] })).approvers.map(({ principal }) => principal)).toEqual(['ann', 'bob', 'cid']);
  });
});

describe('a withdrawal', () => {
  const people = { ann: person(), bob: person() };
  const yes = (name: string, more: Partial<ApprovalCandidate> = {}): ApprovalCandidate => candidate(name, more);
  const takenBack = (name: string, more: Partial<ApprovalCandidate> = {}): ApprovalCandidate =>
    candidate(name, { action: 'withdraw', document: digest(`withdrawal ${name}`), payload: digest(`withdrawal payload ${name}`), ...more });
  const judged = (...candidates: readonly ApprovalCandidate[]): ReturnType<typeof judgeApprovals> => judgeApprovals(question(people, candidates));

  it('takes back the yes of its signer, whichever was seen first, and nobody else\'s', () => {
    for (const observedAt of ['2026-05-04T09:00:00.000Z', '2026-05-04T11:00:00.000Z']) {
      const { approvals, rejected } = judged(yes('ann'), yes('bob'), takenBack('ann', { observedAt }));
      expect(approvals.map((a) => a.principal)).toEqual(['bob']);
      expect(rejected).toEqual([{ principal: 'ann', document: digest('document ann'), code: 'Withdrawn' }]);
    }
  });

  it('does not reach a yes that names it, and reaches one that names another', () => {
    expect(judged(yes('ann', { despite: [digest('withdrawal ann')] }), takenBack('ann')).approvals).toHaveLength(1);
    expect(judged(yes('ann', { despite: [digest('withdrawal bob')] }), takenBack('ann')).rejected[0]?.code).toBe('Withdrawn');
    const second = takenBack('ann', { document: digest('second'), payload: digest('second payload') });
    expect(judged(yes('ann', { despite: [digest('withdrawal ann')] }), takenBack('ann'), second).rejected[0]?.code).toBe('Withdrawn');
  });

  it('takes back no no, and no yes to something else', () => {
    expect(judged(candidate('ann', { action: 'reject' }), takenBack('ann')).approvals).toMatchObject([{ action: 'reject' }]);
    expect(judged(yes('ann'), takenBack('ann', { approves: digest('other') })).approvals).toHaveLength(1);
  });

  it('counts whatever became of the key that signed it', () => {
    expect(judgeApprovals(question(people, [yes('ann'), takenBack('ann', { fingerprint: 'a key that nobody holds now' })])).approvals).toEqual([]);
  });

  it('never adds an approval, and never loses a rejection, whatever else is there', () => {
    const actions = ['approve', 'reject', 'withdraw'] as const;
    const subjects = [digest('this'), digest('other')];
    // What a document says is part of its digest.
    const documentOf = (action: string, approves: string, n: number): Digest => digest(`${action} ${approves} ${n}`);
    const withdrawals = subjects.flatMap((approves) => [1, 2].map((n) => documentOf('withdraw', approves, n)));
    const anything = fc.record({ principal: fc.constantFrom('ann', 'bob'), action: fc.constantFrom(...actions), approves: fc.constantFrom(...subjects), n: fc.constantFrom(1, 2), despite: fc.subarray(withdrawals) }).map(({ n, ...more }) => {
      const document = documentOf(more.action, more.approves, n);
      return candidate(more.principal, { ...more, document, payload: document });
    });
    fc.assert(fc.property(fc.array(anything, { maxLength: 8 }), anything, (candidates, one) => {
      const document = documentOf('withdraw', one.approves, 2);
      const withdrawal = { ...one, action: 'withdraw' as const, document, payload: document };
      const [before, after] = [judged(...candidates), judged(...candidates, withdrawal)];
      const votes = (of: typeof before, action: string): readonly string[] => of.approvals.filter((a) => a.action === action).map((a) => `${a.principal} ${a.document}`);
      expect(votes(before, 'approve')).toEqual(expect.arrayContaining([...votes(after, 'approve')]));
      expect(votes(after, 'reject')).toEqual(votes(before, 'reject'));
    }));
  });
});
