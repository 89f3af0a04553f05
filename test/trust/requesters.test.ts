import { afterAll, beforeAll, beforeEach, describe, vi } from 'vitest';
import { rm } from 'node:fs/promises';
import { digestOfBytes, type Digest } from '../../src/core/model/digest.ts';
import type { AnyDocument } from '../../src/core/model/documents.ts';
import { lockOf, preimageDigest, releaseSpecDigest, snapshotOf } from '../../src/core/model/preimages.ts';
import { clausesFor } from '../../src/core/decision/clauses.ts';
import { recordPath } from '../../src/core/evidence/layout.ts';
import { inForceOf, rootOf } from '../../src/core/evidence/log-state.ts';
import type { PromotionDecisionPredicate } from '../../src/core/evidence/records.ts';
import { replayDecision } from '../../src/core/evidence/replay.ts';
import { makePlan } from '../../src/core/release/plan.ts';
import { readEvidence } from '../../src/reconciler/read-evidence.ts';
import { requireComponent } from '../fakes/components.ts';
import { createSshKey, createTemporaryFolder, type SshKey } from '../fakes/git-repository.ts';
import { openPgp } from '../fakes/openpgp.ts';
import { doc, yamlOf, type People } from '../fakes/world.ts';
import { attack, survives, type Verdict } from './attack.ts';
import { personOf, releaseOf, Stage } from './attacks-fixture.ts';
import { Desk, targetOf } from './promotion-desk.ts';

/** Who asked, and who may not approve because of it. prod takes one sre, stage takes two; nobody is asked in dev. */

let folder: string;
let stage: Stage;
let dave: SshKey;
let bot: SshKey;
let mallory: SshKey;
beforeEach((ctx) => requireComponent('ssh-keygen', ctx));
beforeAll(async () => {
  folder = await createTemporaryFolder();
  [dave, bot, mallory] = (await Promise.all(['dave', 'bot', 'mallory'].map((name) => createSshKey(folder, name)))) as [SshKey, SshKey, SshKey];
  const sre = (count: number): object => ({ approvals: { people: count, roles: [{ role: 'sre', count }] } });
  stage = await Stage.open({
    documents: [
      personOf('dave', [dave], ['sre']), personOf('bot', [bot], [], { type: 'service' }), personOf('mallory', [mallory], []),
      doc('Environment', 'prod', { order: 2, ...sre(1) }), doc('Environment', 'stage', { order: 3, ...sre(2) }), targetOf('stage-1', 'stage'),
    ] as readonly AnyDocument[],
  });
});
afterAll(async () => {
  await stage.close();
  await rm(folder, { recursive: true, force: true });
});

const CONFIGURATION = 'configurations/prod/shop.yaml';
const configured = (level: string): string => yamlOf(doc('Configuration', 'prod/shop', { variables: { LEVEL: level } }));
const tip = async () => (await stage.world.repository.tip('main'))!;

describe('an author who cannot be told', () => {
  /** The request lies on the target branch, in a commit by `by`, with the intent of `intent`; bob approves it. */
  const requested = async (by: SshKey | undefined, intent: SshKey | null): Promise<Verdict> => {
    const desk = Desk.fresh(stage);
    await stage.world.commit([releaseOf(desk.release), await desk.promotion(intent)], { ...(by === undefined ? {} : { by }) });
    await stage.settle();
    const found = await desk.approvedBy(stage.world.people.bob);
    if (!found.accepted) await (await Desk.asked(stage)).approvedBy(stage.world.people.carol); // what was asked in between is done with
    return found;
  };
  attack('unknown author with separation on', { rules: ['T20'], expects: 'RequesterUnknown', attempt: () => requested(undefined, null), twin: () => requested(stage.world.people.alice, null) });
  attack('request in a commit of a stranger', {
    rules: ['T20', 'T8'], expects: 'RequesterUnknown', attempt: () => requested({ ...mallory, ...stage.world.keys.commits }, null), twin: () => requested(stage.world.people.alice, null),
  });
  attack('self-approval through a bot, which asks without a verified person', { rules: ['T20', 'T11'], expects: 'RequesterUnknown', attempt: () => requested(bot, bot), twin: () => requested(bot, stage.world.people.alice) });
  survives('squash of a request with its embedded intent', {
    rules: ['T19', 'T20'], expects: 'RequesterUnknown', genuine: () => requested(undefined, stage.world.people.alice), forged: () => requested(undefined, null),
  });
  attack('restored file with another’s old signature', { rules: ['T19'], expects: 'RequesterUnknown', attempt: () => restored(false), twin: () => restored(true) });
});

