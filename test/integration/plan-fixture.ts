import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { ProposalPlan } from '../../src/core/proposal/plan-model.ts';
import { doc, World, yamlOf } from '../fakes/world.ts';
import { cloneFor, json, putImage, type Clone, type CliResult } from './cli-fixture.ts';

export type PlanDesk = {
  readonly world: World;
  readonly bob: Clone;
  /** Commits that the releases 1.4.0, 1.4.1 and 1.5.0 say that they were made of: 1.5.0 was not made of 1.4.1. */
  readonly sources: Readonly<Record<'1.4.0' | '1.4.1' | '1.5.0', string>>;
  /** A commit by bob on a branch that begins at `from`. Null deletes. */
  branch(name: string, files: Readonly<Record<string, string | null>>, options?: { readonly from?: string; readonly message?: string }): Promise<string>;
  plan(...args: readonly string[]): Promise<ProposalPlan & { readonly code: number }>;
  run(...args: readonly string[]): Promise<CliResult>;
};

/** A shop that runs 1.4.1 in dev and prod, with a shipped file, a configuration and a target group. */
export async function openPlanDesk(): Promise<PlanDesk> {
  const world = await World.create({
    documents: [
      doc('Application', 'shop', { components: ['api', 'web'], deployment: { type: 'directory', files: ['shop/app.conf', 'shop/start.sh'] } }), doc('Component', 'web', { repository: 'shop/web', registry: 'images' }),
      doc('Environment', 'prod', { order: 2, from: [{ environment: 'dev', soakSeconds: 3600 }], approvals: { people: 1, roles: [{ role: 'sre', count: 1 }] } }),
    ],
    files: { 'shop/app.conf': 'level = info\nport = 80\n', 'shop/start.sh': 'exec shop\n' },
  });
  for (const version of ['1.4.0', '1.4.1', '1.5.0']) {
    await putImage(world, 'shop/api', version, `api ${version}`);
    await putImage(world, 'shop/web', version === '1.4.1' ? '2.1' : '2.0', `web ${version === '1.4.1' ? '2.1' : '2.0'}`);
  }
  const base = await world.commit([], { files: { 'src/main.c': 'one\n' } });
  const fixed = await world.commit([], { files: { 'src/main.c': 'fixed\n' }, branch: 'fix' });
  const newer = await world.commit([], { files: { 'src/main.c': 'two\n' } });
  const sources = { '1.4.0': base, '1.4.1': fixed, '1.5.0': newer };
  await world.commit([
    doc('Release', 'shop/1.4.0', { components: { api: { tag: '1.4.0' }, web: { tag: '2.0' } }, source: { commit: sources['1.4.0'] } }), doc('Release', 'shop/1.4.1', { components: { api: { tag: '1.4.1' }, web: { tag: '2.1' } }, source: { commit: sources['1.4.1'] } }),
    doc('Promotion', 'dev/shop', { release: '1.4.1' }), doc('Configuration', 'prod/shop', { variables: { LEVEL: 'info', SIZE: '1' }, secrets: { TOKEN: { ref: 'env:ONE' } } }),
  ], { by: world.people.alice });
  await world.settle();
  world.now = new Date('2026-11-01T10:00:00.000Z');
  const bob = await cloneFor(world, world.people.bob);
  await world.commit([await world.promotion('prod', '1.4.1', { by: world.people.alice })], { by: world.people.alice });
  await world.settle();
  const carol = await cloneFor(world, world.people.carol);
  await carol.stella(['approve', 'prod/shop', '--yes']);
  await world.settle();
  await bob.pull();
  const branch: PlanDesk['branch'] = async (name, files, { from = 'origin/main', message = 'Change' } = {}) => {
    await bob.git('switch', '-q', '-C', name, from);
    for (const [path, text] of Object.entries(files)) {
      if (text === null) {
        await bob.git('rm', '-q', path);
        continue;
      }
      await mkdir(dirname(join(bob.folder, path)), { recursive: true });
      await writeFile(join(bob.folder, path), text);
    }
    await bob.git('add', '-A');
    await bob.git('commit', '-q', '-S', '--allow-empty', '-m', message);
    return bob.git('rev-parse', 'HEAD');
  };
  return {
    world, bob, sources, branch, run: (...args) => bob.stella(['plan', ...args]),
    plan: async (...args) => {
      const result = await bob.stella(['plan', ...args, '-o', 'json']);
      return { ...json<ProposalPlan>(result), code: result.code };
    },
  };
}

export const RELEASE_15 = (source: string): string => yamlOf(doc('Release', 'shop/1.5.0', { components: { api: { tag: '1.5.0' }, web: { tag: '2.0' } }, source: { commit: source } }));
export const PROMOTION_15 = yamlOf(doc('Promotion', 'prod/shop', { release: '1.5.0' }));
