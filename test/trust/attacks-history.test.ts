import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { CommitId } from '../../src/core/model/commit-id.ts';
import { digestOfBytes } from '../../src/core/model/digest.ts';
import type { AnyDocument, DocumentOf, Rewrite, SpecOf } from '../../src/core/model/documents.ts';
import { limits } from '../../src/core/model/limits.ts';
import { changeDigest, rewriteDigest } from '../../src/core/model/preimages.ts';
import type { SshKey } from '../fakes/git-repository.ts';
import { doc, pathOf, TARGET_REF, yamlOf } from '../fakes/world.ts';
import { attack, type Verdict } from './attack.ts';
import { releaseOf, Stage } from './attacks-fixture.ts';

/** Attacks that give the target branch another history. A rewrite takes two admins; nobody is asked in dev, one sre in prod. */

let stage: Stage;
let version = 1;

beforeAll(async () => {
  stage = await Stage.open({
    documents: [
      doc('Environment', 'prod', { order: 2, approvals: { people: 1, roles: [{ role: 'sre', count: 1 }] } }),
      doc('Application', 'shop', { components: ['api'], deployment: { type: 'directory', files: ['deploy.sh'] } }),
    ] as readonly AnyDocument[],
    files: { 'deploy.sh': 'true\n' },
    root: { quorums: { default: { people: 2, roles: [{ role: 'admin', count: 2 }] }, create: { people: 1, roles: [{ role: 'admin', count: 1 }] } } },
  });
});
afterAll(() => stage.close());

const people = () => stage.world.people;

/** A release that is locked, and a signed request for it. */
async function lockedRelease(): Promise<string> {
  const release = `${(version += 1)}.0`;
  stage.world.registry.put(`shop/api:${release}`, release);
  await stage.world.commit([releaseOf(release)], { by: people().alice });
  await stage.settle();
  return release;
}

const tipOf = async (): Promise<CommitId> => (await stage.world.repository.tip())!;

/** Moves the branch to a commit with these documents on top of `parent`. */
async function force(parent: CommitId, documents: readonly AnyDocument[], by: SshKey = people().alice): Promise<Rewrite> {
  const from = await tipOf();
  await stage.world.repository.setBranch('main', parent);
  const to = documents.length === 0 ? parent : await stage.world.commit(documents, { by });
  return { ref: TARGET_REF, from, to };
}

/** Passes until nothing more happens; a stalled one ends it. */
async function look(environment: string, release: string): Promise<Verdict> {
  const codes = new Set<string>();
  for (let i = 0; i < 6; i++) {
    const report = await stage.world.pass();
    if (report.fault !== null) codes.add(report.fault.code);
    else codes.clear();
  }
  const seen = await stage.verdict(environment, release);
  return { ...seen, codes: [...codes, ...seen.codes] };
}

async function accept(rewrite: Rewrite, by: readonly SshKey[], more: Partial<SpecOf['Approval']> = {}): Promise<void> {
  for (const key of by) await deliver(await stage.world.approval(key, { type: 'rewrite', digest: rewriteDigest(stage.world.pin, rewrite), rewrite, ...more }));
}

/** The tip is not believed, so approvals come by branches of their own. */
async function deliver(approval: DocumentOf<'Approval'>): Promise<void> {
  const { name } = approval.metadata;
  await stage.world.commit([], { branch: `stella/approvals/rewrite/${name}`, files: { [`approvals/${name}.yaml`]: JSON.stringify(approval) } });
}

/** The old history comes back, so that the next attack begins from a branch that is followed. */
async function restore({ from }: Rewrite): Promise<void> {
  await stage.world.repository.setBranch('main', from);
  await stage.settle();
}

const request = (release: string, by: SshKey = people().alice): Promise<DocumentOf<'Promotion'>> => stage.world.promotion('dev', release, { by });

attack('force-push of the target branch', {
  rules: ['T25'], expects: 'Rewound',
  attempt: async () => {
    const release = await lockedRelease();
    const rewrite = await force((await stage.world.repository.git(['rev-parse', 'main~1'])) as CommitId, [await request(release)]);
    const seen = await look('dev', release);
    await restore(rewrite);
    return seen;
  },
  twin: async () => {
    const release = await lockedRelease();
    await stage.world.commit([await request(release)], { by: people().alice });
    return look('dev', release);
  },
});

