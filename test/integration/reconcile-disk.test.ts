import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { requireComponent } from '../fakes/components.ts';
import { mountTmpfs } from '../fakes/tmpfs.ts';
import { doc, World } from '../fakes/world.ts';

const MEGABYTE = 1024 * 1024;

/** Fills the disk until nothing more fits. */
async function fill(folder: string): Promise<void> {
  for (const size of [MEGABYTE, 64 * 1024, 4096, 512]) {
    for (let i = 0; i < 400; i++) {
      const failed = await writeFile(join(folder, `full-${size}-${i}`), Buffer.alloc(size, i)).then(() => false, () => true);
      if (failed) break;
    }
  }
}

async function free(folder: string): Promise<void> {
  for (const size of [MEGABYTE, 64 * 1024, 4096, 512]) for (let i = 0; i < 400; i++) await rm(join(folder, `full-${size}-${i}`), { force: true });
}

it('a server whose disk is full executes nothing, says so, and goes on once there is room, with every record once', async (ctx) => {
  requireComponent('tmpfs', ctx);
  const disk = mountTmpfs(20);
  const world = await World.create({ mirrorFolder: disk.path });
  try {
    world.registry.put('shop/api:1.0', 'one');
    world.registry.put('shop/api:1.1', 'two');
    const commits = [
      [doc('Release', 'shop/1.0', { components: { api: { tag: '1.0' } } }), doc('Promotion', 'dev/shop', { release: '1.0' })],
      [doc('Release', 'shop/1.1', { components: { api: { tag: '1.1' } } }), doc('Promotion', 'dev/shop', { release: '1.1' })],
    ];
    for (const [i, documents] of commits.entries()) {
      await world.commit(documents, { by: world.people.alice });
      await fill(disk.path);
      const stalled = await world.pass();
      expect(stalled.ok).toBe(false);
      expect(world.executor.executed).toHaveLength(i);
      await free(disk.path);
      await world.settle();
      expect(world.executor.executed).toHaveLength(i + 1);
    }
    expect((await world.state()).states.get('dev/shop')).toMatchObject({ release: '1.1', generation: 2, clean: true });
  } finally {
    await world.close();
    disk.unmount();
  }
});
