import { execFile } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { cp, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeEach, describe, expect, it } from 'vitest';
import { commands } from '../src/bin/main.ts';
import { COMMON_OPTIONS } from '../src/cli/command.ts';
import { parseDigest, type Digest } from '../src/core/model/digest.ts';
import { recordPath } from '../src/core/evidence/layout.ts';
import { documentDigest, type AnyDocument } from '../src/core/model/documents.ts';
import { changeDigest } from '../src/core/model/preimages.ts';
import { appStateOf, rootOf } from '../src/core/evidence/log-state.ts';
import { changeTo } from '../src/core/trust/apply-change.ts';
import { requireComponent } from './fakes/components.ts';
import { registeredAttacks, RULES } from './tidy/attacks.ts';
import { doc, World } from './fakes/world.ts';

const root = fileURLToPath(new URL('..', import.meta.url));
const read = (path: string): string => readFileSync(join(root, path), 'utf8');
const run = promisify(execFile);

const pages = ['README.md', 'CHANGELOG.md', 'CONTRIBUTING.md', 'SECURITY.md', ...markdownUnder('examples'), ...markdownUnder('docs')];

function markdownUnder(folder: string): readonly string[] {
  return readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.md')).map((name) => `${folder}/${name}`).sort();
}

/** The fenced blocks of a page that are written in `language`. */
function blocksOf(page: string, language: string): readonly string[] {
  return [...read(page).matchAll(new RegExp(`^\`\`\`${language}\\n([\\s\\S]*?)^\`\`\`$`, 'gm'))].map((match) => match[1] ?? '');
}

/** Cells of the table rows below a heading, up to the next one; the first two rows are the head. */
function tableBelow(page: string, heading: string): readonly (readonly string[])[] {
  const [, section = ''] = read(page).split(`\n## ${heading}\n`);
  const rows = section.split('\n## ', 1).join('').split('\n').filter((line) => line.startsWith('|'));
  return rows.slice(2).map((row) => row.split('|').slice(1, -1).map((cell) => cell.trim()));
}

const inCode = (cell: string): readonly string[] => [...cell.matchAll(/`([^`]+)`/g)].map((match) => match[1] ?? '');

describe('what people read', () => {
  it('names every dependency of the package once, with a reason', () => {
    const { dependencies, devDependencies } = JSON.parse(read('package.json')) as Record<'dependencies' | 'devDependencies', Record<string, string>>;
    const rows = tableBelow('README.md', 'Dependencies');
    expect(rows.flatMap(([names = '']) => inCode(names)).sort()).toEqual([...Object.keys(dependencies), ...Object.keys(devDependencies)].sort());
    expect(rows.filter(([, reason = '']) => reason.length < 10)).toEqual([]);
  });

  it('links only to what is there', () => {
    const broken = pages.flatMap((page) =>
      [...read(page).matchAll(/\]\((?!https?:|#)([^)#\s]+)[^)]*\)/g)].map((match) => match[1] ?? '').filter((target) => !existsSync(join(root, dirname(page), target))).map((target) => `${page}: ${target}`));
    expect(broken).toEqual([]);
  });

  it('names only files that are there', () => {
    const named = /^(?:src|test|docs|schemas|migrations|proto|examples)\/[\w./-]+$/;
    const missing = pages.flatMap((page) => inCode(read(page)).filter((text) => named.test(text) && !existsSync(join(root, text))).map((path) => `${page}: ${path}`));
    expect(missing).toEqual([]);
  });

  it('shows only scripts that package.json has', () => {
    const { scripts } = JSON.parse(read('package.json')) as { scripts: Record<string, string> };
    const named = pages.flatMap((page) => [...read(page).matchAll(/npm run ([a-z]+)/g)].map((match) => match[1] ?? ''));
    expect(named.length).toBeGreaterThan(0);
    expect(named.filter((name) => scripts[name] === undefined)).toEqual([]);
  });
});

/** Pages from which a newcomer copies commands. */
const TEACHING = ['README.md', 'CHANGELOG.md', 'CONTRIBUTING.md', 'SECURITY.md', 'docs/architecture.md', 'docs/storage.md'];

/** `stella promote prod/shop 1.4.0` → its command and the long options it is shown with; from code only, not from prose. */
function shownCommands(): readonly { readonly page: string; readonly name: string; readonly options: readonly string[] }[] {
  return TEACHING.flatMap((page) => {
    const lines = [...blocksOf(page, 'sh').flatMap((block) => block.replaceAll('\\\n', ' ').split('\n')), ...inCode(read(page).replace(/^```[\s\S]*?^```$/gm, ''))];
    return lines.flatMap((line) => {
      const [, name, rest = ''] = /^\s*(?:npx |npm run )?stella ([a-z]+)(.*)$/.exec(line.replace(/\s#.*$/, '')) ?? [];
      return name === undefined ? [] : [{ page, name, options: [...rest.matchAll(/ --([a-z][a-z-]*)/g)].map((match) => match[1] ?? '') }];
    });
  });
}

describe('commands in the documents', () => {
  it('are commands that the program has', () => {
    const known = new Set(commands.map(({ name }) => name));
    const shown = shownCommands();
    expect(shown.length).toBeGreaterThan(5);
    expect(shown.filter(({ name }) => !known.has(name)).map(({ page, name }) => `${page}: stella ${name}`)).toEqual([]);
  });

  it('take the options that they are shown with', async () => {
    const tables = new Map<string, readonly string[]>();
    for (const { name, load } of commands) tables.set(name, Object.keys((await load()).command.options));
    const unknown = shownCommands().flatMap(({ page, name, options }) =>
      options.filter((option) => ![...Object.keys(COMMON_OPTIONS), ...(tables.get(name) ?? [])].includes(option)).map((option) => `${page}: stella ${name} --${option}`));
    expect(unknown).toEqual([]);
  });
});

describe('the table of rules in docs/trust.md', () => {
  const rows = tableBelow('docs/trust.md', 'Rules');
  const attacks = registeredAttacks(root).attacks;

  it('has every rule once, in order', () => {
    expect(rows.map(([rule]) => rule)).toEqual(RULES);
  });

  it('names files that are there and cite the rule', () => {
    const faults = rows.flatMap(([rule = '', , files = '']) => {
      const named = inCode(files);
      const wrong = named.filter((path) => !existsSync(join(root, path)) || !new RegExp(`\\b${rule}\\b`).test(read(path)));
      return (named.length === 0 ? ['nothing'] : wrong).map((path) => `${rule}: ${path}`);
    });
    expect(faults).toEqual([]);
  });

  it('names every file with an attack on the rule, and no other; `npx vitest run test/docs.test.ts -u` writes them', async () => {
    const attackedIn = (rule: string): string => [...new Set(attacks.filter(({ rules }) => rules.includes(rule)).map(({ path }) => `\`${path}\``))].sort().join(', ');
    const page = read('docs/trust.md').replace(/^(\| (T\d+) (?:\|[^|\n]*){2}\|)[^|\n]*\|$/gm, (_, cells: string, rule: string) => `${cells} ${attackedIn(rule)} |`);
    expect(RULES.filter((rule) => attackedIn(rule) === '')).toEqual([]);
    await expect(page).toMatchFileSnapshot('../docs/trust.md');
  });
});