attack('teleport to another signed commit', {
  rules: ['T25'], expects: 'Rewound',
  attempt: async () => {
    const release = await lockedRelease();
    await stage.world.repository.setBranch('elsewhere', (await stage.world.repository.git(['rev-parse', 'main~1'])) as CommitId);
    const signed = await stage.world.commit([await request(release)], { by: people().bob, branch: 'elsewhere' });
    const rewrite = await force(signed, []);
    const seen = await look('dev', release);
    await restore(rewrite);
    return seen;
  },
  twin: async () => {
    const release = await lockedRelease();
    await stage.world.repository.setBranch('on-top', await tipOf());
    const signed = await stage.world.commit([await request(release)], { by: people().bob, branch: 'on-top' });
    await stage.world.repository.merge({ from: signed, message: 'Merge', sshKey: people().alice });
    return look('dev', release);
  },
});

attack('rewrite accepted by one person where two are needed', {
  rules: ['T21', 'T25'], expects: 'Rewound',
  attempt: async () => {
    const release = await lockedRelease();
    const rewrite = await force((await stage.world.repository.git(['rev-parse', 'main~1'])) as CommitId, [releaseOf(release), await request(release)]);
    await accept(rewrite, [people().alice, people().alice]);
    const seen = await look('dev', release);
    await restore(rewrite);
    return seen;
  },
  twin: async () => {
    const release = await lockedRelease();
    const rewrite = await force((await stage.world.repository.git(['rev-parse', 'main~1'])) as CommitId, [releaseOf(release), await request(release)]);
    await accept(rewrite, [people().alice, people().bob]);
    return look('dev', release);
  },
});

attack('rewrite accepted by people without the role', {
  rules: ['T21', 'T25'], expects: 'Rewound',
  attempt: async () => {
    const release = await lockedRelease();
    const rewrite = await force((await stage.world.repository.git(['rev-parse', 'main~1'])) as CommitId, [releaseOf(release), await request(release)]);
    await accept(rewrite, [people().bob, people().carol]);
    const seen = await look('dev', release);
    await restore(rewrite);
    return seen;
  },
  twin: async () => {
    const release = await lockedRelease();
    const rewrite = await force((await stage.world.repository.git(['rev-parse', 'main~1'])) as CommitId, [releaseOf(release), await request(release)]);
    await accept(rewrite, [people().bob, people().carol, people().alice]);
    return look('dev', release);
  },
});

attack('acceptance of another rewrite', {
  rules: ['T25'], expects: 'Rewound',
  attempt: async () => {
    const release = await lockedRelease();
    const rewrite = await force((await stage.world.repository.git(['rev-parse', 'main~1'])) as CommitId, [releaseOf(release), await request(release)]);
    const accepted = { ...rewrite, to: (await stage.world.repository.git(['rev-parse', 'main~1'])) as CommitId };
    await accept(rewrite, [people().alice, people().bob], { digest: rewriteDigest(stage.world.pin, accepted) });
    const seen = await look('dev', release);
    await restore(rewrite);
    return seen;
  },
  twin: async () => {
    const release = await lockedRelease();
    const rewrite = await force((await stage.world.repository.git(['rev-parse', 'main~1'])) as CommitId, [releaseOf(release), await request(release)]);
    await accept(rewrite, [people().alice, people().bob]);
    return look('dev', release);
  },
});

