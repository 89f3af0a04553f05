import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Digest } from '../../src/core/model/digest.ts';
import { documentDigest, type AnyDocument, type DocumentOf } from '../../src/core/model/documents.ts';
import { changeDigest } from '../../src/core/model/preimages.ts';
import { cloneFor } from '../integration/cli-fixture.ts';
import { proveOrder } from '../../src/core/order/prove-order.ts';
import { carriedByCommit } from '../../src/core/trust/approval-commit.ts';
import { buildBundle } from '../../src/reconciler/build-bundle.ts';
import { runProgram, signWithSsh, type SshKey } from '../fakes/git-repository.ts';
import { LogFixture } from '../fakes/log-fixture.ts';
import { openPgp } from '../fakes/openpgp.ts';
import { doc, yamlOf } from '../fakes/world.ts';
import { attack, proofVerdict, type Verdict } from './attack.ts';
import { releaseOf, Stage } from './attacks-fixture.ts';

/** The second carrier: a signed commit whose message names an Approval. Made with git itself, in clones of people with their own keys. */

let stage: Stage;
let made = 0;
beforeAll(async () => {
  stage = await Stage.open();
});
afterAll(() => stage.close());

type Desk = { readonly folder: string; git(...args: readonly string[]): Promise<string> };

/** Somebody's own clone, where every commit is signed with their key. */
async function deskOf(key: SshKey): Promise<Desk> {
  const folder = join(stage.world.folder, `desk-${key.name}-${++made}`);
  await runProgram('git', ['clone', '-q', stage.world.repository.folder, folder]);
  const git = async (...args: readonly string[]): Promise<string> => (await runProgram('git', ['-C', folder, ...args])).toString().trim();
  const config = { 'gpg.format': 'ssh', 'user.signingKey': key.privateKeyPath, 'commit.gpgSign': 'true', 'user.name': key.name, 'user.email': `${key.name}@example.test` };
  for (const [name, value] of Object.entries(config)) await git('config', name, value);
  return { folder, git };
}

/** alice asks for a new release in prod, where one of the role sre has to approve. @returns its version and the digest to approve */
async function ask(): Promise<{ readonly version: string; readonly digest: Digest }> {
  const { world } = stage;
  const version = `1.${++made}`;
  world.registry.put(`shop/api:${version}`, `image ${version}`);
  await world.commit([releaseOf(version)], { by: world.people.alice });
  await stage.settle();
  await world.commit([await world.promotion('dev', version, { by: world.people.alice }), await world.promotion('prod', version, { by: world.people.alice })], { by: world.people.alice });
  await stage.settle();
  return { version, digest: stage.digest('prod') };
}

/** An Approval that nobody signed. */
function unsigned(digest: Digest): DocumentOf<'Approval'> {
  const nonce = String(++made).padStart(32, '0');
  return doc('Approval', `plain-${made}`, { type: 'promotion', action: 'approve', digest, environment: 'prod', application: 'shop', nonce });
}

const trailerOf = (document: DocumentOf<'Approval'>): string => `Stella-Approval: ${documentDigest(document as unknown as AnyDocument)}`;

/** Commits the document with a message that names it, on a branch of the desk. */
async function commitApproval(desk: Desk, document: DocumentOf<'Approval'>, options: { readonly trailers?: string; readonly args?: readonly string[] } = {}): Promise<string> {
  await desk.git('fetch', '-q', 'origin');
  await desk.git('switch', '-q', '-C', `approve-${++made}`, 'origin/main');
  await mkdir(join(desk.folder, 'approvals'), { recursive: true });
  await writeFile(join(desk.folder, 'approvals', `${document.metadata.name}.yaml`), yamlOf(document as unknown as AnyDocument));
  await desk.git('add', '--', 'approvals');
  await desk.git('commit', '-q', ...(options.args ?? []), '-m', 'Approve', '-m', options.trailers ?? trailerOf(document));
  return desk.git('rev-parse', 'HEAD');
}

/** Pushes the commit at the desk to an approval branch. @returns what became of the promotion */
async function publish(desk: Desk, version: string): Promise<Verdict> {
  await desk.git('push', '-q', 'origin', `HEAD:refs/heads/stella/approvals/by-commit/${++made}`);
  await stage.settle();
  return stage.verdict('prod', version);
}

const people = (): Stage['world']['people'] => stage.world.people;