it('docs/attacks.md lists every attack by the rules that it tries to get around', async () => {
  const { attacks } = registeredAttacks(root);
  const sections = RULES.map((rule) => `## ${rule}\n\n${attacks.filter(({ rules }) => rules.includes(rule)).map(({ name, path }) => `- ${name} (\`${path}\`)`).sort().join('\n')}\n`);
  const page = `# Attacks\n\nEvery attack that \`npm test -- trust\` tries, by [rule](trust.md). Each has a twin that lacks the one defect and is accepted. Written by a test: \`npx vitest run test/docs.test.ts -u\`.\n\n${sections.join('\n')}`;
  await expect(page).toMatchFileSnapshot('../docs/attacks.md');
});

/** A log that was copied, so that a test may damage it. */
type Copy = { readonly pin: string; readonly folder: string };

/** The commands of docs/verify-by-hand.md as they stand there. @returns what they printed */
async function verifyByHand({ pin, folder }: Copy, approver = 'bob'): Promise<string> {
  const script = blocksOf('docs/verify-by-hand.md', 'sh').join('\n');
  const scratch = dirname(folder);
  const env = { PATH: process.env['PATH'], HOME: scratch, TMPDIR: scratch, PIN: pin, CLONE: folder, DECISION: String(decision), APPROVER: approver };
  const { stdout } = await run('bash', ['-euo', 'pipefail', '-c', script], { env, cwd: scratch, maxBuffer: 16 * 1024 * 1024 });
  return stdout;
}

let world: World | null = null;
/** Number of the allow in prod. */
let decision = -1;
let copies = 0;

async function copyOf({ pin, folder, repository }: World): Promise<Copy> {
  const copy = join(folder, `copy-${copies++}.git`);
  await cp(repository.folder, copy, { recursive: true });
  return { pin, folder: copy };
}

