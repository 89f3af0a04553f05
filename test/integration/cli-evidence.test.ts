import { createServer } from 'node:http';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { digestOfBytes } from '../../src/core/model/digest.ts';
import { recordPath } from '../../src/core/evidence/layout.ts';
import { runProgram } from '../fakes/git-repository.ts';
import { doc, World } from '../fakes/world.ts';
import { cloneFor, json, putImage, stella, type Clone } from './cli-fixture.ts';

let world: World;
let clone: Clone;

/** dev runs 1.0, alice has asked for it in prod, and nobody has approved. */
beforeAll(async () => {
  world = await World.create();
  await putImage(world, 'shop/api', '1.0', 'one');
  await world.commit([doc('Release', 'shop/1.0', { components: { api: { tag: '1.0' } } }), doc('Promotion', 'dev/shop', { release: '1.0' })], { by: world.people.alice });
  await world.settle();
  await world.commit([await world.promotion('prod', '1.0', { by: world.people.alice })], { by: world.people.alice });
  await world.settle();
  clone = await cloneFor(world, world.people.bob);
});
afterAll(() => world.close());

describe('stella explain', () => {
  type Line = { readonly gate: string; readonly outcome: string; readonly code: string; readonly who: readonly string[]; readonly command: string };

  it('names the gate that waits, who could approve and with which command', async () => {
    const result = await clone.stella(['explain', 'prod', '-o', 'json']);
    expect(result.code).toBe(1);
    const [one] = json<{ decision: { outcome: string; reasons: readonly string[] }; lines: readonly Line[] }[]>(result);
    expect(one!.decision).toMatchObject({ outcome: 'pending', reasons: ['ApprovalsMissing'] });
    expect(one!.lines.find((l) => l.code === 'ApprovalsMissing')).toMatchObject({ gate: 'approvals', who: ['bob', 'carol'], command: 'stella approve prod/shop' });
  });

  it('exits with 0 for what runs already and with 2 for what nobody asked for', async () => {
    expect((await clone.stella(['explain', 'dev/shop'])).code).toBe(0);
    expect((await clone.stella(['explain', 'prod/other'])).code).toBe(2);
  });

  it('plans a release of a branch that is not locked, and says that it resolved the tag', async () => {
    await putImage(world, 'shop/api', '2.0', 'new');
    await clone.git('switch', '-q', '-c', 'try');
    await writeFile(join(clone.folder, 'two.yaml'), JSON.stringify(doc('Release', 'shop/2.0', { components: { api: { tag: '2.0' } } })));
    expect((await clone.stella(['promote', 'shop/2.0', '--to', 'dev', '--no-commit'])).code).toBe(0);
    await clone.git('add', '.');
    await clone.git('commit', '-q', '-S', '-m', 'Try');
    const [one] = json<{ lock: { basis: string }; decision: { outcome: string } }[]>(await clone.stella(['explain', 'dev/shop', '-o', 'json']));
    expect(one).toMatchObject({ lock: { basis: 'resolved-here' }, decision: { outcome: 'allow' } });
    await clone.git('switch', '-q', 'main');
    const [without] = json<{ lock: { basis: string; fault: string } }[]>(await clone.stella(['explain', 'dev/shop', '--ref', 'try', '--layout', `images=${join(world.folder, 'nowhere')}`, '-o', 'json']));
    expect(without!.lock.basis).toBe('none');
  });
});

