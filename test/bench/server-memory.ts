import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { chmod, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { createTemporaryFolder } from '../fakes/git-repository.ts';
import { EVIDENCE_REF, TARGET_REF, World } from '../fakes/world.ts';
import { changedPromotion, largeRepository } from './large-world.ts';
import type { ServerOrder, ServerReport } from './server-process.ts';

const DOCUMENTS = 10_000;
const PASSES = 1_000;
/** Between two commits. */
const PASSES_PER_COMMIT = 20;
/** So that the 1,000 passes see about 1,000 changes. */
const PROMOTIONS_PER_COMMIT = 20;

/**
 * Resident memory of a server (with its Postgres mirror, interfaces and all) after it has read 10,000 documents and reconciled 1,000 times,
 * with 1,000 promotions changed meanwhile. What lives in processes of their own, as Postgres and git, is not counted.
 */
export async function serverRssMb(): Promise<number> {
  // Nothing runs, because nobody approves: every change is a request that replaces another one.
  const world = await World.create(largeRepository(DOCUMENTS, { approvals: { people: 1 } }));
  const folder = await createTemporaryFolder();
  const server = fork(new URL('./server-process.ts', import.meta.url), [await writeConfig(world, folder)], { execArgv: ['--expose-gc'], env: { PATH: process.env['PATH'], STELLA_ENV: 'development' } });
  const ended = once(server, 'exit');
  try {
    await Promise.race([once(server, 'message'), ended.then(() => Promise.reject(new Error('the server did not start')))]);
    const report = await reconcileMany(world, server);
    server.send({ passes: 0 } satisfies ServerOrder);
    await ended;
    return report.rssMb;
  } finally {
    server.kill();
    await ended;
    await world.close();
    await rm(folder, { recursive: true, force: true });
  }
}

async function reconcileMany(world: World, server: ChildProcess): Promise<ServerReport> {
  let report = await passUntil(server, PASSES_PER_COMMIT);
  tell('at the start', report);
  for (let round = 0; report.passes < PASSES; round += PROMOTIONS_PER_COMMIT) {
    const files = Array.from({ length: PROMOTIONS_PER_COMMIT }, (_, i) => changedPromotion(DOCUMENTS, round + i));
    await world.commit([], { files: Object.assign({}, ...files) as Record<string, string> });
    report = await passUntil(server, report.passes + PASSES_PER_COMMIT);
    if (report.failures > 0) throw new Error(`${report.failures} passes failed`);
    if (round % 200 === 0) tell('so far', report);
  }
  tell('at the end', report);
  return report;
}

async function passUntil(server: ChildProcess, passes: number): Promise<ServerReport> {
  server.send({ passes } satisfies ServerOrder);
  const [report] = (await once(server, 'message')) as [ServerReport];
  return report;
}

function tell(when: string, { passes, records, rssMb, heapMb }: ServerReport): void {
  process.stderr.write(`${when}: ${passes} passes, ${records} records, ${rssMb.toFixed(0)} MB resident, ${heapMb.toFixed(0)} MB of it used on the heap\n`);
}

/** The configuration that a user would write. */
async function writeConfig(world: World, folder: string): Promise<string> {
  const { keys } = world;
  // An embedded Postgres of root runs as another account, which has to get through; the keys in the folder are readable for us alone.
  await chmod(folder, 0o711);
  const file = async (name: string, content: string): Promise<string> => {
    await writeFile(join(folder, name), content, { mode: 0o600 });
    return join(folder, name);
  };
  return file('server.yaml', stringify({
    repository: { url: world.repository.folder, branch: TARGET_REF.replace('refs/heads/', '') }, evidence: { branch: EVIDENCE_REF.replace('refs/heads/', '') }, genesis: world.pin, dataFolder: join(folder, 'server'),
    keys: {
      decisions: await file('decisions.pem', keys.decisions.export({ format: 'pem', type: 'pkcs8' }).toString()), evidenceCommits: keys.commits.privateKeyPath,
      agentCa: await file('agent-ca.pem', keys.agentCaKeyPem),
    },
    http: { host: '127.0.0.1', port: 0 }, agents: { host: '127.0.0.1', channelPort: 0, enrolmentPort: 0 }, storage: { driver: 'filesystem', objectStore: 'seed-fs' }, pollSeconds: 60,
  }));
}
