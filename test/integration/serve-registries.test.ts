import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { writeImage } from '../../src/adapters/oci/write-layout.ts';
import { openAgentSources, openServerRegistries } from '../../src/cli/compose/server-registries.ts';
import type { ServerConfig } from '../../src/config/server.ts';
import type { RegistrySpec } from '../../src/core/model/documents.ts';
import { doc } from '../fakes/world.ts';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'stella-registries-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const now = (): Date => new Date('2026-01-02T03:04:05.000Z');
const random = (): number => 0;
type Settings = Pick<ServerConfig, 'layouts' | 'offline' | 'allowHosts' | 'secretFolders'>;
const NONE: Settings = { layouts: {}, offline: false, allowHosts: [], secretFolders: [] };
const integration = (spec: Omit<RegistrySpec, 'type'>) => ({ ...doc('Integration', 'images', { type: 'registry', ...spec }), spec: { type: 'registry' as const, ...spec } });
const ask = async (settings: Partial<Settings>, spec: Omit<RegistrySpec, 'type'>, environment: Record<string, string> = {}) =>
  (await openServerRegistries({ ...NONE, ...settings }, { environment, now, random })(integration(spec))).resolve({ repository: 'shop/api', tag: '1.0' });

describe('a server', () => {
  test('resolves tags in the folder that its configuration gives to a layout', async () => {
    await writeImage({ layoutFolder: join(folder, 'shop', 'api'), tag: '1.0', files: [{ path: 'a', content: 'a', mode: 0o644 }] });
    expect(await ask({ layouts: { images: folder } }, { layout: 'images' })).toMatchObject({ ok: true });
  });

  test('says which setting is missing for a layout that it does not know', async () => {
    const answer = await ask({}, { layout: 'images' });
    expect(answer).toMatchObject({ ok: false, disposition: 'stall' });
    expect('message' in answer && answer.message).toContain('layouts.images');
  });

  test('offline refuses every registry but those that are named, without trying', async () => {
    expect(await ask({ offline: true }, { host: 'registry.example' })).toMatchObject({ ok: false, code: 'OfflineRefused' });
    expect(await ask({ offline: true, allowHosts: ['127.0.0.1:1'] }, { host: '127.0.0.1:1', insecure: true })).toMatchObject({ ok: false, code: 'RegistryUnreachable' });
  }, 20_000);

  test('reads no secret outside the folders that it may read secrets from', async () => {
    await writeFile(join(folder, 'token'), 'a-secret');
    const spec = { host: 'registry.example', credentials: { tokenRef: `file:${folder}/token` } };
    expect(await ask({ offline: true }, spec)).toMatchObject({ ok: false, code: 'RegistryUnauthorized' });
    expect(await ask({ offline: true, secretFolders: [folder] }, spec)).toMatchObject({ ok: false, code: 'OfflineRefused' });
  });

  test('takes up a secret that comes later without a restart', async () => {
    const environment: Record<string, string> = {};
    const registries = openServerRegistries({ ...NONE, offline: true }, { environment, now, random });
    const document = integration({ host: 'registry.example', credentials: { tokenRef: 'env:TOKEN' } });
    const codeOf = async () => (await (await registries(document)).resolve({ repository: 'a', tag: 'b' })) as { code?: string };
    expect(await codeOf()).toMatchObject({ code: 'RegistryUnauthorized' });
    environment['TOKEN'] = 'here';
    expect(await codeOf()).toMatchObject({ code: 'OfflineRefused' });
  });
});

describe('an agent', () => {
  test('knows the registries of its own configuration and no others', async () => {
    const sourceOf = await openAgentSources({ registries: { images: { layout: folder } }, offline: false, allowHosts: [], secretFolders: [] }, { environment: {}, now, random });
    expect(sourceOf('images')).not.toBeNull();
    expect(sourceOf('elsewhere')).toBeNull();
  });

  test('asks a registry for repositories without its host in front', async () => {
    // With its port the host is no part of a repository's name: that would be an InvalidReference.
    const sourceOf = await openAgentSources(
      { registries: { hub: { host: 'registry.example:5000', insecure: false, username: null, passwordRef: null, tokenRef: null } }, offline: true, allowHosts: [], secretFolders: [] }, { environment: {}, now, random });
    await expect(sourceOf('hub')!.readManifest('registry.example:5000/shop/api', `sha256:${'a'.repeat(64)}` as never)).rejects.toMatchObject({ code: 'OfflineRefused' });
  });
});
