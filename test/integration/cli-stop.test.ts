import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { AnyDocument } from '../../src/core/model/documents.ts';
import { createSshKey, type SshKey } from '../fakes/git-repository.ts';
import { doc, World } from '../fakes/world.ts';
import { cloneFor, json, putImage, type Clone } from './cli-fixture.ts';

/** dave may stop anything; two admins decide on freezes. */

let world: World;
let daveKey: SshKey;
let dave: Clone;
let carol: Clone;

type Stop = { readonly branch: string; readonly digest: string; readonly kind: string; readonly name: string };
type Listed = { readonly stops: readonly { readonly kind: string; readonly name: string; readonly text: string; readonly reason: string | null; readonly holds: boolean; readonly onTarget: boolean; readonly lift: string }[] };

const ADMIN = (count: number) => ({ people: count, roles: [{ role: 'admin', count }] });

beforeAll(async () => {
  const { createTemporaryFolder } = await import('../fakes/git-repository.ts');
  const folder = await createTemporaryFolder();
  daveKey = await createSshKey(folder, 'dave');
  const documents = [
    doc('Principal', 'dave', { type: 'person', keys: [{ key: daveKey.publicKey, status: 'active' }], roles: [{ role: 'stop' }] }),
    doc('Environment', 'prod', { order: 2, approvals: { people: 1, roles: [{ role: 'sre', count: 1 }] } }),
  ] as unknown as readonly AnyDocument[];
  world = await World.create({ documents, root: { quorums: { default: ADMIN(1), create: ADMIN(1), kinds: { Freeze: ADMIN(2) } } } });
  dave = await cloneFor(world, daveKey);
});
afterAll(() => world.close());

const inForce = async (key: string): Promise<AnyDocument | undefined> => (await world.state()).inForce.get(key)?.document;

async function stop(clone: Clone, ...args: readonly string[]): Promise<Stop> {
  const result = await clone.stella(['stop', ...args, '--yes', '-o', 'json']);
  expect(result.stderr + String(result.code)).toBe('0');
  await world.settle();
  await clone.pull();
  return json<Stop>(result);
}

async function refusal(clone: Clone, ...args: readonly string[]): Promise<string> {
  const { code, stderr } = await clone.stella(['stop', ...args, '--yes']);
  expect(code).not.toBe(0);
  return stderr;
}

const listed = async (clone: Clone): Promise<Listed['stops']> => json<Listed>(await clone.stella(['stop', 'list', '-o', 'json'])).stops;

