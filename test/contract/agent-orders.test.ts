import { cp, mkdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { openAgentLink } from '../../src/adapters/grpc/agent-link.ts';
import { agentKeys } from '../../src/adapters/pki/agent-keys.ts';
import { newPrivateKeyPem, publicKeyDer } from '../../src/adapters/pki/key-form.ts';
import { openIdentity } from '../../src/agent/identity.ts';
import { Journal } from '../../src/agent/journal.ts';
import { orderProver, type UnprovenOrder } from '../../src/agent/order-proof.ts';
import { OrderRunner } from '../../src/agent/run-order.ts';
import { secretResolver } from '../../src/agent/secret-resolver.ts';
import { startAgent } from '../../src/agent/start-agent.ts';
import { digestOfBytes, type Digest } from '../../src/core/model/digest.ts';
import { preimageDigest, type Order } from '../../src/core/model/preimages.ts';
import { encodeBundle } from '../../src/core/order/bundle.ts';
import { verifyReceipt, type Receipt } from '../../src/core/order/receipt.ts';
import type { ApplyWork, TargetContext, TargetDriver, TargetOutcome } from '../../src/ports/target-driver.ts';
import { enrolledAgent, eventually, miniatureProof, orderFor, Scratch, startServer } from './agent-fixture.ts';
import { openPgp } from '../fakes/openpgp.ts';

const scratch = new Scratch();
afterEach(() => scratch.clean());

const running = [{ component: 'api', digest: digestOfBytes('api') }];
const applied: TargetOutcome = { result: 'Succeeded', code: 'Applied', message: '', running, rolledBack: false };

/** A target that keeps its applications in memory and counts what was done to it. */
class Miniature implements TargetDriver {
  readonly type = 'miniature';
  readonly begun: string[] = [];
  readonly values: string[] = [];
  concurrent = 0;
  mostConcurrent = 0;
  duringApply: (work: ApplyWork) => Promise<TargetOutcome | void> = async () => undefined;

  async apply(work: ApplyWork, context: TargetContext): Promise<TargetOutcome> {
    this.begun.push(`${work.target.name} ${work.generation}`);
    this.mostConcurrent = Math.max(this.mostConcurrent, ++this.concurrent);
    try {
      context.progress('applying');
      for (const reference of Object.values(work.runs.secrets)) this.values.push(await context.resolveSecret(reference));
      return (await this.duringApply(work)) ?? applied;
    } finally {
      this.concurrent -= 1;
    }
  }
  async observe() {
    return { running, sticker: Buffer.from('{}') };
  }
  async remove(): Promise<TargetOutcome> {
    this.begun.push('remove');
    return { ...applied, code: 'Removed', running: [] };
  }
}

async function runnerOn(folder: string, driver = new Miniature(), secrets = secretResolver({ environment: {}, secretFolders: [] })) {
  const identity = await openIdentity(folder, 'anna', agentKeys);
  const journal = await Journal.open(join(folder, 'journal'));
  scratch.later(() => journal.close());
  const runner = new OrderRunner({ identity, journal, proveOrder: miniatureProof, drivers: [driver], resolveSecret: secrets, now: () => new Date() });
  const run = async (order: UnprovenOrder): Promise<Receipt> => {
    const envelope = await runner.run(order, () => undefined);
    const verified = verifyReceipt(envelope ?? new Uint8Array(), identity.publicKeyDer);
    if (!verified.ok) throw new Error(verified.code);
    expect(verified.receipt).toMatchObject({ order: order.digest, agent: 'anna', target: order.target });
    return verified.receipt;
  };
  return { identity, journal, driver, runner, run };
}

describe('an order', () => {
  it('is executed and answered with a signed receipt of what runs', async () => {
    const { run } = await runnerOn(await scratch.folder());
    expect(await run(orderFor({ target: 'web-1', generation: 1 }))).toMatchObject({ result: 'Succeeded', code: 'Applied', running });
  });

  it('is executed once and answered from the journal afterwards, also after a restart', async () => {
    const folder = await scratch.folder();
    const order = orderFor({ target: 'web-1', generation: 1 });
    const first = await runnerOn(folder);
    const answer = await first.runner.run(order, () => undefined);
    expect(await first.runner.run(order, () => undefined)).toEqual(answer);
    await first.journal.close();
    const second = await runnerOn(folder);
    expect(Buffer.from((await second.runner.run(order, () => undefined)) ?? [])).toEqual(Buffer.from(answer ?? []));
    expect([first.driver.begun, second.driver.begun]).toEqual([['web-1 1'], []]);
  });

  it('sent twice while it runs is executed once', async () => {
    const { runner, driver } = await runnerOn(await scratch.folder());
    const order = orderFor({ target: 'web-1', generation: 1 });
    const [one, two] = await Promise.all([runner.run(order, () => undefined), runner.run(order, () => undefined)]);
    expect(one).toEqual(two);
    expect(driver.begun).toEqual(['web-1 1']);
  });

  it('that a crash cut between execution and receipt is executed again after the restart, once', async () => {
    const folder = await scratch.folder();
    const afterCrash = await scratch.folder();
    const before = await runnerOn(folder);
    // What lies on the disk when the work is done and the receipt is not yet written is what a crash at this moment leaves.
    before.driver.duringApply = async () => await cp(folder, afterCrash, { recursive: true });
    const order = orderFor({ target: 'web-1', generation: 1 });
    await before.run(order);
    const after = await runnerOn(afterCrash);
    expect(after.journal.fold.interrupted()).toEqual([order.digest]);
    expect(await after.run(order)).toMatchObject({ result: 'Succeeded' });
    await after.run(order);
    expect(after.driver.begun).toEqual(['web-1 1']);
    expect(after.journal.fold.interrupted()).toEqual([]);
  });

  it('older than one that a crash cut is refused', async () => {
    const folder = await scratch.folder();
    const afterCrash = await scratch.folder();
    const before = await runnerOn(folder);
    before.driver.duringApply = async () => await cp(folder, afterCrash, { recursive: true });
    await before.run(orderFor({ target: 'web-1', generation: 5 }));
    const after = await runnerOn(afterCrash);
    expect(await after.run(orderFor({ target: 'web-1', generation: 4 }))).toMatchObject({ result: 'Refused', code: 'GenerationOld' });
  });

  it('that is replayed or reordered is refused, and the refusal is signed', async () => {
    const { run, driver } = await runnerOn(await scratch.folder());
    await run(orderFor({ target: 'web-1', generation: 2 }));
    const refused = await run(orderFor({ target: 'web-1', generation: 1 }));
    expect(refused).toMatchObject({ result: 'Refused', code: 'GenerationOld', running: [], rolledBack: false });
    expect(driver.begun).toEqual(['web-1 2']);
  });

  it('for another target than its plan names is refused', async () => {
    const { run, driver } = await runnerOn(await scratch.folder());
    const order = orderFor({ target: 'web-1', generation: 1 });
    expect(await run({ ...order, target: 'web-2' })).toMatchObject({ result: 'Refused', code: 'TargetMismatch' });
    expect(driver.begun).toEqual([]);
  });

  it('whose bundle holds another order, or nothing that can be read, or which nobody pinned a genesis for, is refused', async () => {
    const prove = orderProver('anna', openPgp);
    const nothing = { genesis: null, protectedChange: null, generations: new Map(), ran: new Map() };
    const order = orderFor({ target: 'web-1', generation: 1 });
    expect(prove(order, nothing, new Date())).toMatchObject({ ok: false, code: 'GenesisNotPinned' });
    const pinned = { ...nothing, genesis: digestOfBytes('genesis') };
    expect(prove(order, pinned, new Date())).toMatchObject({ ok: false, code: 'BundleMalformed' });
    const inside: Order = { type: 'stella/order/v1', decision: digestOfBytes('decision'), operation: 'promote', target: 'web-1', try: 1 };
    const bundle = encodeBundle({ order: inside, decision: new Uint8Array(), changes: [], approvals: [], artifacts: new Map() });
    expect(prove({ ...order, bundle }, pinned, new Date())).toMatchObject({ ok: false, code: 'OrderDigestMismatch' });
    expect(prove({ ...order, digest: preimageDigest(inside), bundle }, pinned, new Date())).toMatchObject({ ok: false, code: 'ArtifactMissing' });
  });

  it('waits for the one before it on its target, but not for other targets', async () => {
    const { run, driver } = await runnerOn(await scratch.folder());
    let release: () => void = () => undefined;
    const held = new Promise<void>((resolve) => (release = resolve));
    driver.duringApply = async (work) => (work.target.name === 'web-1' && work.generation === 1 ? await held : undefined);
    const first = run(orderFor({ target: 'web-1', generation: 1 }));
    const second = run(orderFor({ target: 'web-1', generation: 2 }));
    await run(orderFor({ target: 'web-2', generation: 1 }));
    expect(driver.begun).not.toContain('web-1 2');
    release();
    await Promise.all([first, second]);
    expect(driver.begun.filter((entry) => entry.startsWith('web-1'))).toEqual(['web-1 1', 'web-1 2']);
    expect(driver.mostConcurrent).toBe(2);
  });

  it('is withdrawn while it waits, and never while it runs', async () => {
    const { runner, driver } = await runnerOn(await scratch.folder());
    let release: () => void = () => undefined;
    const held = new Promise<void>((resolve) => (release = resolve));
    driver.duringApply = () => held;
    const [first, second] = [1, 2].map((generation) => orderFor({ target: 'web-1', generation })) as [UnprovenOrder, UnprovenOrder];
    const receipts = [runner.run(first, () => undefined), runner.run(second, () => undefined)];
    await eventually(() => driver.begun.length === 1);
    runner.withdraw(first.digest);
    runner.withdraw(second.digest);
    release();
    const [ran, withdrawn] = await Promise.all(receipts);
    expect(ran).not.toBeNull();
    expect(withdrawn).toBeNull();
    expect(driver.begun).toEqual(['web-1 1']);
  });

  it('of a driver that throws is Errored with the driver’s own code', async () => {
    const { run, driver } = await runnerOn(await scratch.folder());
    driver.duringApply = async () => {
      throw Object.assign(new Error('no engine answers'), { code: 'EngineUnreachable' });
    };
    expect(await run(orderFor({ target: 'web-1', generation: 1 }))).toMatchObject({ result: 'Errored', code: 'EngineUnreachable' });
  });

  it('to remove removes, and its target is no longer observed', async () => {
    const { run, driver, journal } = await runnerOn(await scratch.folder());
    await run(orderFor({ target: 'web-1', generation: 1 }));
    expect(journal.fold.slots()).toHaveLength(1);
    expect(await run(orderFor({ target: 'web-1', generation: 2, operation: 'remove' }))).toMatchObject({ result: 'Succeeded', code: 'Removed' });
    expect(driver.begun).toEqual(['web-1 1', 'remove']);
    expect(journal.fold.slots()).toEqual([]);
  });

  it('has no receipt and runs nothing when the journal cannot be written', async () => {
    const { runner, driver, journal } = await runnerOn(await scratch.folder());
    await journal.close();
    await expect(runner.run(orderFor({ target: 'web-1', generation: 1 }), () => undefined)).rejects.toMatchObject({ code: 'JournalWriteFailed' });
    expect(driver.begun).toEqual([]);
  });
});

describe('a receipt', () => {
  it('verifies under the identity key only, and only as it was signed', async () => {
    const { runner, identity } = await runnerOn(await scratch.folder());
    const envelope = (await runner.run(orderFor({ target: 'web-1', generation: 1 }), () => undefined)) ?? new Uint8Array();
    expect(verifyReceipt(envelope, identity.publicKeyDer)).toMatchObject({ ok: true });
    expect(verifyReceipt(envelope, publicKeyDer(newPrivateKeyPem()))).toEqual({ ok: false, code: 'ReceiptSignatureInvalid' });
    const { payload, ...rest } = JSON.parse(Buffer.from(envelope).toString()) as { payload: string };
    const better = Buffer.from(payload, 'base64').toString().replace('"Applied"', '"Removed"');
    const forged = Buffer.from(JSON.stringify({ payload: Buffer.from(better).toString('base64'), ...rest }));
    expect(verifyReceipt(forged, identity.publicKeyDer)).toEqual({ ok: false, code: 'ReceiptSignatureInvalid' });
    expect(verifyReceipt(Buffer.from('{}'), identity.publicKeyDer)).toEqual({ ok: false, code: 'ReceiptMalformed' });
  });
});

describe('a secret reference', () => {
  it('is resolved at apply, from the environment and from allowed folders', async () => {
    const folder = await scratch.folder();
    const secretFolder = await scratch.folder();
    await writeFile(join(secretFolder, 'password'), 'from a file\n');
    const resolve = secretResolver({ environment: { TOKEN: 'from the environment' }, secretFolders: [secretFolder] });
    const { run, driver } = await runnerOn(folder, new Miniature(), resolve);
    const secrets = { A: 'env:TOKEN', B: `file:${join(secretFolder, 'password')}` };
    await run(orderFor({ target: 'web-1', generation: 1, runs: { secrets } }));
    expect(driver.values).toEqual(['from the environment', 'from a file']);
    expect(await readFile(join(folder, 'journal', '00000001.jsonl'), 'utf8')).not.toContain('from a file');
  });

  it('that cannot or may not be resolved is Errored with SecretUnavailable', async () => {
    const allowed = await scratch.folder();
    const outside = await scratch.folder();
    await writeFile(join(outside, 'password'), 'secret');
    await symlink(join(outside, 'password'), join(allowed, 'link'));
    await mkdir(join(allowed, 'folder'));
    const resolve = secretResolver({ environment: {}, secretFolders: [allowed] });
    const { run } = await runnerOn(await scratch.folder(), new Miniature(), resolve);
    const paths = [join(outside, 'password'), join(allowed, 'link'), join(allowed, 'folder'), join(allowed, '..', 'x'), join(allowed, 'missing'), 'relative'];
    const references = ['env:MISSING', 'env:constructor', 'exec:id', 'plain', ...paths.map((path) => `file:${path}`)];
    for (const [i, reference] of references.entries()) {
      const receipt = await run(orderFor({ target: 'web-1', generation: i + 1, runs: { secrets: { S: reference } } }));
      expect(receipt, reference).toMatchObject({ result: 'Errored', code: 'SecretUnavailable' });
    }
  });
});

describe('an agent process', () => {
  async function startedAgent(server: Awaited<ReturnType<typeof startServer>>, driver = new Miniature()) {
    const { folder, identity } = await enrolledAgent(scratch, server, 'anna');
    const start = () =>
      startAgent({
        agent: 'anna', folder, address: `localhost:${server.channelPort}`, version: 'test', openLink: openAgentLink, keys: agentKeys, openPgp, drivers: [driver], secrets: { environment: {}, secretFolders: [] },
        pin: digestOfBytes('genesis'), now: () => new Date(), random: () => 0, log: () => undefined, backOff: { firstMs: 20, maxMs: 100 }, proveOrder: miniatureProof,
      });
    return { folder, identity, driver, start };
  }

  it('executes what the hub dispatches, reports progress and inventory, and answers again after a restart', async () => {
    const server = await startServer(scratch);
    const { start, driver, identity } = await startedAgent(server);
    const first = await start();
    const order = orderFor({ target: 'web-1', generation: 1 });
    const lines: string[] = [];
    const receipt = await server.hub.dispatch('anna', order, { onProgress: (more) => lines.push(...more) });
    expect(verifyReceipt(receipt, identity.publicKeyDer)).toMatchObject({ ok: true, receipt: { result: 'Succeeded' } });
    expect(lines).toEqual(['applying']);
    const inventory = await eventually(() => server.inventories.find(({ target }) => target === 'web-1'));
    expect(JSON.parse(Buffer.from(inventory.observed).toString())).toMatchObject({ environment: 'prod', application: 'shop', running, error: null });
    await first.stop();
    const second = await start();
    scratch.later(() => second.stop());
    expect(Buffer.from(await server.hub.dispatch('anna', order))).toEqual(Buffer.from(receipt));
    expect(driver.begun).toEqual(['web-1 1']);
  });

  it('finishes an order although its stream broke, and the waiting dispatch gets the receipt', async () => {
    const server = await startServer(scratch, { certificateSeconds: 5 }); // the stream ends with the certificate
    const { start, driver } = await startedAgent(server);
    let streams = 0;
    let seen: Date | null = null;
    driver.duringApply = async () => {
      await eventually(() => {
        const at = server.hub.connected()[0]?.connectedAt ?? null;
        if (at !== null && at !== seen) streams += 1;
        seen = at ?? seen;
        return streams >= 2;
      });
    };
    const agent = await start();
    scratch.later(() => agent.stop());
    await server.hub.dispatch('anna', orderFor({ target: 'web-1', generation: 1 }));
    expect(driver.begun).toEqual(['web-1 1']);
  });

  it('renews its certificate by itself and keeps it', async () => {
    const server = await startServer(scratch, { certificateSeconds: 100 }); // two thirds of its life lie before its issue, so it is due at once
    const { start, folder } = await startedAgent(server);
    const before = await readFile(join(folder, 'certificate.pem'), 'utf8');
    const agent = await start();
    scratch.later(() => agent.stop());
    let after = before;
    while (after === before) after = await readFile(join(folder, 'certificate.pem'), 'utf8');
    expect(after).toContain('BEGIN CERTIFICATE');
    await eventually(() => server.hub.connected().length === 1);
  });

  it('does not start twice on one state folder, nor before enrolment, nor for another log', async () => {
    const server = await startServer(scratch);
    const { start, folder } = await startedAgent(server);
    const agent = await start();
    await expect(start()).rejects.toMatchObject({ code: 'AgentRunsAlready' });
    await agent.stop();
    const again = await start();
    await again.stop();
    const options = {
      agent: 'anna', folder, address: `localhost:${server.channelPort}`, version: 'test', openLink: openAgentLink, keys: agentKeys, openPgp, drivers: [], secrets: { environment: {}, secretFolders: [] },
      now: () => new Date(), random: () => 0, log: () => undefined,
    };
    await expect(startAgent({ ...options, pin: digestOfBytes('another log') as Digest })).rejects.toMatchObject({ code: 'GenesisMismatch' });
    await expect(startAgent({ ...options, folder: await scratch.folder(), pin: null })).rejects.toMatchObject({ code: 'AgentNotEnrolled' });
  });
});
