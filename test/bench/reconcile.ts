import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import { forkGitLauncher } from '../../src/adapters/git/git-launcher.ts';
import { openMirror, type Mirror } from '../../src/adapters/git/mirror.ts';
import { openCommitSigner } from '../../src/adapters/keys/commit-key.ts';
import { digestOfBytes } from '../../src/core/model/digest.ts';
import type { CommitId } from '../../src/core/model/commit-id.ts';
import { createRepository, runProgram, type TestRepository } from '../fakes/git-repository.ts';
import { doc, EVIDENCE_REF, pathOf, recordSignerOf, TARGET_REF, World, yamlOf } from '../fakes/world.ts';
import { median } from './figure.ts';
import { startGitServerThread } from './git-server-thread.ts';

const ROUNDS = 30;
const WARM_UPS = 3;

/** What somebody would write without this project: the changed promotion is copied to an evidence branch. Nothing is checked or signed. */
const PLAIN_GIT = `set -e
cd "$1"
git fetch -q origin main
new=$(git rev-parse FETCH_HEAD)
path=$(git diff --name-only refs/seen/main "$new")
git show "$new:$path" > "evidence/$new.yaml"
cd evidence
git add "$new.yaml"
git commit -q -m "Promote $path"
git push -q origin evidence
git update-ref refs/seen/main "$new"
`;

/**
 * From the moment when the push of one promotion has returned until its decision is pushed, against a shell script of plain git that
 * fetches, diffs, reads, commits and pushes. Both are woken at that moment, by the same http server, in turn.
 * @returns ratio of the medians of 30 rounds each
 */
export async function reconcileVsPlainGit(): Promise<number> {
  const world = await World.create({ idle: true });
  const server = await startGitServerThread(world.folder);
  const commands = forkGitLauncher();
  let mirror: Mirror | null = null;
  try {
    const settings = { environment: { PATH: process.env['PATH'] }, commands };
    mirror = await openMirror({ folder: join(world.folder, 'server'), url: server.urlOf('origin.git'), settings, ownPid: process.pid });
    const ours = await startOurs(world, mirror, server.urlOf('origin.git'));
    const plain = await startPlainGit(world, server.urlOf('plain.git'));
    const times: { ours: number; plain: number }[] = [];
    for (let round = -WARM_UPS; round < ROUNDS; round += 1) {
      const first = await (round % 2 === 0 ? ours : plain)(round);
      const second = await (round % 2 === 0 ? plain : ours)(round);
      if (round >= 0) times.push(round % 2 === 0 ? { ours: first, plain: second } : { ours: second, plain: first });
    }
    const oursMs = median(times.map((t) => t.ours));
    const plainMs = median(times.map((t) => t.plain));
    process.stderr.write(`a decision is pushed ${oursMs.toFixed(1)} ms after the push, by plain git ${plainMs.toFixed(1)} ms\n`);
    return oursMs / plainMs;
  } finally {
    await mirror?.close();
    await commands.close();
    await server.close();
    await world.close();
  }
}

type Round = (round: number) => Promise<number>;

const version = (round: number): string => `1.${round + WARM_UPS}`;

/** A reconciler as a server runs it; its wake-up is a call. */
async function startOurs(world: World, mirror: Mirror, url: string): Promise<Round> {
  let decidedAt = 0;
  const { privateKeyPath } = world.keys.commits;
  const commits = openCommitSigner({ text: await readFile(privateKeyPath, 'utf8'), file: null, where: privateKeyPath, environment: {} });
  const { reader, remote, writer } = mirror;
  const reconciler = await world.reconciler({
    reader, remote, evidence: { reader, remote, branch: writer.openBranch(EVIDENCE_REF) },
    signers: { records: recordSignerOf(world.keys.decisions), commits },
    onRecord: ({ record }) => {
      if (record.type === 'promotion-decision') decidedAt = performance.now();
    },
  });
  const developer = await cloneOf(world, url, 'developer.git');
  const releases = Array.from({ length: ROUNDS + WARM_UPS }, (_, i) => doc('Release', `shop/${version(i - WARM_UPS)}`, { components: { api: { digest: digestOfBytes(`api ${i}`) } } }));
  await developer.commit({ message: 'Release', sshKey: world.people.alice, files: Object.fromEntries(releases.map((r) => [pathOf(r), yamlOf(r)])) });
  await push(developer, url);
  await world.settle();
  return async (round) => {
    await commitPromotion(world, developer, round);
    await push(developer, url);
    const pushedAt = performance.now();
    decidedAt = 0;
    const { fault } = await reconciler.pass();
    if (fault !== null || decidedAt === 0) throw new Error(`round ${round} brought no decision: ${fault?.message ?? 'nothing was decided'}`);
    const elapsedMs = decidedAt - pushedAt;
    // Records the outcome, so that the next round finds no run under way.
    await reconciler.pass();
    return elapsedMs;
  };
}

/** A clone with a worktree of the evidence branch, and the script on it. */
async function startPlainGit(world: World, url: string): Promise<Round> {
  const origin = await createRepository({ folder: join(world.folder, 'plain.git') });
  await origin.git(['fetch', '-q', world.repository.folder, `+${TARGET_REF}:${TARGET_REF}`]);
  const developer = await cloneOf(world, url, 'plain-developer.git');
  const folder = join(world.folder, 'plain');
  const script = join(world.folder, 'plain.sh');
  await writeFile(script, PLAIN_GIT);
  await runProgram('git', ['clone', '-q', url, folder]);
  const git = (...args: readonly string[]): Promise<Buffer> => runProgram('git', ['-C', folder, ...args]);
  for (const [name, value] of [['user.name', 'plain'], ['user.email', 'plain@example.test'], ['gc.auto', '0'], ['maintenance.auto', 'false']] as const) await git('config', name, value);
  await git('update-ref', 'refs/seen/main', 'HEAD');
  await mkdir(join(folder, 'evidence'), { recursive: true });
  await git('worktree', 'add', '-q', '--orphan', '-b', 'evidence', join(folder, 'evidence')).catch(() => git('worktree', 'add', '-q', '-b', 'evidence', join(folder, 'evidence')));
  return async (round) => {
    await commitPromotion(world, developer, round);
    await push(developer, url);
    const pushedAt = performance.now();
    await runProgram('sh', [script, folder]);
    return performance.now() - pushedAt;
  };
}

async function cloneOf(world: World, url: string, name: string): Promise<TestRepository> {
  const clone = await createRepository({ folder: join(world.folder, name) });
  await clone.git(['fetch', '-q', url, `+${TARGET_REF}:${TARGET_REF}`]);
  return clone;
}

async function commitPromotion(world: World, developer: TestRepository, round: number): Promise<CommitId> {
  const promotion = doc('Promotion', 'dev/shop', { release: version(round) });
  return developer.commit({ message: 'Promote', sshKey: world.people.alice, files: { [pathOf(promotion)]: yamlOf(promotion) } });
}

async function push(developer: TestRepository, url: string): Promise<void> {
  await developer.git(['push', '-q', url, `${TARGET_REF}:${TARGET_REF}`]);
}