/** Whoever stole bob's key fills what the log takes of his withdrawals, accepts, and bob takes that back with the same key. */
async function crowdedOut(takesBack: boolean): Promise<Verdict> {
  const release = await lockedRelease();
  const rewrite = await force((await stage.world.repository.git(['rev-parse', 'main~1'])) as CommitId, [releaseOf(release), await request(release)]);
  const junk = await Promise.all(Array.from({ length: limits.approvalsPerPerson }, (_, i) => stage.world.approval(people().bob, { type: 'rewrite', action: 'withdraw', digest: digestOfBytes(`junk ${release} ${i}`), rewrite })));
  await stage.world.commit([], { branch: `stella/approvals/junk/${release}`, files: Object.fromEntries(junk.map((one) => [`approvals/${one.metadata.name}.yaml`, JSON.stringify(one)])) });
  await look('dev', release);
  await accept(rewrite, [people().bob]);
  if (takesBack) await accept(rewrite, [people().bob], { action: 'withdraw' });
  await look('dev', release);
  await accept(rewrite, [people().alice]);
  const seen = await look('dev', release);
  if (takesBack) await restore(rewrite);
  return seen;
}

attack('withdrawal of the acceptance of a rewrite crowded out by junk under a stolen key', {
  rules: ['T23', 'T25', 'T31'], expects: 'Rewound', attempt: () => crowdedOut(true), twin: () => crowdedOut(false),
});

describe('acceptance', () => {
  let [there, back] = ['', ''];

  attack('acceptance of the same rewrite replayed', {
    rules: ['T7', 'T25'], expects: 'Rewound',
    attempt: async () => {
      const release = await lockedRelease();
      const first = await force((await stage.world.repository.git(['rev-parse', 'main~1'])) as CommitId, [releaseOf(release), doc('Configuration', 'dev/shop', { variables: { A: release } })]);
      const digest = rewriteDigest(stage.world.pin, first);
      const approvals = await Promise.all([people().alice, people().bob].map((key) => stage.world.approval(key, { type: 'rewrite', digest, rewrite: first })));
      for (const approval of approvals) await deliver(approval);
      expect((await look('dev', release)).codes).not.toContain('Rewound');
      const home = await force(first.from, []);
      await accept(home, [people().alice, people().bob]);
      expect((await look('dev', release)).codes).not.toContain('Rewound');
      const again = await force(first.to, []);
      expect(rewriteDigest(stage.world.pin, again)).toBe(digest);
      for (const approval of approvals) await deliver(approval);
      [there, back] = [again.to, again.from];
      return look('dev', release);
    },
    twin: async () => {
      const rewrite = { ref: TARGET_REF, from: back as CommitId, to: there as CommitId };
      await accept(rewrite, [people().alice, people().bob]);
      const seen = await look('dev', 'none');
      return { ...seen, accepted: !seen.codes.includes('Rewound') && (await stage.world.state()).tip?.commit === there };
    },
  });

  it('that somebody with a say rejects does not count, and what the rewrite does not touch goes on meanwhile', async () => {
    const release = await lockedRelease();
    await stage.world.commit([await request(release)], { by: people().alice });
    await stage.settle();
    await stage.world.commit([await stage.world.promotion('prod', release, { by: people().alice })], { by: people().alice });
    await stage.settle();
    const next = await lockedRelease();
    const rewrite = await force(await tipOf(), [await request(next)]);
    await stage.settle();
    const other = await force(rewrite.from, [doc('Configuration', 'dev/shop', { variables: { B: release } })]);
    await accept(other, [people().alice, people().bob]);
    await accept(other, [people().bob], { action: 'reject' });
    await deliver(await stage.promotionApproval(people().carol, 'prod'));
    expect((await look('dev', next)).codes).toContain('Rewound');
    expect((await stage.app('prod')).release).toBe(release);
    expect((await stage.world.state()).tip?.commit).toBe(other.from);
    await restore(other);
  });
});

