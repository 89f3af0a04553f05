import { appOf, must, until, type Person, type Stage } from './stage.ts';

export type Tell = (line: string) => void;
/** One step: what it says, and what makes it so. `play` throws when anything differs. */
export type Scene = { readonly title: string; readonly play: (stage: Stage, tell: Tell) => Promise<void> };

const RELEASE = (version: string, api: string, web: string): string =>
  `apiVersion: stella/v1alpha1\nkind: Release\nmetadata:\n  name: shop/${version}\nspec:\n  components:\n    api:\n      tag: ${api}\n    web:\n      tag: ${web}\n`;

const short = (digest: string | null | undefined): string => (digest ?? 'nothing').slice(0, 19);

async function pull(stage: Stage, person: Person): Promise<void> {
  await stage.git(person, 'fetch', '-q', '--prune', 'origin');
  await stage.git(person, 'reset', '-q', '--hard', 'origin/main');
}

/** Somebody asks for a release with the command line, on main. */
async function ask(stage: Stage, person: Person, release: string, environment: string): Promise<void> {
  await pull(stage, person);
  const result = await stage.stella(person, 'promote', `shop/${release}`, '--to', environment, '--here');
  must(result.exitCode === 0, `stella promote says: ${result.stderr}${result.stdout}`);
  await stage.git(person, 'push', '-q', 'origin', 'HEAD:main');
}

async function approve(stage: Stage, person: Person): Promise<string> {
  return (await sign(stage, person)).digest;
}

/** @param options such as `--no-push`, which leaves the approval on a local branch */
async function sign(stage: Stage, person: Person, ...options: readonly string[]): Promise<{ readonly digest: string; readonly branch: string }> {
  await stage.git(person, 'fetch', '-q', '--prune', 'origin');
  const result = await stage.stella(person, 'approve', 'prod/shop', '--yes', '-o', 'json', ...options);
  must(result.exitCode === 0, `stella approve says: ${result.stderr}${result.stdout}`);
  const { digest, branch } = JSON.parse(result.stdout) as { digest?: string; branch?: string };
  must(digest && branch, 'stella approve named no digest or no branch');
  return { digest, branch };
}

async function deployed(stage: Stage, environment: string, release: string, generation?: number): Promise<void> {
  await until(stage, `${environment} runs ${release}`, () => {
    const app = appOf(stage, environment);
    return app !== undefined && app.openRun === null && app.clean && app.release === release && (generation === undefined || app.generation === generation);
  }, 30);
}

/** Lines of `stella explain`, as its JSON has them. */
type Line = { readonly about: string; readonly code: string | null; readonly subject: string; readonly text: string; readonly who: readonly string[]; readonly command: string | null };

async function explain(stage: Stage, person: Person): Promise<readonly Line[]> {
  await pull(stage, person);
  const result = await stage.stella(person, 'explain', 'prod/shop', '-o', 'json');
  const parsed = JSON.parse(result.stdout) as { lines?: readonly Line[] } | readonly { lines: readonly Line[] }[];
  return (Array.isArray(parsed) ? parsed[0]?.lines : (parsed as { lines?: readonly Line[] }).lines) ?? [];
}

/** Waits until prod's last decision is about the newest promotion and is no allow. */
async function waiting(stage: Stage, after: number): Promise<void> {
  await until(stage, 'a decision about prod', () => {
    const last = appOf(stage, 'prod')?.lastDecision;
    return last !== null && last !== undefined && last.seq >= after && last.outcome !== 'allow';
  });
}