describe('docs/verify-by-hand.md', () => {
  let log: Copy;

  beforeEach(async (ctx) => {
    requireComponent('git', ctx);
    requireComponent('ssh-keygen', ctx);
    if (world === null) {
      world = await World.create();
      decision = await deployWithApproval(world);
    }
    log = await copyOf(world);
  });
  afterAll(async () => world?.close());

  it('verifies a log from the pin, and shows who approved', async () => {
    const printed = await verifyByHand(log);
    expect(printed).not.toContain('WRONG');
    const size = (await world?.state())?.size ?? -1;
    for (const line of ['root: as pinned', 'Verified OK', `records: ${size} signed and chained`, 'first documents: as the root names them', '"outcome":"allow"', 'approved by bob: sha256:']) expect(printed).toContain(line);
    expect(printed).toMatch(/^artifacts: \d+ as named$/m);
  });

  it('follows the trust root where it changed', async () => {
    const changed = await World.create();
    const before = decision;
    decision = await deployWithApproval(changed);
    const state = await changed.state();
    const { spec } = rootOf(state);
    const next = doc('TrustRoot', 'root', { ...spec, version: 2, previous: state.inForceDigests.root, documents: null, minimums: { environments: [{ name: 'prod', people: 1 }] } }) as unknown as AnyDocument;
    const changes = [changeTo(state, 'TrustRoot', 'root', documentDigest(next))];
    await changed.commit([next, (await changed.approval(changed.people.alice, { type: 'change', digest: changeDigest(changed.pin, changes), changes })) as unknown as AnyDocument], { by: changed.people.alice });
    await changed.settle();
    await changed.commit([], { by: changed.people.alice, files: { 'notes.txt': 'one more tip' } });
    await changed.settle();
    const printed = await verifyByHand(await copyOf(changed));
    await changed.close();
    decision = before;
    expect(printed).not.toContain('WRONG');
    expect(printed).toContain(documentDigest(next));
  });

  it('finds a record that was changed', async () => {
    const path = recordPath(decision);
    const envelope = JSON.parse(await show(log.folder, path)) as { payload: string };
    const payload = Buffer.from(envelope.payload, 'base64').toString().replace('"outcome":"allow"', '"outcome":"block"');
    await rewrite(log, { [path]: JSON.stringify({ ...envelope, payload: Buffer.from(payload).toString('base64') }) });
    const printed = await verifyByHand(log);
    expect(printed).toContain(`WRONG signature: ${path}`);
    expect(printed).toContain(`WRONG place in the log: ${recordPath(decision + 1)}`);
  });

  it('finds a record that was taken out', async () => {
    await rewrite(log, { [recordPath(decision - 1)]: null });
    expect(await verifyByHand(log)).toContain(`WRONG name: ${recordPath(decision)}`);
  });

  it('finds an artifact that is not what its name says, and a commit of somebody else', async () => {
    const path = `artifacts/00/${'00'.repeat(32)}`;
    await rewrite(log, { [path]: 'anything' });
    const printed = await verifyByHand(log);
    expect(printed).toContain(`WRONG content: ${path}`);
    expect(printed).toContain('WRONG signature of commit');
  });

  it('finds that the log is another than the pinned one', async () => {
    const other = `sha256:${'0'.repeat(63)}1`;
    await expect(verifyByHand({ ...log, pin: other })).rejects.toMatchObject({ stdout: expect.not.stringContaining('as pinned') as string });
  });

  it('finds that somebody has not approved', async () => {
    expect(await verifyByHand(log, 'carol')).toContain('WRONG: carol has not approved sha256:');
  });
});

/** dev, then prod with an approval by bob. @returns number of the allow in prod */
async function deployWithApproval(w: World): Promise<number> {
  const { alice, bob } = w.people;
  w.registry.put('shop/api:1.0', 'one');
  await w.commit([doc('Release', 'shop/1.0', { components: { api: { tag: '1.0' } } }), doc('Promotion', 'dev/shop', { release: '1.0' })], { by: alice });
  await w.settle();
  await w.commit([await w.promotion('prod', '1.0', { by: alice })], { by: alice });
  await w.settle();
  const digest = await lastPromotionDigest(w);
  await w.commit([await w.approval(bob, { type: 'promotion', environment: 'prod', application: 'shop', digest })], { by: bob });
  await w.settle();
  return lastDecisionIn(w);
}

async function lastDecisionIn(w: World): Promise<number> {
  return appStateOf(await w.state(), 'prod', 'shop').lastDecision?.seq ?? -1;
}

async function lastPromotionDigest(w: World): Promise<Digest> {
  const { payload } = JSON.parse(await show(w.repository.folder, recordPath(await lastDecisionIn(w)))) as { payload: string };
  const { predicate } = JSON.parse(Buffer.from(payload, 'base64').toString()) as { predicate: { content: { decision: { promotionDigest: string } } } };
  return parseDigest(predicate.content.decision.promotionDigest);
}

async function show(repository: string, path: string): Promise<string> {
  return (await run('git', ['-C', repository, 'show', `stella/evidence:${path}`])).stdout;
}

/** Somebody with push rights lays files over the evidence branch; null takes a file away. */
async function rewrite({ folder }: Copy, files: Readonly<Record<string, string | null>>): Promise<void> {
  const env = { ...process.env, GIT_INDEX_FILE: join(folder, 'index-of-a-stranger') };
  const git = async (...args: readonly string[]): Promise<string> => (await run('git', ['-C', folder, '-c', 'user.name=Mallory', '-c', 'user.email=mallory@example.test', ...args], { env })).stdout.trim();
  await git('read-tree', 'stella/evidence');
  for (const [path, content] of Object.entries(files)) {
    const written = join(folder, 'written');
    if (content !== null) await writeFile(written, content);
    await git(...(content === null ? ['rm', '-q', '--cached', path] : ['update-index', '--add', '--cacheinfo', `100644,${await git('hash-object', '-w', written)},${path}`]));
  }
  const commit = await git('commit-tree', '-p', 'stella/evidence', '-m', 'Tidy up', await git('write-tree'));
  await git('update-ref', 'refs/heads/stella/evidence', commit);
}