describe('stella stop', () => {
  it('freezes at once, without a merge, and says how it ends', async () => {
    const made = await stop(dave, 'freeze', 'stock-taking', '--environment', 'prod', '--reason', 'counting');
    expect(made.branch).toMatch(/^stella\/stops\/[0-9a-f]{16}$/);
    expect(await inForce('Freeze/stock-taking')).toMatchObject({ spec: { environments: ['prod'], reason: 'counting' } });
    expect(await dave.git('ls-remote', 'origin', 'refs/heads/stella/stops/*')).toBe('');
    const [one] = await listed(dave);
    expect(one).toMatchObject({ kind: 'Freeze', name: 'stock-taking', holds: true, onTarget: false, reason: 'counting', lift: 'stella approve --pending --only Freeze/stock-taking' });
    const { stdout } = await dave.stella(['stop', 'list']);
    expect(stdout).toContain('freeze stock-taking: nothing new is allowed in prod (counting)');
    expect(await refusal(dave, 'freeze', 'stock-taking', '--environment', 'prod', '--reason', 'counting')).toContain('is in force already');
  });

  it('shows it where people look: status and explain', async () => {
    await putImage(world, 'shop/api', '1.0', 'one');
    await world.commit([doc('Release', 'shop/1.0', { components: { api: { tag: '1.0' } } })], { by: world.people.alice });
    await world.settle();
    await world.commit([await world.promotion('prod', '1.0', { by: world.people.alice })], { by: world.people.alice });
    await world.settle();
    await dave.pull();
    expect((await dave.stella(['status'])).stdout).toContain('freeze stock-taking: nothing new is allowed in prod (counting)');
    expect(json<{ stops: readonly { name: string }[] }>(await dave.stella(['status', '-o', 'json'])).stops.map(({ name }) => name)).toContain('stock-taking');
    expect((await dave.stella(['explain', 'prod/shop'])).stdout).toMatch(/Freeze stock-taking holds here[\s\S]*Stopped: freeze stock-taking: nothing new is allowed in prod \(counting\)/);
  });

  it('is lifted by its quorum and not by the one who stopped, nor by approving everything else', async () => {
    const [alice, bob] = await Promise.all([cloneFor(world, world.people.alice), cloneFor(world, world.people.bob)]);
    const all = await alice.stella(['approve', '--pending', '--yes']);
    expect([all.code, all.stderr]).toEqual([1, expect.stringContaining('--only Freeze/stock-taking')]);
    for (const [clone, open] of [[alice, true], [bob, false]] as const) {
      expect((await clone.stella(['approve', '--pending', '--only', 'Freeze/stock-taking', '--yes'])).code).toBe(0);
      await world.settle();
      expect((await inForce('Freeze/stock-taking')) !== undefined).toBe(open);
    }
    await dave.pull();
    expect(await listed(dave)).toEqual([]);
    expect((await dave.stella(['stop', 'list'])).stdout).toContain('Nothing is stopped.');
  });

  it('takes a calendar by options, or a whole document', async () => {
    await stop(dave, 'freeze', 'holidays', '--environment', 'prod', '--reason', 'nobody is in', '--from', '2031-12-20T00:00', '--until', '2032-01-03T00:00', '--time-zone', 'Europe/Berlin');
    const file = join(world.folder, 'weekends.yaml');
    await writeFile(file, 'apiVersion: stella/v1alpha1\nkind: Freeze\nmetadata: {name: weekends}\nspec:\n  reason: no changes at the weekend\n  calendar: {weekly: [{days: [sat, sun], from: "00:00", to: "00:00", timeZone: Europe/Berlin}]}\n  except: {people: 1, roles: [{role: sre, count: 1}]}\n');
    await stop(dave, 'freeze', '--document', file);
    expect((await listed(dave)).map(({ name, holds }) => [name, holds])).toEqual([['holidays', false], ['weekends', expect.any(Boolean)]]);
    expect(await refusal(dave, 'freeze', 'half', '--reason', 'x', '--from', '2031-12-20T00:00')).toContain('--time-zone');
    expect(await refusal(dave, 'freeze', 'nowhere', '--reason', 'x', '--from', '2031-12-20T00:00', '--until', '2031-12-21T00:00', '--time-zone', 'Mars/Olympus')).toContain('Mars/Olympus');
    expect(await refusal(dave, 'freeze', 'weekends', '--environment', 'dev', '--reason', 'x')).toContain('would not only stop more');
    expect(await refusal(dave, 'freeze', 'typo', '--environment', 'porduction', '--reason', 'x')).toContain('porduction');
  });

  it('lets through what those approve whom the freeze names', async () => {
    const bob = await cloneFor(world, { ...world.people.bob, name: 'bob-2' });
    const except = (name: string) => bob.stella(['approve', 'prod/shop', '--except', name, '--yes', '-o', 'json']);
    expect((await except('holidays')).stderr).toContain('lets nobody except anything');
    expect((await except('nothing')).stderr).toContain('No freeze nothing');
    expect((await bob.stella(['approve', 'prod/shop', '--reject', '--except', 'weekends', '--yes'])).code).toBe(2);
    // A Saturday: the weekend holds what bob lets through.
    world.now = new Date('2026-11-07T12:00:00.000Z');
    await world.settle();
    expect((await except('weekends')).code).toBe(0);
    await world.settle();
    expect((await world.state()).states.get('prod/shop')?.release).toBe('1.0');
  });

  it('lets nobody sign what the server would refuse', async () => {
    carol = await cloneFor(world, world.people.carol);
    await carol.git('fetch', '-q', 'origin');
    expect(await refusal(carol, 'freeze', 'mine', '--environment', 'prod', '--reason', 'x')).toContain('it takes the role stop');
    expect(await refusal(carol, 'revoke', 'bob')).toContain('it takes the role stop');
    expect(await refusal(dave, 'suspend', 'Environment/prod', '--reason', 'x')).toContain('nothing that can be suspended');
    expect(await refusal(dave, 'suspend', 'Principal/nobody', '--reason', 'x')).toContain('not in force');
    expect(await refusal(dave, 'suspend', 'Agent/host')).toContain('--reason');
    const unasked = await dave.stella(['stop', 'freeze', 'x', '--reason', 'x']);
    expect([unasked.code, unasked.stderr]).toEqual([2, expect.stringContaining('--yes')]);
  });

  it('revokes a key for its owner, and suspends people, agents and releases', async () => {
    await stop(carol, 'revoke', 'carol');
    expect(await inForce('Principal/carol')).toMatchObject({ spec: { keys: [{ status: 'compromised' }] } });
    await stop(dave, 'suspend', 'Principal/alice', '--reason', 'left');
    await stop(dave, 'suspend', 'Agent/host', '--reason', 'broken into');
    await stop(dave, 'suspend', 'Release/shop/1.0', '--reason', 'loses orders');
    expect((await listed(dave)).map(({ kind, name }) => `${kind}/${name}`)).toEqual(['Agent/host', 'Freeze/holidays', 'Freeze/release-shop-1.0', 'Freeze/weekends', 'Principal/alice', 'Principal/carol']);
    expect(await refusal(dave, 'suspend', 'Principal/alice', '--reason', 'again')).toContain('suspended already');
    expect(await refusal(dave, 'revoke', 'carol')).toContain('No key of carol is left');
    const trust = await dave.stella(['trust', 'show']);
    expect(trust.stdout).toMatch(/alice {2}person {2}suspended/);
    expect([(await dave.stella(['verify'])).code, (await dave.stella(['replay'])).code]).toEqual([0, 0]);
  });
});