describe('stella status', () => {
  type Status = { readonly environments: readonly { environment: string; reconcilerTrusted: boolean; applications: readonly Record<string, unknown>[] }[]; readonly warnings: readonly string[] };

  it('shows what runs, what waits and why, and what rests on the word of the server', async () => {
    const result = await clone.stella(['status', '-o', 'json']);
    expect(result.code).toBe(0);
    const { environments, warnings } = json<Status>(result);
    expect(environments.map((e) => e.environment)).toEqual(['dev', 'prod']);
    expect(environments[0]!.applications[0]).toMatchObject({ release: '1.0', generation: 1, clean: true, waiting: null, reconcilerTrusted: true, components: [{ name: 'api', digest: world.registry.tags.get('shop/api:1.0') }] });
    expect(environments.map((e) => [e.environment, e.reconcilerTrusted])).toEqual([['dev', true], ['prod', false]]);
    expect(environments[1]!.applications[0]).toMatchObject({ release: null, waiting: { release: '1.0', outcome: 'pending', reasons: ['ApprovalsMissing'] }, reconcilerTrusted: false });
    expect(warnings).toHaveLength(1);
    const text = await clone.stella(['status', 'dev']);
    expect(text.stdout).toContain('[reconciler-trusted]');
    expect(text.stdout).toContain('separation of duties is off for protected documents');
  });

  it('adds the conditions of a server and sends its token to no redirect', async () => {
    const seen: (string | undefined)[] = [];
    const server = createServer((request, response) => {
      seen.push(request.headers.authorization);
      if (request.url === '/api/v1/conditions') response.end(JSON.stringify({ data: [{ kind: 'File', name: 'a.yaml', type: 'Stalled', status: 'True', reason: 'Declaration', message: 'broken' }] }));
      else response.end(JSON.stringify({ data: [] }));
    }).listen(0, '127.0.0.1');
    await new Promise((resolve) => server.once('listening', resolve));
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const result = await clone.stella(['status', '--server', url], { environment: { STELLA_TOKEN: 'secret' } });
    expect(result.stdout).toContain('File a.yaml: Stalled=True Declaration: broken');
    expect(seen).toEqual(['Bearer secret', 'Bearer secret']);
    server.removeAllListeners('request');
    server.on('request', (_, response) => response.writeHead(302, { location: 'http://127.0.0.1:1/' }).end());
    expect((await clone.stella(['status', '--server', url])).code).toBe(2);
    await new Promise((resolve) => server.close(resolve));
  });

  it('does not know an environment that is not in force', async () => {
    expect((await clone.stella(['status', 'nowhere'])).code).toBe(2);
  });
});

describe('stella doctor', () => {
  it('finds nothing wrong in a clone that is set up', async () => {
    const { ok, checks } = json<{ ok: boolean; checks: readonly { name: string; result: string; text: string }[] }>(await clone.stella(['doctor', '-o', 'json']));
    expect({ ok, failing: checks.filter((c) => c.result === 'fail') }).toEqual({ ok: true, failing: [] });
    expect(checks).toContainEqual({ name: 'principal', result: 'ok', text: 'bob', remedy: null });
  });

  it('fails a shallow clone with the remedy', async () => {
    const folder = join(world.folder, 'shallow');
    await runProgram('git', ['clone', '-q', '--depth', '1', '--no-single-branch', `file://${world.repository.folder}`, folder]);
    const result = await stella(['doctor', '-C', folder, '--genesis', world.pin]);
    expect(result.code).toBe(1);
    expect(result.stdout).toContain('git fetch --unshallow');
    expect(json<{ fault: { code: string } }>(await stella(['verify', '-C', folder, '--genesis', world.pin, '-o', 'json'])).fault.code).toBe('Shallow');
  });
});

