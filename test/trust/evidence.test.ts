import { afterAll, beforeAll, beforeEach, describe } from 'vitest';
import { mkdir, readdir, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { CommitId } from '../../src/core/model/commit-id.ts';
import { digestOfBytes, type Digest } from '../../src/core/model/digest.ts';
import type { AnyDocument } from '../../src/core/model/documents.ts';
import { limits } from '../../src/core/model/limits.ts';
import { artifactPath, recordPath } from '../../src/core/evidence/layout.ts';
import { readEvidence } from '../../src/reconciler/read-evidence.ts';
import { Reconciler } from '../../src/reconciler/reconciler.ts';
import { requireComponent } from '../fakes/components.ts';
import { createSshKey, createTemporaryFolder, type SshKey } from '../fakes/git-repository.ts';
import { openPgp } from '../fakes/openpgp.ts';
import { doc, EVIDENCE_REF, World } from '../fakes/world.ts';
import { attack, type Verdict } from './attack.ts';
import { personOf, releaseOf, Stage } from './attacks-fixture.ts';
import { Desk } from './promotion-desk.ts';

/** Attacks on the log, on the history that the server reads, and on how much junk it takes. Each time a release waits to run in dev, where nobody has to approve. */

let folder: string;
let stage: Stage;
let mallory: SshKey;
let made = 0;
beforeEach((ctx) => requireComponent('git', ctx));
beforeAll(async () => {
  folder = await createTemporaryFolder();
  mallory = await createSshKey(folder, 'mallory');
  stage = await Stage.open({ documents: [doc('Environment', 'prod', { order: 2, approvals: { people: 1, roles: [{ role: 'sre', count: 1 }] } })] as readonly AnyDocument[] });
});
afterAll(async () => {
  await stage.close();
  await rm(folder, { recursive: true, force: true });
});

/** A release is asked for in dev. @returns its name */
async function waiting(): Promise<string> {
  const release = `1.${(made += 1)}`;
  stage.world.registry.put(`shop/api:${release}`, `genuine ${release}`);
  await stage.world.commit([releaseOf(release), doc('Promotion', 'dev/shop', { release }) as never], { by: stage.world.people.alice });
  return release;
}

/** What the next passes of the server make of it. */
async function outcome(release: string): Promise<Verdict> {
  const { fault } = await stage.world.pass();
  if (fault !== null) return { accepted: false, codes: [fault.code], executed: stage.executed('dev', release) };
  await stage.settle();
  return stage.verdict('dev', release);
}

describe('evidence branch', () => {
  const evidence = async (): Promise<CommitId> => (await stage.world.repository.tip('stella/evidence'))!;

  /** Something happens to the branch while no server runs; then one starts on an empty disk. Codes: the server's, and what an auditor is told. */
  const tampered = (tamper: (tip: CommitId) => Promise<unknown>) => async (): Promise<Verdict> => {
    const release = await waiting();
    const tip = await evidence();
    await tamper(tip);
    await startAgain();
    const audited = await audit();
    const found = await outcome(release);
    if (found.accepted) return found;
    await restore(tip);
    return { ...found, codes: [...found.codes, ...audited] };
  };
  /** The same, and the server starts on the disk that it had. */
  const remembered = (tamper: (tip: CommitId) => Promise<unknown>) => async (): Promise<Verdict> => {
    const release = await waiting();
    const tip = await evidence();
    await tamper(tip);
    const { fault } = await new Reconciler(await stage.world.parts({ createLog: true })).pass();
    const executed = stage.executed('dev', release);
    if (fault !== null) await restore(tip);
    else await startAgain();
    return fault === null ? outcome(release) : { accepted: false, codes: [fault.code], executed };
  };
  const startAgain = async (): Promise<void> => {
    await stage.world.restart();
    await stage.reconciler();
  };
  const restore = async (tip: CommitId): Promise<void> => {
    await stage.world.repository.git(['update-ref', EVIDENCE_REF, tip]);
    await startAgain();
    await stage.settle();
  };
  const audit = async (): Promise<readonly string[]> => {
    const { remote, reader } = (await stage.world.parts()).evidence;
    await remote.fetch([`+${EVIDENCE_REF}:refs/stella/evidence`]);
    const read = await readEvidence({ reader, openPgp }, (await reader.resolveRef('refs/stella/evidence'))!, stage.world.pin);
    return read.ok ? [] : [read.fault.code];
  };
  const untouched = tampered(async () => undefined);
  const write = (files: Record<string, string>, sshKey: SshKey | undefined, deletes: readonly string[] = []): Promise<unknown> => stage.world.repository.commit({ branch: 'stella/evidence', files, deletes, sshKey });
  const ours = (): SshKey => stage.world.keys.commits;
  const plan = (): Digest => stage.decisions.get('dev')?.sources.plan ?? digestOfBytes('');
  const head = async (): Promise<number> => (await stage.world.state()).size - 1;

  attack('foreign commit on the evidence branch', { rules: ['T30'], expects: 'ForeignEvidence', twin: untouched, attempt: tampered(() => write({}, mallory)) });
  attack('unsigned commit on the evidence branch', { rules: ['T30'], expects: 'ForeignEvidence', twin: untouched, attempt: tampered(() => write({}, undefined)) });
  attack('foreign file on the evidence branch', { rules: ['T30'], expects: 'ForeignEvidence', twin: untouched, attempt: tampered(() => write({ 'notes.txt': 'x' }, ours())) });
  attack('artifact that does not hold what its name says', { rules: ['T30'], expects: 'ArtifactDamaged', twin: untouched, attempt: tampered(() => write({ [artifactPath(plan())]: 'evil' }, ours())) });
  attack('artifact taken away', { rules: ['T30'], expects: 'ArtifactMissing', twin: untouched, attempt: tampered(() => write({}, ours(), [artifactPath(plan())])) });
  attack('record rewritten by somebody without the key for decisions', {
    rules: ['T29', 'T30'], expects: 'RecordUnsigned', twin: untouched,
    attempt: tampered(async (tip) => {
      const path = recordPath(await head());
      const envelope = JSON.parse(await stage.world.repository.git(['show', `${tip}:${path}`])) as { payload: string };
      const payload = Buffer.from(envelope.payload, 'base64').toString().replace('"asOf":"2026', '"asOf":"2025');
      await write({ [path]: JSON.stringify({ ...envelope, payload: Buffer.from(payload).toString('base64') }) }, ours());
    }),
  });
  attack('record taken out of the middle', { rules: ['T30'], expects: 'RecordMissing', twin: untouched, attempt: tampered(async () => write({}, ours(), [recordPath((await head()) - 1)])) });
  attack('state file that says something else than the records', {
    rules: ['T30'], expects: 'ProjectionDiffers', twin: untouched, attempt: tampered(async (tip) => {
      const [path = ''] = (await stage.world.repository.git(['ls-tree', '-r', '--name-only', tip])).split('\n').filter((name) => name.startsWith('state/'));
      await write({ [path]: 'release: evil\n' }, ours());
    }),
  });
  attack('log cut back to an older tip', { rules: ['T16', 'T30'], expects: 'ForeignEvidence', twin: remembered(async () => undefined), attempt: remembered((tip) => stage.world.repository.git(['update-ref', EVIDENCE_REF, `${tip}~1`])) });
  attack('log deleted, so that a new one is begun', { rules: ['T30', 'T13'], expects: 'LogMissing', twin: remembered(async () => undefined), attempt: remembered(() => stage.world.repository.git(['update-ref', '-d', EVIDENCE_REF])) });
});

describe('history', () => {
  /** What somebody who reaches the server's disk lays into its mirror. */
  const laid = (path: (main: string) => string, content: (main: string, first: string) => string) => async (): Promise<Verdict> => {
    const mirror = await mirrorFolder();
    const main = (await stage.world.repository.tip('main'))!;
    const first = await stage.world.repository.git(['rev-list', '--max-parents=0', main]);
    const file = join(mirror, path(main));
    const release = await waiting();
    await mkdir(dirname(file), { recursive: true });
    await writeFile(file, content(main, first));
    const found = await outcome(release);
    await rm(file);
    if (!found.accepted) await stage.settle();
    return found;
  };
  const honest = async (): Promise<Verdict> => outcome(await waiting());
  attack('refs/replace', { rules: ['T6'], expects: 'HistoryFault', twin: honest, attempt: laid((main) => `refs/replace/${main}`, (_, first) => `${first}\n`) });
  attack('grafts', { rules: ['T6'], expects: 'HistoryFault', twin: honest, attempt: laid(() => 'info/grafts', (main) => `${main}\n`) });
  attack('shallow clone', { rules: ['T6'], expects: 'HistoryFault', twin: honest, attempt: laid(() => 'shallow', (main) => `${main}\n`) });
});

async function mirrorFolder(): Promise<string> {
  const mirrors = (await readdir(stage.world.folder)).filter((name) => name.startsWith('mirror-')).sort((a, b) => Number(a.slice(7)) - Number(b.slice(7)));
  const path = join(stage.world.folder, mirrors.at(-1) ?? '');
  const entries = await readdir(path, { withFileTypes: true });
  return entries.some(({ name }) => name === 'objects') ? path : join(path, entries.find((entry) => entry.isDirectory())?.name ?? '');
}

describe('junk', () => {
  /** carol has her say, behind more approvals of nothing than are kept of one person. */
  const flooded = async (action: 'approve' | 'reject'): Promise<Verdict> => {
    const { bob, carol } = stage.world.people;
    const desk = await Desk.asked(stage);
    const before = (await stage.world.state()).size;
    const junk = await Promise.all(Array.from({ length: limits.approvalsPerPerson + 5 }, (_, i) => stage.world.approval(carol, { type: 'promotion', environment: 'prod', application: 'shop', digest: digestOfBytes(`${desk.release} ${i}`) })));
    await desk.hand(...(junk as unknown as AnyDocument[]));
    if ((await stage.world.state()).size - before > limits.approvalsPerPerson + 2) return { accepted: true, codes: ['LogGrew'], executed: [] };
    return action === 'reject' ? desk.hand(await desk.approval(carol, { action }), await desk.approval(bob)) : desk.hand(await desk.approval(bob));
  };
  attack('rejection drowned in junk of the same person', { rules: ['T31', 'T21'], expects: 'ApprovalsRejected', attempt: () => flooded('reject'), twin: () => flooded('approve') });
  attack('junk of strangers that grows the log and changes the decision', {
    rules: ['T31', 'T8'], expects: 'ApprovalsMissing', twin: async () => (await Desk.asked(stage)).approvedBy(stage.world.people.bob),
    attempt: async () => {
      const desk = await Desk.asked(stage);
      const before = (await stage.world.state()).size;
      const found = await desk.hand(...(await Promise.all(Array.from({ length: 3 }, () => desk.approval(mallory)))));
      // The new tip is all that there is to record.
      return (await stage.world.state()).size - before <= 1 ? found : { accepted: true, codes: ['LogGrew'], executed: [] };
    },
  });
});

describe('the first documents', () => {
  /** A log begins with eve as an admin, and this as the server's key for evidence commits. */
  const begun = (commits: (eve: SshKey) => string) => async (): Promise<Verdict> => {
    const eve = await createSshKey(folder, `eve-${(made += 1)}`);
    const { decisionsPem } = stage.world.keys;
    const services = [{ role: 'decisions', name: 'a', publicKey: decisionsPem }, { role: 'evidence-commits', name: 'b', publicKey: commits(eve) }] as const;
    const world = await World.create({ documents: [personOf('eve', [eve], ['admin']) as unknown as AnyDocument], idle: true, root: { quorums: { default: { people: 1 }, create: { people: 1 } }, services } });
    try {
      const { fault } = await world.pass();
      return { accepted: fault?.code !== 'GenesisMismatch', codes: fault === null ? [] : [fault.code], executed: world.executor.executed };
    } finally {
      await world.close();
    }
  };
  attack('key of the server as a person’s', { rules: ['T29', 'T11'], expects: 'GenesisMismatch', attempt: begun((eve) => eve.publicKey), twin: begun(() => stage.world.keys.commits.publicKey) });
});
