import { afterEach, describe, expect, it } from 'vitest';
import { rm } from 'node:fs/promises';
import type { CommitId } from '../../src/core/model/commit-id.ts';
import { digestOfBytes, type Digest } from '../../src/core/model/digest.ts';
import { limits } from '../../src/core/model/limits.ts';
import { ArtifactCache } from '../../src/reconciler/artifact-cache.ts';
import { BarrenBranches } from '../../src/reconciler/barren-branches.ts';
import { regressionOf } from '../../src/reconciler/log-memory.ts';
import { readEvidence, type RecordStep } from '../../src/reconciler/read-evidence.ts';
import { createTemporaryFolder } from '../fakes/git-repository.ts';
import { LogFixture } from '../fakes/log-fixture.ts';
import { doc, EVIDENCE_REF } from '../fakes/world.ts';
import { releaseOf, Stage } from './attacks-fixture.ts';
import { openPgp } from '../fakes/openpgp.ts';

/** What the server remembers of its log, and how much junk it takes: the parts that are no attacks by themselves. Those are in `evidence.test.ts`. */

let stage: Stage;
const leftovers: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const clean of leftovers.splice(0)) await clean();
});

async function open(): Promise<Stage> {
  stage = await Stage.open();
  leftovers.push(() => stage.close());
  return stage;
}

async function temporaryFolder(): Promise<string> {
  const folder = await createTemporaryFolder();
  leftovers.push(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

/** 1.0 runs in dev. */
async function deployed(): Promise<Stage> {
  await open();
  stage.world.registry.put('shop/api:1.0', 'one');
  await stage.world.commit([releaseOf('1.0'), doc('Promotion', 'dev/shop', { release: '1.0' })], { by: stage.world.people.alice });
  await stage.settle();
  return stage;
}

const evidenceTip = async ({ world }: Stage): Promise<CommitId> => (await world.repository.tip('stella/evidence'))!;

describe('a log that is cut back', () => {
  it('by a single commit is noticed too, by where the branch was when it was fetched last and by the database', async () => {
    const { world } = await deployed();
    await stage.world.pass();
    const tip = await evidenceTip(stage);
    const { reader } = (await world.parts()).evidence;
    const shorter = (await world.repository.git(['rev-parse', `${EVIDENCE_REF}~1`])) as CommitId;
    const none = { local: null, fetched: null, mirrored: null };
    const steps: RecordStep[] = [];
    await readEvidence({ reader, openPgp }, tip, world.pin, (step) => { steps.push(step); });
    const last = steps.at(-1)!.record;
    const mirrored = { seq: last.header.seq, digest: last.digest };
    const whole = { tip, digestOf: (seq: number) => steps[seq]?.record.digest };
    const cut = { tip: shorter, digestOf: (seq: number) => (seq === last.header.seq ? undefined : steps[seq]?.record.digest) };
    expect(await regressionOf(reader, { ...none, fetched: tip, mirrored }, whole)).toBeNull();
    expect(await regressionOf(reader, { ...none, fetched: tip }, cut)).not.toBeNull();
    expect(await regressionOf(reader, { ...none, mirrored }, cut)).not.toBeNull();
    expect(await regressionOf(reader, { ...none, mirrored: { ...mirrored, digest: digestOfBytes('other') } }, whole)).not.toBeNull();
    // A commit that a crash kept from being pushed is no evidence.
    expect(await regressionOf(reader, { ...none, local: tip }, cut)).toBeNull();
  });
});

describe('an artifact', () => {
  /** The evidence branch as a server without memory gets it. */
  const fetchedTip = async (): Promise<CommitId> => {
    await stage.world.restart();
    const { remote, reader } = (await stage.world.parts()).evidence;
    await remote.fetch([`+${EVIDENCE_REF}:refs/stella/evidence`]);
    return (await reader.resolveRef('refs/stella/evidence'))!;
  };
  const plan = (): Digest => stage.decisions.get('dev')!.sources.plan!;

  it('stays at hand with the others that are asked for together, however small the cache is', async () => {
    await deployed();
    const tip = await fetchedTip();
    const { input, sources } = stage.decisions.get('dev')!;
    const wanted = [input, sources.promotion, plan()];
    const cache = new ArtifactCache((await stage.world.parts()).evidence.reader, 1);
    await cache.load(tip, wanted);
    expect(wanted.map((digest) => cache.get(digest) !== undefined)).toEqual([true, true, true]);
    await cache.load(tip, [input]);
    expect(cache.get(plan())).toBeUndefined();
  });
});

describe('a rejection', () => {
  it('whose bytes are not at hand keeps everything from being decided, instead of being forgotten', async () => {
    const log = await LogFixture.create(await temporaryFolder());
    log.lock('1.0.0');
    await log.promote({ release: '1.0.0' });
    await log.approve('carol', { action: 'reject' });
    const artifact = log.app.approvals[0]!;
    const bytes = log.stored.get(artifact)!;
    log.stored.delete(artifact);
    await expect(log.approve('bob')).rejects.toMatchObject({ code: 'ArtifactMissing' });
    log.stored.set(artifact, bytes);
    expect((await log.decide()).decision).toMatchObject({ outcome: 'refuse', reasons: ['ApprovalsRejected'] });
  });
});

describe('junk', () => {
  it('on approval branches is read once, until who may sign changes or the branch does', () => {
    const principals = digestOfBytes('a');
    const branches = ['x', 'y'].map((name) => ({ ref: `refs/heads/stella/approvals/${name}`, commit: 'a'.repeat(40) as CommitId }));
    const barren = new BarrenBranches();
    expect(barren.worthReading(branches, principals)).toEqual(branches);
    barren.add(branches[0]!);
    expect(barren.worthReading(branches, principals)).toEqual([branches[1]]);
    const moved = [{ ...branches[0]!, commit: 'b'.repeat(40) as CommitId }];
    expect(barren.worthReading(moved, principals)).toEqual(moved);
    barren.add(moved[0]!);
    expect(barren.worthReading(moved, digestOfBytes('b'))).toEqual(moved);
  });

  it('that would make a record which nobody can read back is refused before anything is written', async () => {
    const log = await LogFixture.create(await temporaryFolder());
    const tip = (ref: string) => ({ type: 'observation', predicate: { type: 'tip', ref, commit: 'c'.repeat(40) as CommitId } }) as const;
    const { size } = log.state;
    expect(() => log.record(tip('x'.repeat(limits.recordBytes)))).toThrow(expect.objectContaining({ code: 'RecordTooLarge' }));
    expect(log.state.size).toBe(size);
    log.record(tip('refs/heads/main'));
    expect(log.state.size).toBe(size + 1);
  });

  it('in history, more commits than are looked at, stops the promotion and nothing else', async () => {
    const { world } = await open();
    const commits = Array.from({ length: limits.requesterCommits + 1 }, (_, i) => `commit refs/heads/main\ncommitter T <t@example.test> ${1_800_000_000 + i} +0000\ndata 1\nx\n${i === 0 ? 'from refs/heads/main^0\n' : ''}\n`);
    await world.repository.git(['fast-import', '--quiet', '--done'], `${commits.join('')}done\n`);
    world.registry.put('shop/api:1.0', 'one');
    await world.commit([releaseOf('1.0'), doc('Promotion', 'dev/shop', { release: '1.0' })], { by: world.people.alice });
    await stage.settle();
    expect(stage.decision('dev')).toMatchObject({ outcome: 'pending', reasons: ['PlanInvalid'] });
    expect(stage.executed('dev')).toEqual([]);
    expect((await world.state()).locks.has('shop/1.0')).toBe(true);
  });
});
