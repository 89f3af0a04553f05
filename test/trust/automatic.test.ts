import { afterAll, beforeAll } from 'vitest';
import { derivedPromotion } from '../../src/core/decision/automatic.ts';
import { applyRecord } from '../../src/core/evidence/fold.ts';
import type { EvidenceRecord, PromotionDecisionPredicate } from '../../src/core/evidence/records.ts';
import type { CommitId } from '../../src/core/model/commit-id.ts';
import { documentDigest, type DocumentOf, type SpecOf } from '../../src/core/model/documents.ts';
import { readEvidence, type RecordStep } from '../../src/reconciler/read-evidence.ts';
import { openPgp } from '../fakes/openpgp.ts';
import { doc } from '../fakes/world.ts';
import { attack, type Verdict } from './attack.ts';
import { Stage } from './attacks-fixture.ts';

/** Attacks on what an environment promotes by itself. dev follows the channel `stable` and asks nobody; prod follows dev and asks one sre who did not ask. */

let stage: Stage;
let version = 1;

beforeAll(async () => {
  stage = await Stage.open({
    documents: [
      doc('Environment', 'dev', { order: 1, automatic: { channel: 'stable' } }),
      doc('Environment', 'prod', { order: 2, from: [{ environment: 'dev' }], approvals: SRE, automatic: { from: 'dev' } }),
      doc('Application', 'shop', { components: ['api'], deployment: { type: 'directory', files: ['shop/start.sh'] } }),
    ],
    files: { 'shop/start.sh': 'exec ./api\n' },
    // Whoever may change policy does so with somebody else.
    root: { quorums: { default: { people: 2, roles: [{ role: 'admin', count: 2 }] }, create: { people: 2, roles: [{ role: 'admin', count: 2 }] } } },
  });
});
afterAll(() => stage.close());

const SRE = { people: 1, roles: [{ role: 'sre', count: 1 }] };
const people = () => stage.world.people;
const releaseIn = (name: string, channel: string | null): DocumentOf<'Release'> => doc('Release', `shop/${name}`, { components: { api: { tag: name } }, ...(channel === null ? {} : { channel }) });

/** The next version, which is newer than every one before. */
function next(): string {
  const name = `${(version += 1)}.0`;
  stage.world.registry.put(`shop/api:${name}`, name);
  return name;
}

/** A release in the channel, which then runs in dev and is asked for in prod. */
async function released(by: Parameters<Stage['promotionApproval']>[0] | null = people().alice): Promise<string> {
  const name = next();
  await stage.world.commit([releaseIn(name, 'stable')], by === null ? {} : { by });
  await stage.settle();
  return name;
}

async function approveProd(by: Parameters<Stage['promotionApproval']>[0], name: string): Promise<Verdict> {
  await stage.world.commit([await stage.promotionApproval(by, 'prod')], { by: people().alice });
  await stage.settle();
  return stage.verdict('prod', name);
}

attack('automatic promotion past an approval gate', {
  rules: ['T17', 'T21'], expects: 'ApprovalsMissing',
  attempt: async () => stage.verdict('prod', await released()),
  twin: async () => approveProd(people().carol, await released()),
});

attack('approval of an automatic promotion by who wrote its release', {
  rules: ['T19'], expects: 'Requester',
  attempt: async () => approveProd(people().bob, await released(people().bob)),
  twin: async () => approveProd(people().bob, await released(people().alice)),
});

/** `by` changes a script, and alice makes a release that ships it. While that waits something else is deployed in prod, after which nobody looks for requesters any more. */
async function shipped(by: Parameters<Stage['promotionApproval']>[0]): Promise<string> {
  const first = await released();
  await approveProd(people().carol, first);
  await stage.world.commit([], { by, files: { 'shop/start.sh': `exec ./api --since ${first}\n` } });
  const name = await released();
  await stage.world.commit([await stage.world.promotion('prod', first, { by: people().alice }), doc('Configuration', 'prod/shop', { variables: { SINCE: first } })], { by: people().alice });
  await stage.settle();
  await approveProd(people().carol, first);
  await stage.world.commit([], { by: people().alice, deletes: ['promotions/prod/shop.yaml'] });
  await stage.settle();
  return name;
}

attack('approval of an automatic promotion by who wrote a script that it ships, before something else was deployed', {
  rules: ['T19'], expects: 'Requester',
  attempt: async () => approveProd(people().bob, await shipped(people().bob)),
  twin: async () => approveProd(people().bob, await shipped(people().alice)),
});

attack('automatic promotion of a release that nobody signed, with separation on', {
  rules: ['T20'], expects: 'RequesterUnknown',
  attempt: async () => approveProd(people().carol, await released(null)),
  twin: async () => approveProd(people().carol, await released(people().alice)),
});

attack('channel changed after the lock', {
  rules: ['T12'], expects: 'ReleaseChanged',
  attempt: async () => {
    const name = next();
    await stage.world.commit([releaseIn(name, 'beta')], { by: people().alice });
    await stage.settle();
    await stage.world.commit([releaseIn(name, 'stable')], { by: people().alice });
    await stage.settle();
    const { accepted, executed } = await stage.verdict('dev', name);
    return { accepted, executed, codes: await stage.reasons() };
  },
  twin: async () => stage.verdict('dev', await released()),
});