async function firstRelease(stage: Stage, tell: Tell): Promise<void> {
  await pull(stage, 'alice');
  await stage.write('alice', 'releases/shop/1.4.0.yaml', RELEASE('1.4.0', '1.4.0', '1.4.0'));
  await stage.git('alice', 'add', '.');
  await stage.git('alice', 'commit', '-q', '-m', 'Release shop 1.4.0');
  await stage.git('alice', 'push', '-q', 'origin', 'HEAD:main');
  const lock = await until(stage, 'a lock of shop/1.4.0', () => stage.state().locks.get('shop/1.4.0'));
  for (const c of lock.lock.components) tell(`${c.repository}:1.4.0 → ${short(c.digest)}`);
  await ask(stage, 'alice', '1.4.0', 'dev');
  await deployed(stage, 'dev', '1.4.0');
  must((await stage.onTarget('dev', 'current/api/app.txt')) === 'api one\n', 'dev holds another content than that of the image');
  tell('dev runs it: the agent pulled by digest, unpacked, and checked its health');
}

async function movedTag(stage: Stage, tell: Tell): Promise<void> {
  const before = stage.state().locks.get('shop/1.4.0')?.digest;
  const moved = await stage.image('api', '1.4.0', 'api, but not what was released\n');
  const condition = await until(stage, 'the move to be reported', () => stage.conditions().find((c) => c.reason === 'TagMoved'));
  must(stage.state().locks.get('shop/1.4.0')?.digest === before, 'the lock followed the tag');
  tell(`reported: ${condition.message.split(';')[0] ?? ''}`);
  tell(`the tag is at ${short(moved)} now, the lock stays at ${short(before)}`);
}

async function selfApproval(stage: Stage, tell: Tell): Promise<void> {
  await ask(stage, 'bob', '1.4.0', 'staging');
  await deployed(stage, 'staging', '1.4.0');
  tell('staging runs 1.4.0: it asks for no approvals');
  await ask(stage, 'bob', '1.4.0', 'prod');
  await waiting(stage, 0);
  const asked = appOf(stage, 'prod')?.lastDecision?.seq ?? 0;
  await pull(stage, 'bob');
  await approve(stage, 'bob');
  await waiting(stage, asked + 1);
  const lines = await explain(stage, 'bob');
  const refused = lines.find((l) => l.about === 'rejected-approval' && l.code === 'Requester');
  const gate = lines.find((l) => l.code === 'ApprovalsMissing');
  must(refused && gate, `explain does not say why: ${JSON.stringify(lines.map((l) => l.code))}`);
  must(gate.who.includes('carol') && !gate.who.includes('bob'), `explain says that these could approve: ${gate.who.join(', ')}`);
  must(appOf(stage, 'prod')?.generation === 0, 'prod was deployed on the approval of its requester');
  tell(`blocked: ${refused.text}`);
  tell(`${gate.text} Who could: ${gate.who.join(', ')}, with: ${gate.command ?? ''}`);
}

async function secondPerson(stage: Stage, tell: Tell): Promise<void> {
  await pull(stage, 'carol');
  const digest = await approve(stage, 'carol');
  await deployed(stage, 'prod', '1.4.0', 1);
  const sticker = JSON.parse((await stage.onTarget('prod', 'stella.version.json')) ?? '{}') as { release?: string; promotion?: string; approvers?: readonly string[] };
  must(sticker.release === '1.4.0' && sticker.promotion === digest && sticker.approvers?.join() === 'carol', `the sticker says ${JSON.stringify(sticker)}`);
  tell(`allowed and deployed: promotion ${short(digest)}, approved by carol`);
  tell('stella.version.json on the target names release, digests, promotion, requester and approver');
}