describe('stella verify', () => {
  type Verified = { readonly ok: boolean; readonly counts: { records: number }; readonly population: { byType: Record<string, number> }; readonly fault: { code: string } | null };

  it('holds for an untouched clone and counts what it checked', async () => {
    const result = await clone.stella(['verify', '-o', 'json']);
    expect(result.code).toBe(0);
    const { counts, population } = json<Verified>(result);
    expect(counts.records).toBe((await world.state()).size);
    expect(population.byType).toMatchObject({ 'release-lock': 1, 'deployment-outcome': 1, 'protected-change': 1 });
  });

  it('needs neither user configuration nor a worktree: a bare mirror will do', async () => {
    const result = await stella(['verify', '--repo', world.repository.folder, '--genesis', world.pin, '-C', world.folder], { environment: { HOME: '/nonexistent' } });
    expect(result).toMatchObject({ code: 0 });
  });

  it('refuses the pin of another log, and a clone without a pin', async () => {
    const other = digestOfBytes('another log');
    expect(json<Verified>(await clone.stella(['verify', '--genesis', other, '-o', 'json'])).fault?.code).toBe('RootMissing');
    const none = await stella(['verify', '-C', world.repository.folder]);
    expect(none.code).toBe(2);
    expect(none.stderr).toContain('does not pin a log');
  });

  it('takes the pin from the environment and never from the content of the repository', async () => {
    await writeFile(join(clone.folder, '.gitconfig'), `[stella]\n\tgenesis = ${world.pin}\n`);
    await clone.git('config', '--unset', 'stella.genesis');
    expect((await clone.stella(['verify'])).code).toBe(2);
    expect((await clone.stella(['verify'], { environment: { STELLA_GENESIS: world.pin } })).code).toBe(0);
    await clone.git('config', 'stella.genesis', world.pin);
    await rm(join(clone.folder, '.gitconfig'));
  });

  /** The evidence branch of a copy, with one file edited, committed with the server's own key: only the content is wrong. */
  async function tampered(edit: (folder: string) => Promise<void>, key = world.keys.commits): Promise<{ code: number; fault: string | undefined }> {
    const folder = join(world.folder, `tampered-${Math.random().toString(36).slice(2)}`);
    await runProgram('git', ['clone', '-q', '--branch', 'stella/evidence', world.repository.folder, folder]);
    await edit(folder);
    const signing = ['-c', 'gpg.format=ssh', '-c', `user.signingKey=${key.privateKeyPath}`, '-c', 'user.name=x', '-c', 'user.email=x@example.test'];
    await runProgram('git', ['-C', folder, 'add', '-A']);
    await runProgram('git', ['-C', folder, ...signing, 'commit', '-q', '-S', '-m', 'Tamper']);
    await runProgram('git', ['-C', folder, 'update-ref', '-d', 'refs/remotes/origin/stella/evidence']);
    const result = await stella(['verify', '-C', folder, '--genesis', world.pin, '-o', 'json']);
    return { code: result.code, fault: json<Verified>(result).fault?.code };
  }
  const listed = async (folder: string, pattern: string): Promise<readonly string[]> => (await runProgram('git', ['-C', folder, 'ls-files', pattern])).toString().trim().split('\n');
  const replace = async (file: string, change: (text: string) => string): Promise<void> => writeFile(file, change(await readFile(file, 'utf8')));

  /** Puts bytes where an artifact of this digest belongs. */
  async function putArtifact(folder: string, digest: string, bytes: string): Promise<void> {
    const hex = digest.slice('sha256:'.length);
    await mkdir(join(folder, 'artifacts', hex.slice(0, 2)), { recursive: true });
    await writeFile(join(folder, 'artifacts', hex.slice(0, 2), hex), bytes);
  }

  it('passes the twin of every tampering below: one more commit by our key with an artifact under its own digest', async () => {
    expect(await tampered((folder) => putArtifact(folder, digestOfBytes('an artifact'), 'an artifact'))).toEqual({ code: 0, fault: undefined });
  });

  it('finds an edited record', async () => {
    expect(await tampered((folder) => replace(join(folder, recordPath(3)), (text) => text.replace(/"sig":"./, '"sig":"A')))).toMatchObject({ code: 1, fault: expect.stringMatching(/^Record(Unsigned|Malformed)$/) });
  });

  it('finds a removed record', async () => {
    expect(await tampered((folder) => rm(join(folder, recordPath(2))))).toEqual({ code: 1, fault: 'RecordMissing' });
  });

  it('finds an edited artifact that records name', async () => {
    const plan = (await world.state()).states.get('prod/shop')!.lastDecision!.plan!;
    expect(await tampered((folder) => putArtifact(folder, plan, 'something else'))).toEqual({ code: 1, fault: 'ArtifactDamaged' });
  });

  it('finds a file under the name of another digest', async () => {
    expect(await tampered((folder) => putArtifact(folder, digestOfBytes('nobody names this'), 'other bytes'))).toEqual({ code: 1, fault: 'ArtifactDamaged' });
  });

  it('finds an edited state file', async () => {
    const edit = async (folder: string): Promise<void> => replace(join(folder, (await listed(folder, 'state/*'))[0]!), (text) => `${text}# runs something else\n`);
    expect(await tampered(edit)).toEqual({ code: 1, fault: 'ProjectionDiffers' });
  });

  it('finds a file that does not belong there', async () => {
    expect(await tampered((folder) => writeFile(join(folder, 'notes.txt'), 'x'))).toEqual({ code: 1, fault: 'ForeignEvidence' });
  });

  it('finds a commit that is not ours, whatever it holds', async () => {
    expect(await tampered((folder) => putArtifact(folder, digestOfBytes('x'), 'x'), world.people.alice)).toEqual({ code: 1, fault: 'ForeignEvidence' });
  });
});

describe('stella replay', () => {
  it('takes every decision again, byte for byte', async () => {
    const result = await clone.stella(['replay', '--all']);
    expect(result.code).toBe(0);
    expect(result.stdout.trim()).toMatch(/^(\d+) of \1 identical\n[1-9]\d* protected changes, rewrites and reviews judged again$/);
    expect(json<{ decisions: number; identical: number }>(await clone.stella(['replay', '-o', 'json'])).decisions).toBeGreaterThanOrEqual(2);
  });

  it('takes one record, and says when it is no decision', async () => {
    const seq = (await world.state()).states.get('prod/shop')!.lastDecision!.seq;
    expect(json<{ decisions: number }>(await clone.stella(['replay', String(seq), '-o', 'json'])).decisions).toBe(1);
    expect((await clone.stella(['replay', '0'])).code).toBe(2);
  });

  it('judges the change that put the first documents in force again', async () => {
    expect(json(await clone.stella(['replay', '1', '-o', 'json']))).toMatchObject({ ok: true, decisions: 0, judged: 1 });
  });
});