describe('requesters across a rewrite', () => {
  /** carol's script is in the lock of a release; then the branch is put back to before she wrote it, and the release asked for. */
  async function shipped(approver: SshKey, isGone = false): Promise<Verdict> {
    const release = `${(version += 1)}.0`;
    stage.world.registry.put(`shop/api:${release}`, release);
    const before = await tipOf();
    await stage.world.commit([], { files: { 'deploy.sh': `echo ${release}\n` }, by: people().carol });
    await stage.world.commit([releaseOf(release)], { by: people().alice });
    await stage.settle();
    await accept(await force(before, [releaseOf(release)]), [people().alice, people().bob]);
    expect((await look('prod', release)).codes).not.toContain('Rewound');
    if (isGone) await stage.restart();
    await stage.world.commit([await stage.world.promotion('prod', release, { by: people().alice })], { by: people().alice });
    await stage.settle();
    if (!isGone) await deliver(await stage.promotionApproval(approver, 'prod'));
    return look('prod', release);
  }

  attack('script of a locked release, approved by its author after a rewrite that leaves its commit out', {
    rules: ['T19', 'T25'], expects: 'Requester', attempt: () => shipped(people().carol), twin: () => shipped(people().bob),
  });

  attack('script of a locked release whose history nobody has any more', {
    rules: ['T12', 'T19', 'T25'], expects: 'PlanInvalid', attempt: () => shipped(people().carol, true), twin: () => shipped(people().bob),
  });

  /** prod goes from one release to the next; then the branch is put back to before the second request. */
  async function putBack(): Promise<readonly [string, string]> {
    const [first, second] = [await lockedRelease(), await lockedRelease()];
    for (const release of [first, second]) {
      await stage.world.commit([await request(release)], { by: people().alice });
      await stage.settle();
      await stage.world.commit([await stage.world.promotion('prod', release, { by: people().alice })], { by: people().alice });
      await stage.settle();
      await stage.world.commit([await stage.promotionApproval(people().carol, 'prod')], {});
      await stage.settle();
      expect((await stage.app('prod')).release).toBe(release);
    }
    const rewrite = await force((await stage.world.repository.git(['rev-parse', 'main~2'])) as CommitId, [doc('Configuration', 'dev/shop', { variables: { C: second } })], people().bob);
    await accept(rewrite, [people().alice, people().bob]);
    return [first, (await look('prod', first)).codes.join()];
  }

  attack('what a rewrite undid is approved by who rewrote it', {
    rules: ['T19', 'T20', 'T25'], expects: 'RequesterUnknown',
    attempt: async () => {
      const [first] = await putBack();
      const executed = stage.executed('prod', first).length;
      await stage.world.commit([await stage.promotionApproval(people().bob, 'prod')], {});
      const seen = await look('prod', first);
      return { ...seen, executed: seen.executed.slice(executed) };
    },
    twin: async () => {
      const { release } = { release: (await lockedRelease()) };
      await stage.world.commit([await request(release)], { by: people().alice });
      await stage.settle();
      await stage.world.commit([await stage.world.promotion('prod', release, { by: people().alice })], { by: people().alice });
      await stage.settle();
      await stage.world.commit([await stage.promotionApproval(people().bob, 'prod')], {});
      return look('prod', release);
    },
  });
});

describe('a merge that brings a protected document', () => {
  let made = 0;
  const fresh = (): DocumentOf<'Environment'> => doc('Environment', `merged-${(made += 1)}`, { order: 50 + made });

  /** A commit of `people` with the trailer that would put the document in force, if it had one parent. */
  async function written(document: DocumentOf<'Environment'>, otherParents: number): Promise<Verdict> {
    const digest = changeDigest(stage.world.pin, await stage.change('Environment', document.metadata.name, document));
    const tip = await tipOf();
    const sides: CommitId[] = [];
    for (let i = 0; i < otherParents; i++) {
      await stage.world.repository.setBranch(`side-${made}-${i}`, tip);
      sides.push(await stage.world.repository.commit({ branch: `side-${made}-${i}`, message: 'Side', files: { [`notes/${made}-${i}.txt`]: 'x' }, sshKey: people().alice }));
    }
    await stage.world.repository.commit({ parents: [tip, ...sides], message: `Merge\n\nStella-Change: ${digest}`, files: { [pathOf(document)]: yamlOf(document) }, sshKey: people().alice });
    await stage.settle();
    return stage.changeVerdict(document);
  }

  attack('evil merge with a protected document', { rules: ['T15', 'T26'], expects: 'ChangePending', attempt: () => written(fresh(), 1), twin: () => written(fresh(), 0) });
  attack('octopus merge with a protected document', { rules: ['T15', 'T26'], expects: 'ChangePending', attempt: () => written(fresh(), 2), twin: () => written(fresh(), 0) });
});