async function squashMerge(stage: Stage, tell: Tell): Promise<void> {
  await pull(stage, 'alice');
  await stage.write('alice', 'releases/shop/1.5.0.yaml', RELEASE('1.5.0', '1.5.0', '1.5.0'));
  await stage.git('alice', 'add', '.');
  await stage.git('alice', 'commit', '-q', '-m', 'Release shop 1.5.0');
  await stage.git('alice', 'push', '-q', 'origin', 'HEAD:main');
  await until(stage, 'a lock of shop/1.5.0', () => stage.state().locks.get('shop/1.5.0'));
  for (const environment of ['dev', 'staging']) {
    await ask(stage, 'alice', '1.5.0', environment);
    await deployed(stage, environment, '1.5.0');
  }
  await pull(stage, 'alice');
  await stage.git('alice', 'checkout', '-q', '-b', 'promote/prod-1.5.0');
  must((await stage.stella('alice', 'promote', 'shop/1.5.0', '--to', 'prod', '--here')).exitCode === 0, 'stella promote failed on a branch');
  await stage.git('alice', 'push', '-q', 'origin', 'HEAD:promote/prod-1.5.0');
  await stage.git('carol', 'fetch', '-q', '--prune', 'origin');
  await stage.git('carol', 'checkout', '-q', '-B', 'review', 'origin/promote/prod-1.5.0');
  const digest = await approve(stage, 'carol');
  tell(`carol approved the branch before the merge: ${short(digest)}`);
  await stage.git('alice', 'checkout', '-q', 'main');
  await pull(stage, 'alice');
  await stage.git('alice', 'merge', '-q', '--squash', 'promote/prod-1.5.0');
  await stage.git('alice', '-c', 'user.name=forge', '-c', 'user.email=forge@example.test', 'commit', '-q', '--no-gpg-sign', '-m', 'Promote shop 1.5.0 to prod (#7)');
  await stage.git('alice', 'push', '-q', 'origin', 'HEAD:main');
  await deployed(stage, 'prod', '1.5.0', 2);
  await stage.git('carol', 'checkout', '-q', 'main');
  const sticker = JSON.parse((await stage.onTarget('prod', 'stella.version.json')) ?? '{}') as { promotion?: string; requesters?: readonly string[] };
  must(sticker.promotion === digest, `the squashed commit gives ${short(sticker.promotion)}`);
  must(sticker.requesters?.join() === 'alice', `the requesters are ${String(sticker.requesters)}`);
  tell('the forge squashed it into an unsigned commit: same promotion digest, same approval, and alice is still known to have asked');
}

async function editAfterApproval(stage: Stage, tell: Tell): Promise<void> {
  const change = async (seconds: number): Promise<void> => {
    await pull(stage, 'alice');
    await stage.write('alice', 'apps/shop/env/prod.conf', `cache_seconds = ${seconds}\n`);
    await stage.git('alice', 'commit', '-q', '-a', '-m', `Cache for ${seconds} seconds`);
    await stage.git('alice', 'push', '-q', 'origin', 'HEAD:main');
  };
  await change(600);
  await waiting(stage, (appOf(stage, 'prod')?.lastOutcome?.seq ?? 0) + 1);
  const first = appOf(stage, 'prod')?.lastDecision?.seq ?? 0;
  await pull(stage, 'carol');
  const { digest: stale, branch } = await sign(stage, 'carol', '--no-push');
  await change(999);
  await waiting(stage, first + 1);
  const second = appOf(stage, 'prod')?.lastDecision?.seq ?? 0;
  await stage.git('carol', 'push', '-q', 'origin', `${branch}:${branch}`);
  await waiting(stage, second + 1);
  const refused = (await explain(stage, 'bob')).find((l) => l.about === 'rejected-approval' && l.code === 'OtherDigest');
  must(refused && appOf(stage, 'prod')?.generation === 2, 'an approval of the earlier file still counts');
  tell(`carol approved ${short(stale)}, then the file was edited. ${refused.text}`);
  await pull(stage, 'carol');
  const digest = await approve(stage, 'carol');
  await deployed(stage, 'prod', '1.5.0', 3);
  must((await stage.onTarget('prod', 'current/apps/shop/env/prod.conf')) === 'cache_seconds = 999\n', 'the target has another file');
  tell(`she looked again and approved ${short(digest)}: deployed`);
}

