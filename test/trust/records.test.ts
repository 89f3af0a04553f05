import { rm } from 'node:fs/promises';
import { afterAll, beforeAll } from 'vitest';
import type { LogSources } from '../../src/core/evidence/fold.ts';
import { initialState } from '../../src/core/evidence/log-state.ts';
import type { PromotionDecisionPredicate } from '../../src/core/evidence/records.ts';
import { replayDecision } from '../../src/core/evidence/replay.ts';
import { readLog } from '../../src/core/evidence/verify-log.ts';
import { createTemporaryFolder } from '../fakes/git-repository.ts';
import { LogFixture } from '../fakes/log-fixture.ts';
import { openPgp } from '../fakes/openpgp.ts';
import { attack, verdict, type Verdict } from './attack.ts';

/** Records of decisions whose input and decision are true, and which say something else besides: the state of the log is made of that. */

let folder: string;
let log: LogFixture;

beforeAll(async () => {
  folder = await createTemporaryFolder();
  log = await LogFixture.create(folder);
  log.lock('0.9.0');
  await log.allow('1.0.0');
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** The allow as whoever has the key for decisions might have written it, replayed as an auditor does. */
function said(edit: (p: PromotionDecisionPredicate) => PromotionDecisionPredicate): () => Verdict {
  return () => {
    const sources: LogSources = { artifact: log.artifacts.get, openPgp };
    const verdicts: Verdict[] = [];
    readLog(initialState(log.root, log.pin), log.envelopes, sources, (before, record) => {
      if (record.type !== 'promotion-decision' || record.predicate.decision.outcome !== 'allow') return;
      const result = replayDecision(before, record.header, edit(record.predicate), sources);
      verdicts.push(verdict(result.ok ? null : result.code));
    });
    return verdicts[0] ?? verdict('NoAllow');
  };
}

const twin = said((p) => p);
const older = (): PromotionDecisionPredicate['lock'] => log.state.locks.get('shop/0.9.0')?.digest ?? null;

attack('record that names another release than was decided about, so that the state is another', {
  rules: ['T30'], expects: 'RecordDiffers', attempt: said((p) => ({ ...p, release: '0.9.0', lock: older() })), twin,
});
attack('record that names no intent, so that it is not spent', {
  rules: ['T19', 'T30'], expects: 'RecordDiffers', attempt: said((p) => ({ ...p, sources: { ...p.sources, intents: [] } })), twin,
});
attack('record that names a higher attempt, so that a failure closes those to come', {
  rules: ['T22', 'T30'], expects: 'RecordDiffers', attempt: said((p) => ({ ...p, attempt: 9 })), twin,
});
attack('record that shows agents a token which the lock does not name', {
  rules: ['T19', 'T30'], expects: 'RecordDiffers', attempt: said((p) => ({ ...p, sources: { ...p.sources, onBehalfOf: p.input } })), twin,
});
attack('record with a member of which nobody knows', {
  rules: ['T12', 'T30'], expects: 'RecordDiffers', attempt: said((p) => ({ ...p, skipped: ['approvals'] }) as PromotionDecisionPredicate), twin,
});