describe('an approval commit', () => {
  attack('approval commit that nobody signed', {
    rules: ['T1', 'T8'], expects: 'ApprovalsMissing',
    attempt: async () => {
      const [{ version, digest }, desk] = [await ask(), await deskOf(people().bob)];
      await commitApproval(desk, unsigned(digest), { args: ['--no-gpg-sign'] });
      return publish(desk, version);
    },
    twin: async () => {
      const [{ version, digest }, desk] = [await ask(), await deskOf(people().bob)];
      await commitApproval(desk, unsigned(digest));
      return publish(desk, version);
    },
  });

  attack('cherry-picked approval commit without embedded signature', {
    rules: ['T1', 'T7', 'T8'], expects: 'ApprovalsMissing',
    attempt: async () => {
      const { version, digest } = await ask();
      const [bob, carol] = [await deskOf(people().bob), await deskOf(people().carol)];
      const original = await commitApproval(bob, unsigned(digest));
      await carol.git('fetch', '-q', bob.folder, 'HEAD');
      await carol.git('switch', '-q', '-C', 'picked', 'origin/main~1');
      await carol.git('cherry-pick', original);
      return publish(carol, version);
    },
    twin: async () => {
      const { version, digest } = await ask();
      const bob = await deskOf(people().bob);
      await commitApproval(bob, unsigned(digest));
      return publish(bob, version);
    },
  });

  attack('amended approval commit without embedded signature', {
    rules: ['T1', 'T8'], expects: 'ApprovalsMissing',
    attempt: async () => {
      const { version, digest } = await ask();
      const [bob, carol] = [await deskOf(people().bob), await deskOf(people().carol)];
      await commitApproval(bob, unsigned(digest));
      await carol.git('fetch', '-q', bob.folder, 'HEAD');
      await carol.git('switch', '-q', '-C', 'amended', 'FETCH_HEAD');
      await writeFile(join(carol.folder, 'notes.txt'), 'one more file');
      await carol.git('add', 'notes.txt');
      await carol.git('commit', '-q', '--amend', '--no-edit');
      return publish(carol, version);
    },
    twin: async () => {
      const { version, digest } = await ask();
      const carol = await deskOf(people().carol);
      await commitApproval(carol, unsigned(digest));
      await carol.git('commit', '-q', '--amend', '--no-edit', '--date=2026-11-02T08:00:00Z');
      return publish(carol, version);
    },
  });

  attack('approval commit whose message names the approval in its text only', {
    rules: ['T7'], expects: 'ApprovalsMissing',
    attempt: async () => {
      const [{ version, digest }, desk] = [await ask(), await deskOf(people().bob)];
      const document = unsigned(digest);
      await commitApproval(desk, document, { trailers: `> ${trailerOf(document)}\nWhat do you think?` });
      return publish(desk, version);
    },
    twin: async () => {
      const [{ version, digest }, desk] = [await ask(), await deskOf(people().bob)];
      await commitApproval(desk, unsigned(digest));
      return publish(desk, version);
    },
  });

  attack('approval commit for a document that was edited since', {
    rules: ['T7'], expects: 'ApprovalsMissing',
    attempt: async () => {
      const [{ version, digest }, desk] = [await ask(), await deskOf(people().bob)];
      const [signed, document] = [unsigned(stage.world.pin), unsigned(digest)];
      await commitApproval(desk, document, { trailers: trailerOf(signed) });
      return publish(desk, version);
    },
    twin: async () => {
      const [{ version, digest }, desk] = [await ask(), await deskOf(people().bob)];
      const document = unsigned(digest);
      await commitApproval(desk, document, { trailers: trailerOf(document) });
      return publish(desk, version);
    },
  });

  attack('approval commit by the requester', {
    rules: ['T19'], expects: 'RoleMissing',
    attempt: async () => {
      const [{ version, digest }, desk] = [await ask(), await deskOf(people().alice)];
      await commitApproval(desk, unsigned(digest));
      return publish(desk, version);
    },
    twin: async () => {
      const [{ version, digest }, desk] = [await ask(), await deskOf(people().carol)];
      await commitApproval(desk, unsigned(digest));
      return publish(desk, version);
    },
  });

  attack('protected change approved by a commit that names the approval but not the change', {
    rules: ['T15'], expects: 'ChangePending',
    attempt: async () => changeBy(async () => ''),
    twin: async () => changeBy(async (digest) => `\nStella-Change: ${digest}`),
  });

  it('counts on the target branch as well, is archived raw, and replays from the log alone', async () => {
    const [{ version, digest }, desk] = [await ask(), await deskOf(people().bob)];
    await commitApproval(desk, unsigned(digest));
    await desk.git('push', '-q', 'origin', 'HEAD:refs/heads/main');
    await stage.settle();
    expect(await stage.verdict('prod', version)).toMatchObject({ accepted: true });
    await stage.restart();
    expect(await stage.verdict('prod', version)).toMatchObject({ accepted: true });
    const clone = await cloneFor(stage.world, people().alice);
    await clone.git('fetch', '-q', 'origin', 'stella/evidence:stella/evidence');
    expect((await clone.stella(['replay'])).code).toBe(0);
    expect((await clone.stella(['verify'])).code).toBe(0);
  });
});

