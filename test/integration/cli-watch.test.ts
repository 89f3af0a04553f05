import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { PassThrough } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { main } from '../../src/bin/main.ts';
import type { AnyDocument } from '../../src/core/model/documents.ts';
import { doc, World } from '../fakes/world.ts';
import { cloneFor, putImage, stella, type CliResult, type Clone } from './cli-fixture.ts';

let world: World;
let alice: Clone;
afterEach(() => world.close());

/** dev runs 1.0, and nothing is asked for in prod. */
async function begin(documents: readonly AnyDocument[] = []): Promise<void> {
  world = await World.create({ documents });
  for (const tag of ['1.0', '1.1']) await putImage(world, 'shop/api', tag, tag);
  const releases = ['1.0', '1.1'].map((tag) => doc('Release', `shop/${tag}`, { components: { api: { tag } } }));
  await world.commit([...releases, doc('Promotion', 'dev/shop', { release: '1.0' })], { by: world.people.alice });
  await world.settle();
  alice = await cloneFor(world, world.people.alice);
}

const watch = (...args: readonly string[]): Promise<CliResult> => alice.stella(['status', ...args, '--interval', '1s']);
const ask = async (environment: string, release: string): Promise<void> => {
  await world.commit([await world.promotion(environment, release, { by: world.people.alice })], { by: world.people.alice });
};

describe('stella status --until deployed', () => {
  beforeEach(() => begin());

  it('is not reached by what ran before the merge: it waits for the newest commit to be judged and run', async () => {
    await ask('dev', '1.1');
    const watching = watch('dev/shop', '--until', 'deployed', '--timeout', '60s');
    await sleep(2_500);
    await world.settle();
    const ended = await watching;
    expect(ended).toMatchObject({ code: 0 });
    const rows = ended.stdout.trim().split('\n');
    expect(rows[0]).toContain('1.0');
    expect(rows.at(-1)).toContain('1.1');
  });

  it('goes on while people are waited for, and ends with 1 when the time is over', async () => {
    await ask('prod', '1.0');
    await world.settle();
    const ended = await watch('prod', '--until', 'deployed', '--timeout', '3s');
    expect(ended).toMatchObject({ code: 1 });
    expect(ended.stderr).toContain('not deployed yet');
    expect((await watch('prod', '--until', 'settled', '--timeout', '3s')).code).toBe(0);
  });

  it('ends with 1 at once for a run that failed, and settled is reached by it', async () => {
    world.executor.answer = 'Failed';
    await ask('dev', '1.1');
    await world.settle();
    const failed = await watch('dev', '--until', 'deployed', '--timeout', '60s', '-o', 'json');
    expect(failed).toMatchObject({ code: 1 });
    expect(failed.stderr).toContain('dev/shop failed');
    expect(JSON.parse(failed.stdout.trim().split('\n')[0]!)).toMatchObject({ subject: 'dev/shop', status: { application: 'shop' } });
    expect((await watch('dev', '--until', 'settled', '--timeout', '60s')).code).toBe(0);
  });

  it('says that nothing is asked for where it would wait for ever', async () => {
    const nothing = await watch('prod', '--until', 'deployed');
    expect(nothing).toMatchObject({ code: 2 });
    expect(nothing.stderr).toContain('nothing to wait for');
  });
});

describe('stella status --until deployed where an environment asks by itself', () => {
  it('waits for what it asks for, without a Promotion', async () => {
    const target = doc('Target', 'staging-1', { type: 'directory_host', agent: 'host', environments: ['staging'], applications: ['shop'], connection: { root: '/srv/staging' } });
    await begin([doc('Environment', 'staging', { order: 3, from: [{ environment: 'dev' }], automatic: { from: 'dev' } }), target]);
    const ended = await watch('staging', '--until', 'deployed', '--timeout', '20s');
    expect(ended).toMatchObject({ code: 0 });
    expect(ended.stdout).toContain('1.0');
  });
});

describe('stella status --watch', () => {
  beforeEach(() => begin());

  it('prints a line for each change and none for looks that see the same', async () => {
    const watching = watch('dev', '--watch', '--timeout', '7s');
    await sleep(3_000);
    await ask('dev', '1.1');
    await world.settle();
    const ended = await watching;
    expect(ended).toMatchObject({ code: 0 });
    expect(ended.stdout.trim().split('\n').length).toBe(2);
  });

  it('draws on a terminal only when something differs, and goes on while origin is away', async () => {
    await alice.git('remote', 'set-url', 'origin', '/nowhere');
    const [stdin, stdout, stderr] = [new PassThrough(), Object.assign(new PassThrough(), { isTTY: true }), new PassThrough()];
    const environment = { PATH: process.env['PATH'] ?? '', HOME: '/nonexistent', GIT_CONFIG_GLOBAL: '/dev/null', GIT_CONFIG_NOSYSTEM: '1', NO_COLOR: '1' };
    expect(await main(['status', '--watch', '--interval', '1s', '--timeout', '4s', '-C', alice.folder], environment, { stdin: Object.assign(stdin, { isTTY: false }), stdout, stderr })).toBe(0);
    const drawn = String(stdout.read());
    expect(drawn.split('\u001b[2J').length - 1).toBe(1);
    expect(drawn).toContain('shop  1.0');
    expect(String(stderr.read()).match(/could not be asked/g)).toHaveLength(1);
  });

  it('goes on while the server that it asks is away', async () => {
    const server = createServer((_, response) => response.setHeader('content-type', 'application/json').end('{"data":[]}'));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const watching = watch('dev', '--watch', '--timeout', '8s', '--server', `http://127.0.0.1:${(server.address() as AddressInfo).port}`);
    await sleep(4_000);
    server.close();
    server.closeAllConnections();
    const ended = await watching;
    expect(ended).toMatchObject({ code: 0 });
    expect(ended.stderr.match(/Trying again/g)).toHaveLength(1);
    expect(ended.stdout).toContain('dev/shop');
  });

  it('refuses what cannot be watched', async () => {
    for (const args of [['--until', 'soon'], ['--watch', '--interval', '0s'], ['--watch', '--timeout', '3 weeks'], ['--timeout', '3s'], ['--watch', '-o', 'yaml'], ['a/b/c']]) {
      expect((await stella(['status', ...args, '-C', alice.folder])).code).toBe(2);
    }
  });
});