attack('downgrade of an environment by going back in the one that it follows', {
  rules: ['T28'], expects: 'Withdrawn',
  attempt: async () => {
    const older = await released();
    await approveProd(people().carol, older);
    const newer = await released();
    await approveProd(people().carol, newer);
    // One waits for approvals when dev goes back: what it followed from is gone, and what takes its place is older than what runs.
    await released();
    await stage.world.commit([doc('Promotion', 'dev/shop', { release: older })], { by: people().alice });
    await stage.settle();
    const before = stage.executed('prod').length;
    await stage.settle();
    const { codes } = await stage.verdict('prod', older);
    const { release } = await stage.app('prod');
    await stage.world.commit([], { by: people().alice, deletes: ['promotions/dev/shop.yaml'] });
    await stage.settle();
    return { accepted: release !== newer, codes, executed: stage.executed('prod').slice(before) };
  },
  twin: async () => {
    const older = stage.executed('prod').at(-1)!.release!;
    await approveProd(people().carol, await released());
    await stage.world.commit([await stage.world.promotion('prod', older, { by: people().alice })], { by: people().alice });
    await stage.settle();
    const verdict = await approveProd(people().carol, older);
    await stage.world.commit([], { by: people().alice, deletes: ['promotions/prod/shop.yaml'] });
    await stage.settle();
    return verdict;
  },
});

/** The newest record that `edit` changes, as a thief of the server's keys would have written it, read as everybody reads the log. */
async function forged(edit: (record: EvidenceRecord) => EvidenceRecord | null): Promise<Verdict> {
  await released();
  const { reader } = (await stage.world.parts()).evidence;
  const steps: (RecordStep & { readonly artifact: Parameters<NonNullable<Parameters<typeof readEvidence>[3]>>[1] })[] = [];
  await readEvidence({ reader, openPgp }, (await stage.world.repository.tip('stella/evidence')) as CommitId, stage.world.pin, (step, artifact) => void steps.push({ ...step, artifact }));
  for (const { before, record, artifact } of steps.reverse()) {
    const other = edit(record);
    if (other === null) continue;
    const result = applyRecord(before, other, { artifact, openPgp });
    return { accepted: result.ok, codes: result.ok ? [] : [result.code], executed: [] };
  }
  throw new Error('no record to forge');
}

/** The last decision that was derived for prod. */
function rewritten(edit: (p: PromotionDecisionPredicate) => PromotionDecisionPredicate): Promise<Verdict> {
  return forged((record) => {
    const isIt = record.type === 'promotion-decision' && record.predicate.environment === 'prod' && record.predicate.sources.derived !== null && record.predicate.sources.ended === null;
    return isIt ? { ...record, predicate: edit(record.predicate) } : null;
  });
}

const asks = (name: string, more: Partial<SpecOf['Promotion']> = {}): Pick<PromotionDecisionPredicate['sources'], 'promotionDocument' | 'promotion'> => {
  const base = derivedPromotion({ environment: 'prod', application: 'shop' }, name);
  const digest = documentDigest({ ...base, spec: { ...base.spec, ...more } });
  return { promotionDocument: digest, promotion: digest };
};

attack('promotion that a server calls automatic, of a release that runs nowhere before', {
  rules: ['T30'], expects: 'DerivationUnfounded',
  attempt: () => rewritten((p) => ({ ...p, sources: { ...p.sources, ...asks('1.0.99') } })),
  twin: () => rewritten((p) => p),
});

attack('promotion that a server calls automatic, from an environment that the rule does not name', {
  rules: ['T14', 'T30'], expects: 'DerivationUnfounded',
  attempt: () => rewritten((p) => ({ ...p, sources: { ...p.sources, derived: { from: 'environment', name: 'prod', unavailable: [] } } })),
  twin: () => rewritten((p) => p),
});

attack('automatic promotion that a server holds back by calling a release deprecated that nobody asked about', {
  rules: ['T30'], expects: 'DerivationUnfounded',
  attempt: () => rewritten((p) => ({ ...p, sources: { ...p.sources, derived: { ...p.sources.derived!, unavailable: ['0.1'] } } })),
  twin: () => rewritten((p) => p),
});

/** The decision that ended what was derived for prod before. */
function ended(edit: (p: PromotionDecisionPredicate) => PromotionDecisionPredicate): Promise<Verdict> {
  return forged((record) => (record.type === 'promotion-decision' && record.predicate.sources.derived !== null && record.predicate.sources.ended !== null ? { ...record, predicate: edit(record.predicate) } : null));
}

attack('end of an automatic promotion that a server calls derived from somewhere else', {
  rules: ['T30'], expects: 'DerivationUnfounded',
  attempt: () => ended((p) => ({ ...p, sources: { ...p.sources, derived: { from: 'channel', name: 'stable', unavailable: [] } } })),
  twin: () => ended((p) => p),
});

attack('lock that a server puts into another channel', {
  rules: ['T30'], expects: 'LockMismatch',
  attempt: () => forged((record) => (record.type === 'release-lock' ? { ...record, predicate: { ...record.predicate, spec: { ...record.predicate.spec, channel: 'edge' } } } : null)),
  twin: () => forged((record) => (record.type === 'release-lock' ? record : null)),
});

attack('environment made automatic in the same push as its release, without the quorum', {
  rules: ['T14', 'T15'], expects: 'nothing derived',
  attempt: async () => {
    const name = next();
    await stage.world.commit([releaseIn(name, 'edge'), doc('Environment', 'dev', { order: 1, automatic: { channel: 'edge' } })], { by: people().alice, message: 'Follow the edge' });
    await stage.settle();
    const { accepted, executed } = await stage.verdict('dev', name);
    return { accepted, executed, codes: accepted ? [] : ['nothing derived'] };
  },
  twin: async () => {
    const changed = doc('Environment', 'dev', { order: 1, automatic: { channel: 'edge' } });
    const changes = await stage.change('Environment', 'dev', changed);
    await stage.world.commit([await stage.changeApproval(people().alice, changes), await stage.changeApproval(people().bob, changes)], { by: people().alice });
    await stage.settle();
    return stage.verdict('dev', `${version}.0`);
  },
});