/** Alice asks with her intent, somebody replaces it by an unsigned request and restores hers then. bob, who may be that somebody, approves. */
async function restored(asksAgain: boolean): Promise<Verdict> {
  const { alice, bob } = stage.world.people;
  const other = Desk.fresh(stage);
  await stage.world.commit([releaseOf(other.release)], { by: alice });
  const desk = await Desk.asked(stage);
  const signed = await desk.promotion(alice);
  await stage.world.commit([doc('Promotion', 'prod/shop', { release: other.release })], {});
  await stage.settle();
  await stage.world.commit([asksAgain ? await desk.promotion(alice, 2) : signed], {});
  await stage.settle();
  const found = await desk.approvedBy(bob);
  if (!found.accepted) await (await Desk.asked(stage)).approvedBy(stage.world.people.carol);
  return found;
}

describe('a merge', () => {
  /** alice has asked; somebody writes the configuration in a way that hides it; who wrote it approves, or somebody else. */
  const hidden = (write: () => Promise<unknown>, approver: () => SshKey) => async (): Promise<Verdict> => {
    const desk = await Desk.asked(stage);
    await write();
    await stage.settle();
    const found = await desk.approvedBy(approver());
    if (!found.accepted) await desk.approvedBy(stage.world.people.carol);
    return found;
  };
  const evil = async (): Promise<unknown> => {
    const side = await stage.world.repository.commit({ branch: 'side', parents: [await tip()], files: { 'notes.txt': String(made) } });
    return stage.world.repository.merge({ from: side, files: { [CONFIGURATION]: configured(`evil-${made++}`) }, sshKey: stage.world.people.bob });
  };
  const octopus = async (): Promise<unknown> => {
    const main = await tip();
    const sides = await Promise.all(['a', 'b'].map((name) => stage.world.repository.commit({ branch: `side-${name}`, parents: [main], files: { [`notes-${name}.txt`]: String(made) } })));
    return stage.world.repository.commit({ parents: [main, ...sides], files: { [CONFIGURATION]: configured(`octopus-${made++}`) }, sshKey: stage.world.people.bob });
  };
  const unlinked = async (): Promise<unknown> => {
    const text = configured(`link-${made++}`);
    await stage.world.repository.commit({ files: { [CONFIGURATION]: { content: text, mode: '120000' } }, sshKey: stage.world.people.alice });
    const side = await stage.world.repository.commit({ branch: 'side', parents: [await tip()], files: { 'notes.txt': String(made) } });
    return stage.world.repository.merge({ from: side, files: { [CONFIGURATION]: { content: text, mode: '100644' } }, sshKey: stage.world.people.bob });
  };
  let made = 0;
  const [bob, carol] = [(): SshKey => stage.world.people.bob, (): SshKey => stage.world.people.carol];
  attack('evil merge', { rules: ['T26', 'T19'], expects: 'Requester', attempt: hidden(evil, bob), twin: hidden(evil, carol) });
  attack('octopus merge that writes the configuration', { rules: ['T26', 'T19'], expects: 'Requester', attempt: hidden(octopus, bob), twin: hidden(octopus, carol) });
  attack('merge that turns a link into the configuration', { rules: ['T26', 'T19'], expects: 'Requester', attempt: hidden(unlinked, bob), twin: hidden(unlinked, carol) });
});