describe('an agent that is shown an approval commit', () => {
  /** prod runs 1.0.0 by a commit of bob's, whose message names `named`. */
  async function ordered(named: (document: DocumentOf<'Approval'>) => string): Promise<Verdict> {
    const log = await LogFixture.create(join(stage.world.folder, `log-${++made}`));
    log.lock('1.0.0');
    await log.promote({ release: '1.0.0' });
    const { signatures: _, ...document } = await log.approval('bob');
    const head = `tree ${'a'.repeat(40)}\nauthor bob <bob@example.test> 1 +0000\ncommitter bob <bob@example.test> 1 +0000`;
    const message = `Approve\n\nStella-Approval: ${named(document)}\n`;
    const signature = (await signWithSsh(log.people.bob, `${head}\n\n${message}`)).trimEnd().replaceAll('\n', '\n ');
    log.observe(carriedByCommit(document, Buffer.from(`${head}\ngpgsig ${signature}\n\n${message}`)));
    await log.decide();
    if (log.app.openRun === null) log.forgeAllow();
    const decision = log.app.openRun?.decision ?? { seq: -1, digest: log.pin };
    const built = await buildBundle({ type: 'stella/order/v1', decision: decision.digest, operation: 'promote', target: 'web-1', try: 1 }, decision, log);
    if (!built.ok) throw new Error(built.message);
    return proofVerdict(proveOrder({ bundle: built.bundle, pin: log.pin, agent: 'anna', memory: { protectedChange: null, lastOrders: () => [], hasRun: () => false }, now: log.now.getTime(), openPgp }));
  }

  attack('order on an approval commit that names another approval, under an allow of the stolen key', {
    rules: ['T7', 'T13'], expects: 'QuorumNotMet',
    attempt: () => ordered(() => stage.world.pin),
    twin: () => ordered((document) => documentDigest(document as unknown as AnyDocument)),
  });
});

describe('a commit that names a change', () => {
  /** carol, who has no say, writes an Environment and names its change; alice, who has one, brings it to main with `git`. */
  async function broughtBy(how: (alice: Desk, commit: string) => Promise<unknown>): Promise<Verdict> {
    const environment = doc('Environment', `stage-${++made}`, { order: 7 }) as unknown as AnyDocument;
    const digest = changeDigest(stage.world.pin, await stage.change('Environment', environment.metadata.name, environment));
    const [carol, alice] = [await deskOf(people().carol), await deskOf(people().alice)];
    await mkdir(join(carol.folder, 'environments'), { recursive: true });
    await writeFile(join(carol.folder, 'environments', `${environment.metadata.name}.yaml`), yamlOf(environment));
    await carol.git('add', '--', 'environments');
    await carol.git('commit', '-q', '-m', 'Add an environment', '-m', `Stella-Change: ${digest}`);
    await alice.git('fetch', '-q', carol.folder, 'HEAD');
    await how(alice, 'FETCH_HEAD');
    await alice.git('push', '-q', 'origin', 'HEAD:refs/heads/main');
    await stage.settle();
    return stage.changeVerdict(environment);
  }

  attack('protected change whose commit somebody entitled picked, and signed by that', {
    rules: ['T8', 'T15'], expects: 'ChangeRefused',
    attempt: () => broughtBy((alice, commit) => alice.git('cherry-pick', commit)),
    twin: () => broughtBy(async (alice, commit) => {
      await alice.git('cherry-pick', '--no-commit', commit);
      await alice.git('commit', '-q', '-m', await alice.git('log', '-1', '--format=%B', commit));
    }),
  });
});

/** An Environment that is new, approved by carol's commit on a branch of her own. */
async function changeBy(more: (digest: Digest) => Promise<string>): Promise<Verdict> {
  const environment = doc('Environment', `stage-${++made}`, { order: 7 });
  const changes = await stage.change('Environment', environment.metadata.name, environment as unknown as AnyDocument);
  const digest = changeDigest(stage.world.pin, changes);
  const document = doc('Approval', `plain-${++made}`, { type: 'change', action: 'approve', digest, changes, nonce: String(made).padStart(32, '0') });
  await stage.world.commit([environment as unknown as AnyDocument], { by: people().alice });
  const desk = await deskOf(people().bob);
  await commitApproval(desk, document, { trailers: `${trailerOf(document)}${await more(digest)}` });
  await desk.git('push', '-q', 'origin', `HEAD:refs/heads/stella/approvals/by-commit/${++made}`);
  await stage.settle();
  return stage.changeVerdict(environment as unknown as AnyDocument);
}