async function tamperedBlob(stage: Stage, tell: Tell): Promise<void> {
  const mend = await stage.damage('api', '1.5.0');
  await pull(stage, 'alice');
  await stage.write('alice', 'releases/shop/1.5.1.yaml', RELEASE('1.5.1', '1.5.0', '1.4.0'));
  await stage.git('alice', 'add', '.');
  await stage.git('alice', 'commit', '-q', '-m', 'Release shop 1.5.1');
  await stage.git('alice', 'push', '-q', 'origin', 'HEAD:main');
  await until(stage, 'a lock of shop/1.5.1', () => stage.state().locks.get('shop/1.5.1'));
  await ask(stage, 'alice', '1.5.1', 'dev');
  const outcome = await until(stage, 'the deployment to fail', () => {
    const app = appOf(stage, 'dev');
    return app?.lastOutcome !== null && app?.lastOutcome?.generation === app?.generation && app?.openRun === null && app?.lastOutcome?.result !== 'Succeeded' ? app.lastOutcome : null;
  }, 30);
  must(outcome.result === 'Failed', `the outcome is ${outcome.result}: ${outcome.reason}`);
  must((await stage.onTarget('dev', 'current/api/app.txt')) === 'api two\n', 'what ran before does not run any more');
  must(appOf(stage, 'dev')?.release === '1.5.0', 'the state does not say what runs');
  await mend();
  tell(`failed (${outcome.reason}): the layer does not have its digest; dev still runs 1.5.0`);
}

async function revert(stage: Stage, tell: Tell): Promise<void> {
  await pull(stage, 'bob');
  const merged = (await stage.git('bob', 'log', '--format=%H', '--grep=#7', '-1')).trim();
  await stage.git('bob', 'revert', '--no-edit', merged);
  await stage.git('bob', 'push', '-q', 'origin', 'HEAD:main');
  await waiting(stage, (appOf(stage, 'prod')?.lastOutcome?.seq ?? 0) + 1);
  tell('bob reverted the merge; going back needs an approval too, and bob has asked this time');
  await pull(stage, 'carol');
  await approve(stage, 'carol');
  await deployed(stage, 'prod', '1.4.0', 4);
  const lock = stage.state().locks.get('shop/1.4.0');
  must(appOf(stage, 'prod')?.lock === lock?.digest, 'prod runs another lock');
  must((await stage.onTarget('prod', 'current/api/app.txt')) === 'api one\n', 'prod runs what the moved tag points to');
  tell(`prod is back at ${short(lock?.digest)}, not at what the tag 1.4.0 points to today`);
  const wanted = lock?.lock.components.map((c) => c.digest).sort().join();
  await until(stage, 'the agent to tell what prod really runs', async () => (await reallyRuns(stage, 'prod')) === wanted);
  tell('and the agent sees those digests on the target: stella status --server');
}

/** Digests that the agent last saw on the target of an environment. */
async function reallyRuns(stage: Stage, environment: string): Promise<string | undefined> {
  const result = await stage.stella('bob', 'status', environment, '--server', stage.apiUrl, '-o', 'json');
  must(result.exitCode === 0, `stella status says: ${result.stderr}`);
  const { server } = JSON.parse(result.stdout) as { server: { targets: readonly { environment: string; running: readonly { digest: string }[] }[] } };
  return server.targets.find((t) => t.environment === environment)?.running.map((r) => r.digest).sort().join();
}

async function offline(stage: Stage, tell: Tell): Promise<void> {
  const stella = await stage.freshClone();
  for (const args of [['verify'], ['replay', '--all']]) {
    const result = await stella(...args);
    must(result.exitCode === 0, `stella ${args.join(' ')} says: ${result.stdout}${result.stderr}`);
    for (const line of result.stdout.trim().split('\n').slice(-3)) tell(line.trim());
  }
}

/** The demo in its order. Each scene stands on those before it. */
export const scenes: readonly Scene[] = [
  { title: 'A release is written with tags and locked with digests; dev deploys it', play: firstRelease },
  { title: 'A tag is moved: the lock does not follow', play: movedTag },
  { title: 'Bob asks for prod and approves it himself', play: selfApproval },
  { title: 'Carol approves', play: secondPerson },
  { title: 'A pull request is approved, then squashed by a forge', play: squashMerge },
  { title: 'A file of prod is edited after an approval', play: editAfterApproval },
  { title: 'A blob in the registry is tampered with', play: tamperedBlob },
  { title: 'git revert', play: revert },
  { title: 'A fresh clone checks everything offline', play: offline },
];