describe('digests named before the tag is resolved', () => {
  const EVIL = digestOfBytes('evil');

  /** The promotion digest that `desk` would have with this image, as its author can compute it beforehand. */
  async function digestWith(desk: Desk, image: Digest): Promise<Digest> {
    const state = await stage.world.state();
    const { environment, release } = desk;
    const application = inForceOf(state, 'Application', 'shop')!;
    const lock = lockOf({ logId: state.logId, application: 'shop', release, components: [{ name: 'api', repository: 'shop/api', registry: 'images', digest: image, tag: null }], source: null, snapshot: snapshotOf(application.spec, []) });
    const entry = { lock, digest: preimageDigest(lock), releaseSpec: releaseSpecDigest(releaseOf(release)), seq: 0, tip: 'a'.repeat(40) as never, before: null, lockedAt: '', channel: null, onBehalfOf: null };
    const plan = makePlan({ state: { ...state, locks: state.locks.set(`shop/${release}`, entry) }, environment, application: 'shop', operation: 'promote', lock, configuration: null, override: null, file: () => undefined, parseCompose: () => ({ ok: false, message: '' }) });
    if (!plan.ok) throw new Error(plan.detail);
    const app = await stage.app(environment);
    return preimageDigest({
      type: 'stella/promotion/v1', logId: state.logId, tenant: state.tenant, environment, application: 'shop', generation: app.generation, replaces: app.lock, replacesRuns: app.runs, lock: entry.digest, plan: plan.planDigest,
      rules: clausesFor({ minimums: rootOf(state).spec.minimums, environment: inForceOf(state, 'Environment', environment)!, application, targets: plan.plan.targets.map((t) => t.name) }),
    });
  }

  /** Approvals of an image come together with the release. Accepted: that image is what the release is locked to. */
  const adopting = (environment: string, by: () => readonly SshKey[], asker: () => SshKey = () => stage.world.people.alice) => async (): Promise<Verdict> => {
    const desk = Desk.fresh(stage, environment);
    const digest = await digestWith(desk, EVIL);
    const approvals = await Promise.all(by().map((key) => stage.world.approval(key, { type: 'promotion', environment, application: 'shop', release: desk.release, components: { api: EVIL }, digest })));
    await stage.world.commit([releaseOf(desk.release), await desk.promotion(asker()), ...approvals], { by: asker(), deletes: [CONFIGURATION] });
    await stage.settle();
    const { lock, seq } = (await stage.world.state()).locks.get(`shop/${desk.release}`)!;
    const isEvil = lock.components[0]?.digest === EVIL;
    const found = await desk.verdict();
    return { accepted: isEvil && found.accepted, codes: [(await recorded(seq)).basis, ...found.codes], executed: isEvil ? found.executed : [] };
  };
  /** How the lock came about, as the log says: `resolved` at the registry, or `adopted` from approvals. */
  const recorded = async (seq: number): Promise<{ readonly basis: string }> => {
    const { payload } = JSON.parse(await stage.world.repository.git(['show', `stella/evidence:${recordPath(seq)}`])) as { payload: string };
    return (JSON.parse(Buffer.from(payload, 'base64').toString()) as { predicate: { content: { basis: string } } }).predicate.content;
  };
  const people = (): People => stage.world.people;
  attack('digest named by one where two have to approve', {
    rules: ['T21', 'T17'], expects: 'ApprovalsMissing', attempt: adopting('stage', () => [people().bob]), twin: adopting('stage', () => [people().bob, dave]),
  });
  attack('digest named by the requester', {
    rules: ['T19'], expects: 'ApprovalsMissing', attempt: adopting('prod', () => [people().bob], () => people().bob), twin: adopting('prod', () => [people().carol], () => people().bob),
  });
  attack('digest named by anybody where nobody has to approve', {
    rules: ['T21'], expects: 'resolved', attempt: adopting('dev', () => [mallory]), twin: adopting('prod', () => [people().carol]),
  });
});

describe('the judge', () => {
  /** Every decision in the log, decided again from the log alone. @param edit what somebody would have the record of an allow say instead */
  const replayed = async (edit: (p: PromotionDecisionPredicate) => PromotionDecisionPredicate = (p) => p): Promise<Verdict> => {
    const { reader } = (await stage.world.parts()).evidence;
    const evidence = (await stage.world.repository.tip('stella/evidence'))!;
    const codes: string[] = [];
    await readEvidence({ reader, openPgp }, evidence, stage.world.pin, ({ before, record }, artifact) => {
      if (record.type !== 'promotion-decision' || record.predicate.decision.outcome !== 'allow') return;
      const result = replayDecision(before, record.header, edit(record.predicate), { artifact, openPgp });
      codes.push(result.ok ? 'Ok' : result.code);
    });
    return { accepted: codes.length > 0 && codes.every((code) => code === 'Ok'), codes, executed: [] };
  };
  const abroad = async (judge: () => Promise<Verdict>): Promise<Verdict> => {
    const { TZ, LANG } = process.env;
    try {
      process.env['TZ'] = 'Pacific/Kiritimati';
      process.env['LANG'] = 'tr_TR.UTF-8';
      return await judge();
    } finally {
      restore('TZ', TZ);
      restore('LANG', LANG);
    }
  };
  const late = async (judge: () => Promise<Verdict>): Promise<Verdict> => {
    vi.useFakeTimers({ now: new Date('2031-01-01T00:00:00.000Z'), toFake: ['Date'] });
    try {
      return await judge();
    } finally {
      vi.useRealTimers();
    }
  };
  const local = (p: PromotionDecisionPredicate): PromotionDecisionPredicate => ({ ...p, decidedAt: p.decidedAt.replace('Z', '+14:00') });
  survives('judge’s time zone changed', { rules: ['T32'], expects: 'InputDiffers', genuine: () => abroad(() => replayed()), forged: () => abroad(() => replayed(local)) });
  survives('judge’s clock wrong', {
    rules: ['T32', 'T23'], expects: 'DecisionDiffers', genuine: () => late(() => replayed()), forged: () => late(() => replayed((p) => ({ ...p, decision: { ...p.decision, notAfter: '2032-01-01T00:00:00.000Z' } }))),
  });
});

function restore(name: 'TZ' | 'LANG', value: string | undefined): void {
  if (value === undefined) delete process.env[name];
  else process.env[name] = value;
}
