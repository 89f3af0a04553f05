import { afterAll, beforeAll } from 'vitest';
import { digestOfBytes } from '../../src/core/model/digest.ts';
import { limits } from '../../src/core/model/limits.ts';
import { documentDigest, type AnyDocument, type DocumentOf } from '../../src/core/model/documents.ts';
import { doc } from '../fakes/world.ts';
import { attack, type Verdict } from './attack.ts';
import { Stage } from './attacks-fixture.ts';
import { Desk } from './promotion-desk.ts';

let stage: Stage;
beforeAll(async () => {
  stage = await Stage.open({ documents: [doc('Environment', 'prod', { order: 2, approvals: { people: 1, roles: [{ role: 'sre', count: 1 }] } })] });
});
afterAll(() => stage.close());

const people = (): Stage['world']['people'] => stage.world.people;

attack('approval withdrawn', {
  rules: ['T23'], expects: 'Withdrawn',
  attempt: async () => {
    const desk = await Desk.asked(stage);
    return desk.hand(await desk.approval(people().bob), await desk.approval(people().bob, { action: 'withdraw' }));
  },
  twin: async () => {
    const desk = await Desk.asked(stage);
    return desk.hand(await desk.approval(people().bob), await desk.approval(people().carol, { action: 'withdraw' }));
  },
});

/** Somebody kept a yes from the server, let the withdrawal pass, and shows the yes afterwards. */
async function shownLate(makesAnew: boolean): Promise<Verdict> {
  const desk = await Desk.asked(stage);
  const kept = await desk.approval(people().bob);
  const withdrawal = await desk.approval(people().bob, { action: 'withdraw' });
  await desk.hand(withdrawal);
  return desk.hand(makesAnew ? await desk.approval(people().bob, { despite: [documentDigest(withdrawal)] }) : kept);
}
attack('approval kept back and shown after its withdrawal', { rules: ['T23', 'T7'], expects: 'Withdrawn', attempt: () => shownLate(false), twin: () => shownLate(true) });

/** A no that is "withdrawn" so that the yes of somebody else is enough. */
async function takenBack(first: 'reject' | 'approve'): Promise<Verdict> {
  const desk = await Desk.asked(stage);
  await desk.hand(await desk.approval(people().bob, { action: first }));
  return desk.hand(await desk.approval(people().bob, { action: 'withdraw' }), await desk.approval(people().carol));
}
attack('rejection withdrawn', {
  rules: ['T24', 'T23'], expects: 'ApprovalsRejected', attempt: () => takenBack('reject'),
  twin: async () => {
    const desk = await Desk.asked(stage);
    return desk.hand(await desk.approval(people().bob, { action: 'withdraw' }), await desk.approval(people().carol));
  },
});

/** Whoever stole bob's key fills what the log takes of his withdrawals, approves, and bob takes that back with the same key. */
async function crowdedOut(takesBack: boolean): Promise<Verdict> {
  const desk = await Desk.asked(stage);
  const junk = await Promise.all(Array.from({ length: limits.approvalsPerPerson }, (_, i) => desk.approval(people().bob, { action: 'withdraw', digest: digestOfBytes(`junk ${desk.release} ${i}`) })));
  await desk.hand(...junk);
  const yes = await desk.approval(people().bob);
  if (!takesBack) return desk.hand(yes);
  await stage.world.commit([yes, await desk.approval(people().bob, { action: 'withdraw' })]);
  await stage.settle();
  return desk.verdict();
}
attack('withdrawal crowded out by junk under a stolen key', { rules: ['T31', 'T23'], expects: 'Withdrawn', attempt: () => crowdedOut(true), twin: () => crowdedOut(false) });

/** bob approves a new environment; then bob, or carol who has no say in it, withdraws. */
async function changeTakenBack(name: string, by: 'bob' | 'carol'): Promise<Verdict> {
  const environment = doc('Environment', name, { order: 50 + name.length });
  const changes = await stage.change('Environment', name, environment);
  const withdrawal = await stage.changeApproval(people()[by], changes, { action: 'withdraw' });
  const documents: readonly [AnyDocument, DocumentOf<'Approval'>, DocumentOf<'Approval'>] = [environment, await stage.changeApproval(people().bob, changes), withdrawal];
  await stage.world.commit(documents);
  await stage.settle();
  return stage.changeVerdict(environment);
}
attack('approval of a protected change withdrawn', { rules: ['T15', 'T23'], expects: 'ChangeRefused', attempt: () => changeTakenBack('qa', 'bob'), twin: () => changeTakenBack('load', 'carol') });
