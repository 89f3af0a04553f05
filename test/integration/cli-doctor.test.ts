import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { bitbucketDialect } from '../fakes/forge-bitbucket.ts';
import { giteaDialect } from '../fakes/forge-gitea.ts';
import { githubDialect } from '../fakes/forge-github.ts';
import { gitlabDialect } from '../fakes/forge-gitlab.ts';
import { type FakeForge, fakeForge, type FakeForgeServer, type FakeProtection, type ForgeDialect, startFakeForge } from '../fakes/forge-server.ts';
import { doc, World } from '../fakes/world.ts';
import { cloneFor, json, putImage, type Clone, type CliResult } from './cli-fixture.ts';

type Check = { readonly name: string; readonly result: string; readonly text: string; readonly remedy: string | null };

const GOOD: FakeProtection = { forcePushBlocked: true, deletionBlocked: true, proposalRequired: true, requiredStatuses: ['stella/plan'], pushers: null };
const LOG: FakeProtection = { ...GOOD, proposalRequired: false, requiredStatuses: [], pushers: ['stella'] };

let world: World;
let clone: Clone;
let server: FakeForgeServer | null = null;

beforeAll(async () => {
  world = await World.create();
  await putImage(world, 'shop/api', '1.0', 'one');
  await world.commit([doc('Release', 'shop/1.0', { components: { api: { tag: '1.0' } } }), doc('Promotion', 'dev/shop', { release: '1.0' })], { by: world.people.alice });
  await world.settle();
  clone = await cloneFor(world, world.people.bob);
});
afterEach(async () => {
  expect(server?.faults ?? []).toEqual([]);
  await server?.stop();
  server = null;
});
afterAll(() => world.close());

/** `stella doctor` in a clone that names a forge with these rules. @returns what it found about the forge, by name */
async function doctorOn(dialect: ForgeDialect, rules: Readonly<Record<string, FakeProtection>>, given: { readonly token?: string; readonly forge?: Partial<FakeForge>; readonly args?: readonly string[] } = {}): Promise<{ readonly result: CliResult; readonly found: Readonly<Record<string, string>>; readonly checks: readonly Check[] }> {
  const branches = new Map([['main', '1'.repeat(40)], ['stella/evidence', '2'.repeat(40)]]);
  const forge = fakeForge({ branches, protections: new Map(Object.entries(rules)), ...given.forge });
  server = await startFakeForge(dialect, forge);
  await clone.git('config', 'stella.forge', `${dialect.type}:acme/deploy`);
  await clone.git('config', 'stella.forgeUrl', server.url);
  const result = await clone.stella(['doctor', '-o', 'json', ...(given.args ?? [])], { environment: { STELLA_FORGE_TOKEN: given.token ?? forge.token } });
  const { checks } = json<{ checks: readonly Check[] }>(result);
  const about = checks.filter(({ name }) => /^(forge|protection|main|stella\/evidence|target branch|evidence branch)/.test(name));
  return { result, checks: about, found: Object.fromEntries(about.map((check) => [check.name, check.result])) };
}

const MAIN = ['main: no force-push', 'main: no deletion', 'main: stella/plan required', 'main: pull requests only'] as const;
const EVIDENCE = ['stella/evidence: no force-push', 'stella/evidence: no deletion', 'stella/evidence: only the server pushes'] as const;
const NAMES = ['forge', ...MAIN, ...EVIDENCE];

describe('stella doctor on a forge', () => {
  it.each([
    ['GitHub', githubDialect, {}],
    ['Gitea', giteaDialect, {}],
    // Neither asks for a status by its name, so nobody can tell.
    ['GitLab', gitlabDialect, { 'main: stella/plan required': 'warn' }],
    ['Bitbucket', bitbucketDialect, { 'main: stella/plan required': 'warn' }],
  ])('passes settings that protect, as far as %s tells', async (_name, dialect, differing) => {
    const { found, result } = await doctorOn(dialect(), { main: GOOD, 'stella/evidence': LOG });
    expect(result.code).toBe(0);
    expect(found).toMatchObject({ ...Object.fromEntries(NAMES.slice(0, -1).map((name) => [name, 'ok'])), ...differing });
  });

  it.each([['GitHub', githubDialect], ['Gitea', giteaDialect], ['GitLab', gitlabDialect], ['Bitbucket', bitbucketDialect]])('fails a repository that %s protects in nothing, with what to do for each', async (_name, dialect) => {
    const { found, checks, result } = await doctorOn(dialect(), {});
    expect(result.code).toBe(1);
    expect(found).toEqual({
      forge: 'ok', 'main: no force-push': 'fail', 'main: no deletion': 'fail', 'main: stella/plan required': 'fail', 'main: pull requests only': 'warn',
      'stella/evidence: no force-push': 'fail', 'stella/evidence: no deletion': 'fail', 'stella/evidence: only the server pushes': 'warn',
    });
    expect(checks.filter(({ result: one, remedy }) => one !== 'ok' && remedy === null)).toEqual([]);
  });

  it('names who may push to the evidence branch besides the server', async () => {
    const { checks } = await doctorOn(gitlabDialect(), { main: GOOD, 'stella/evidence': { ...LOG, pushers: ['stella', 'mallory'] } });
    expect(checks.find(({ name }) => name === EVIDENCE[2])).toMatchObject({ result: 'warn', text: 'these may push: mallory, stella' });
  });

  it('warns when the server itself cannot push its records', async () => {
    const { found } = await doctorOn(gitlabDialect(), { main: GOOD, 'stella/evidence': { ...LOG, proposalRequired: true } });
    expect(found[EVIDENCE[2]]).toBe('warn');
  });

  it('says that it cannot tell where the token may not see settings, and passes nothing', async () => {
    const { found, checks } = await doctorOn(gitlabDialect(), { main: GOOD, 'stella/evidence': LOG }, { forge: { isAdministrator: false } });
    expect(Object.entries(found).filter(([, result]) => result === 'ok')).toEqual([['forge', 'ok']]);
    expect(checks.filter(({ result, text }) => result === 'warn' && !text.startsWith('cannot tell'))).toEqual([]);
  });

  it('fails with a token that the forge does not take, and looks no further', async () => {
    const { found, result } = await doctorOn(githubDialect(), { main: GOOD }, { token: 'a-token-that-was-revoked' });
    expect([result.code, found]).toEqual([1, { forge: 'fail' }]);
    expect(result.stdout + result.stderr).not.toContain('a-token-that-was-revoked');
  });

  it('does not take the branch of the same name for an evidence branch that lies elsewhere', async () => {
    const { found } = await doctorOn(giteaDialect(), { main: GOOD, 'stella/evidence': LOG }, { args: ['--evidence', world.repository.folder] });
    expect(found['evidence branch on the forge']).toBe('warn');
    expect(Object.keys(found).filter((name) => name.startsWith('stella/evidence'))).toEqual([]);
  });

  it('asks no forge where the clone names none', async () => {
    await clone.git('config', '--unset', 'stella.forge');
    const { checks } = json<{ checks: readonly Check[] }>(await clone.stella(['doctor', '-o', 'json'], { environment: { STELLA_FORGE_TOKEN: 'token' } }));
    expect(checks.filter(({ name }) => name === 'forge')).toEqual([]);
  });
});
