import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { agentKeys } from '../../src/adapters/pki/agent-keys.ts';
import { openIdentity, signReceipt, type AgentIdentity } from '../../src/agent/identity.ts';
import { RecordCheck } from '../../src/cli/check-records.ts';
import { initialState } from '../../src/core/evidence/log-state.ts';
import type { DeploymentOutcomePredicate } from '../../src/core/evidence/records.ts';
import { readLog } from '../../src/core/evidence/verify-log.ts';
import { digestOfBytes, type Digest } from '../../src/core/model/digest.ts';
import { preimageDigest } from '../../src/core/model/preimages.ts';
import type { Receipt } from '../../src/core/order/receipt.ts';
import { createTemporaryFolder } from '../fakes/git-repository.ts';
import { LogFixture } from '../fakes/log-fixture.ts';
import { openPgp } from '../fakes/openpgp.ts';

let folder: string;
let log: LogFixture;
beforeEach(async () => {
  folder = await createTemporaryFolder();
  log = await LogFixture.create(folder);
  await log.allow('1.0');
});
afterEach(() => rm(folder, { recursive: true, force: true }));

/** Ends the open run with a receipt, and looks at the whole log as an auditor does. */
function ended(p: { readonly receipt?: Partial<Receipt>; readonly by?: AgentIdentity; readonly recorded?: 'Succeeded' | 'Failed'; readonly isLost?: boolean } = {}): RecordCheck {
  const run = log.app.openRun!;
  const order = preimageDigest({ type: 'stella/order/v1', decision: run.decision.digest, operation: 'promote', target: 'web-1', try: 1 });
  const at = log.now.toISOString();
  const content: Receipt = { type: 'stella/receipt/v1', order, agent: 'anna', target: 'web-1', result: 'Succeeded', code: 'Applied', message: '', running: [], rolledBack: false, startedAt: at, endedAt: at, ...p.receipt };
  const receipt = signReceipt(p.by ?? log.agents.get('anna')!, content);
  const result = p.recorded ?? 'Succeeded';
  const target = { target: 'web-1', agent: 'anna', result, code: 'Applied', message: '', try: 1, receipt: digestOfBytes(receipt) } as const;
  const predicate: DeploymentOutcomePredicate = {
    environment: 'prod', application: 'shop', operation: 'promote', generation: run.generation, promotionDigest: run.promotionDigest, decision: run.decision, result, reason: 'Ok',
    startedAt: at, endedAt: at, steps: [{ name: 'deploy', result, targets: [target] }], fallback: null,
  };
  log.close(predicate, p.isLost === true ? [] : [receipt]);
  const check = new RecordCheck();
  const artifact = (digest: Digest): Uint8Array | undefined => log.stored.get(digest);
  const read = readLog(initialState(log.root, log.pin), log.envelopes, { artifact, openPgp }, (before, record, after) => check.visit({ before, record, after, envelope: new Uint8Array() }, artifact));
  expect(read.ok).toBe(true);
  return check;
}

it('a receipt of the agent in force for an order of the allow is accepted and counted', () => {
  const check = ended();
  expect(check.fault).toBeNull();
  expect(check.population).toMatchObject({ receipts: 1, approvals: 1, byType: { 'deployment-outcome': 1 } });
});

it('a receipt by another key than that of the agent in force is found', async () => {
  const by = await openIdentity(join(folder, 'thief'), 'anna', agentKeys);
  expect(ended({ by }).fault?.code).toBe('ReceiptInvalid');
});

it('a receipt for an order that no allow of the run gave is found', () => {
  expect(ended({ receipt: { order: digestOfBytes('another order') } }).fault?.code).toBe('ReceiptForOtherOrder');
});

it('a record that says more than the receipt is found', () => {
  expect(ended({ receipt: { result: 'Failed' } }).fault?.code).toBe('ReceiptDiffers');
});

it('a record that says less than the receipt is not held against it', () => {
  expect(ended({ recorded: 'Failed' }).fault).toBeNull();
});

it('a receipt for another target is found', () => {
  expect(ended({ receipt: { target: 'web-2' } }).fault?.code).toBe('ReceiptDiffers');
});

it('a receipt that is named and not there is found', () => {
  expect(ended({ isLost: true }).fault?.code).toBe('ArtifactMissing');
});
