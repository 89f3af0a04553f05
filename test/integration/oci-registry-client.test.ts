import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import fc from 'fast-check';
import { jitteredBackoff, retryAfterMs } from '../../src/adapters/oci/backoff.ts';
import { buildImage, buildLayer, type BuiltImage } from '../../src/adapters/oci/build-image.ts';
import { acceptManifests, mediaTypes } from '../../src/adapters/oci/manifest.ts';
import { parseChallenges } from '../../src/adapters/oci/registry-auth.ts';
import { createRegistryClient, type RegistryClientOptions } from '../../src/adapters/oci/registry-client.ts';
import { digestOfBytes } from '../../src/core/model/digest.ts';
import { limits } from '../../src/core/model/limits.ts';
import type { BlobSource } from '../../src/ports/blob-source.ts';
import type { DigestResolver } from '../../src/ports/digest-resolver.ts';
import { requireComponent } from '../fakes/components.ts';
import { startDockerRegistry } from '../fakes/docker-registry.ts';
import { pushImage } from '../fakes/oci-image.ts';
import { answer, type MiniatureRegistry, startMiniatureRegistry } from '../fakes/registry-server.ts';

const repository = 'shop/api';
const reference = { repository, tag: '1.0' };
const password = 'not for others';

let image: BuiltImage;
let registry: MiniatureRegistry;
let other: MiniatureRegistry;
let slept: number[];

beforeEach(async () => {
  image = buildImage([await buildLayer([{ path: 'a', content: 'A', mode: 0o644 }])]);
  registry = await startMiniatureRegistry({ '1.0': image });
  other = await startMiniatureRegistry({ '1.0': image });
  slept = [];
});
afterEach(async () => {
  await registry.stop();
  await other.stop();
});

function clientOf(options: Partial<RegistryClientOptions> = {}): DigestResolver & BlobSource {
  const sleep = async (ms: number): Promise<void> => void slept.push(ms);
  return createRegistryClient({ registry: registry.origin, now: () => new Date(0), backoff: () => 7, sleep, timeoutMs: 2_000, ...options });
}

async function drain(chunks: AsyncIterable<Uint8Array>): Promise<number> {
  let bytes = 0;
  for await (const chunk of chunks) bytes += chunk.byteLength;
  return bytes;
}

const layer = () => {
  const [digest, bytes] = [...image.blobs].at(-1) ?? [];
  if (digest === undefined || bytes === undefined) throw new Error('an image has a layer');
  return { digest, bytes };
};

describe('a registry that lies', () => {
  it('is caught when the body is not what its digest header says', async () => {
    registry.misbehave((request, response) => answer(request, response, 200, { 'docker-content-digest': digestOfBytes('other') }, image.manifestBytes));
    expect(await clientOf().resolve(reference)).toMatchObject({ ok: false, code: 'RegistryLied', disposition: 'stall' });
  });

  it('is caught when its digest header is not a digest', async () => {
    registry.misbehave((request, response) => answer(request, response, 200, { 'docker-content-digest': 'md5:1' }, image.manifestBytes));
    expect(await clientOf().resolve(reference)).toMatchObject({ ok: false, code: 'RegistryLied' });
  });

  it('is caught when it gives another manifest than the digest asked for', async () => {
    registry.misbehave((request, response) => answer(request, response, 200, {}, `${Buffer.from(image.manifestBytes).toString()} `));
    await expect(clientOf().readManifest(repository, image.manifest.digest)).rejects.toMatchObject({ code: 'DigestMismatch' });
  });

  it('is caught when it says that another manifest exists', async () => {
    registry.misbehave((request, response) => answer(request, response, 200, { 'docker-content-digest': digestOfBytes('other') }));
    expect(await clientOf().exists({ repository, digest: image.manifest.digest })).toMatchObject({ ok: false, code: 'RegistryLied' });
  });

  it('is caught when it gives another blob of the same length', async () => {
    const { digest, bytes } = layer();
    registry.misbehave((request, response) => answer(request, response, 200, {}, Buffer.alloc(bytes.byteLength, 'x')));
    await expect(drain(clientOf().openBlob(repository, digest, bytes.byteLength))).rejects.toMatchObject({ code: 'DigestMismatch' });
  });

  it('is left as soon as a blob is longer than the manifest says', async () => {
    const { digest, bytes } = layer();
    registry.misbehave((_, response) => {
      response.writeHead(200);
      const timer = setInterval(() => response.write(Buffer.alloc(64 * 1024)), 1);
      response.once('close', () => clearInterval(timer));
      return true;
    });
    await expect(drain(clientOf().openBlob(repository, digest, bytes.byteLength))).rejects.toMatchObject({ code: 'DigestMismatch' });
  });

  it('cannot make us read a manifest without end', async () => {
    let sentBytes = 0;
    registry.misbehave((request, response) => {
      if (request.method === 'HEAD') return false;
      response.writeHead(200, { 'content-type': mediaTypes.ociManifest });
      const timer = setInterval(() => response.write(Buffer.alloc(1024 * 1024, ' '), () => (sentBytes += 1024 * 1024)), 1);
      response.once('close', () => clearInterval(timer));
      return true;
    });
    expect(await clientOf().resolve(reference)).toMatchObject({ ok: false, code: 'ManifestTooLarge', disposition: 'stall' });
    expect(sentBytes).toBeLessThan(64 * 1024 * 1024);
  });

  it('cannot offer one manifest that is two things', async () => {
    const both = JSON.stringify({ ...(JSON.parse(Buffer.from(image.manifestBytes).toString()) as object), manifests: [] });
    registry.misbehave((request, response) => answer(request, response, 200, {}, both));
    expect(await clientOf().resolve(reference)).toMatchObject({ ok: false, code: 'UnsupportedManifest' });
  });

  it.each([['no JSON', '<html>'], ['schema version 1', '{"schemaVersion":1}'], ['a list', '[]'], ['bad UTF-8', Buffer.from([0x7b, 0xff])]])(
    'is refused a manifest that is %s',
    async (_, body) => {
      registry.misbehave((request, response) => answer(request, response, 200, {}, body));
      expect(await clientOf().resolve(reference)).toMatchObject({ ok: false, code: 'UnsupportedManifest' });
    },
  );
});

describe('asking a registry', () => {
  it('sends all four Accept types and reads the body of a digest it has not verified before, once', async () => {
    const accepts: (string | undefined)[] = [];
    registry.misbehave((request) => {
      accepts.push(request.headers.accept);
      return false;
    });
    const client = clientOf();
    await client.resolve(reference);
    await client.resolve(reference);
    expect(registry.seen.map((request) => request.method)).toEqual(['HEAD', 'GET', 'HEAD']);
    expect(new Set(accepts)).toEqual(new Set([acceptManifests]));
  });

  it('falls back to GET when HEAD gives no digest, or is not allowed', async () => {
    for (const status of [200, 405]) {
      registry.misbehave((request, response) => request.method === 'HEAD' && answer(request, response, status, {}));
      expect(await clientOf().resolve(reference)).toMatchObject({ ok: true, digest: image.manifest.digest });
      expect(await clientOf().exists({ repository, digest: image.manifest.digest })).toEqual({ ok: true, exists: true });
      expect(await clientOf().exists({ repository, digest: digestOfBytes('none') })).toEqual({ ok: true, exists: false });
    }
  });

  it('follows the pages of a tag list on the same registry only', async () => {
    registry.misbehave((request, response) => {
      const last = URL.parse(request.url ?? '', registry.origin)?.searchParams.get('last');
      const link = last === null ? { link: '</v2/shop/api/tags/list?n=1000&last=a>; rel="next"' } : undefined;
      return answer(request, response, 200, { ...link }, JSON.stringify({ tags: [last === null ? 'a' : 'b', '../not-a-tag', 5] }));
    });
    expect(await clientOf().listTags(repository)).toEqual({ ok: true, tags: ['a', 'b'], truncated: false });
    registry.misbehave((request, response) => answer(request, response, 200, { link: `<${other.origin}/v2/shop/api/tags/list>; rel="next"` }, '{"tags":["a"]}'));
    expect(await clientOf().listTags(repository)).toMatchObject({ ok: false, code: 'RegistryLied' });
    expect(other.seen).toEqual([]);
  });

  it('stops a tag list that goes in a circle or has too many tags', async () => {
    registry.misbehave((request, response) => answer(request, response, 200, { link: '</v2/shop/api/tags/list?n=1000>; rel="next"' }, '{"tags":["a"]}'));
    expect(await clientOf().listTags(repository)).toEqual({ ok: true, tags: ['a'], truncated: true });
    const many = Array.from({ length: limits.tagsPerRepository + 5 }, (_, i) => `t${i}`);
    registry.misbehave((request, response) => answer(request, response, 200, {}, JSON.stringify({ tags: many })));
    const listed = await clientOf().listTags(repository);
    expect(listed).toMatchObject({ ok: true, truncated: true });
    expect(listed.ok && listed.tags.length).toBe(limits.tagsPerRepository);
  });
});

describe('a registry in trouble', () => {
  it('is asked again after 429 and 503, for as long as Retry-After says', async () => {
    registry.misbehave((request, response, seen) => {
      if (seen.length === 1) return answer(request, response, 429, { 'retry-after': '3' });
      return seen.length === 2 && answer(request, response, 503, {});
    });
    expect(await clientOf().resolve(reference)).toMatchObject({ ok: true });
    expect(slept).toEqual([3000, 7]);
  });

  it('is left alone after the last try', async () => {
    registry.misbehave((request, response) => answer(request, response, 500, {}));
    expect(await clientOf().resolve(reference)).toMatchObject({ ok: false, code: 'RegistryUnreachable', disposition: 'retry' });
    expect(registry.seen).toHaveLength(limits.registryAttempts);
  });

  it('is not waited for in place when it asks for an hour', async () => {
    registry.misbehave((request, response) => answer(request, response, 429, { 'retry-after': '3600' }));
    expect(await clientOf().resolve(reference)).toMatchObject({ ok: false, code: 'RegistryUnreachable', disposition: 'wait' });
    expect(slept).toEqual([]);
  });

  it('is unreachable when nothing listens, when it is silent, and when it sends a byte now and then', async () => {
    const gone = await startMiniatureRegistry();
    await gone.stop();
    expect(await clientOf({ registry: gone.origin }).resolve(reference)).toMatchObject({ ok: false, code: 'RegistryUnreachable', disposition: 'retry' });
    registry.misbehave(() => true);
    expect(await clientOf({ timeoutMs: 50 }).resolve(reference)).toMatchObject({ ok: false, code: 'RegistryUnreachable', disposition: 'retry' });
    registry.misbehave((request, response) => {
      if (request.method === 'HEAD') return false;
      response.writeHead(200);
      const timer = setInterval(() => response.write(' '), 5);
      response.once('close', () => clearInterval(timer));
      return true;
    });
    expect(await clientOf({ timeoutMs: 100 }).resolve(reference)).toMatchObject({ ok: false, code: 'RegistryUnreachable', disposition: 'retry' });
  });

  it('fails a blob that breaks off, and stops when told to', async () => {
    const { digest, bytes } = layer();
    registry.misbehave((_, response) => {
      response.writeHead(200, { 'content-length': String(bytes.byteLength) });
      response.write(bytes.subarray(0, 5), () => response.destroy());
      return true;
    });
    await expect(drain(clientOf().openBlob(repository, digest, bytes.byteLength))).rejects.toMatchObject({ code: 'RegistryUnreachable' });
    registry.misbehave(() => true);
    const stop = new AbortController();
    const reading = drain(clientOf().openBlob(repository, digest, bytes.byteLength, stop.signal));
    stop.abort();
    await expect(reading).rejects.toMatchObject({ code: 'Aborted' });
  });

  it('gives the wait between half and all of a doubling, capped, and reads both forms of Retry-After', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 60 }), fc.double({ min: 0, max: 0.999, noNaN: true }), (attempt, random) => {
        const ceilingMs = Math.min(5_000, 100 * 2 ** (attempt - 1));
        const ms = jitteredBackoff({ baseMs: 100, capMs: 5_000, random: () => random })(attempt);
        return ms >= Math.floor(ceilingMs / 2) && ms <= ceilingMs;
      }),
    );
    expect(retryAfterMs('2', new Date(0))).toBe(2000);
    expect(retryAfterMs('Thu, 01 Jan 1970 00:00:05 GMT', new Date(0))).toBe(5000);
    expect(retryAfterMs('soon', new Date(0))).toBeUndefined();
  });
});

describe('credentials', () => {
  const credentials = () => [{ host: registry.host, username: 'robot', password }];
  const basic = `Basic ${Buffer.from(`robot:${password}`).toString('base64')}`;
  const wantsBasic = () =>
    registry.misbehave((request, response) => request.headers.authorization !== basic && answer(request, response, 401, { 'www-authenticate': 'Basic realm="x"' }));

  it('are sent only when asked for, and then at once', async () => {
    wantsBasic();
    const client = clientOf({ credentials: credentials() });
    expect(await client.resolve(reference)).toMatchObject({ ok: true });
    expect(registry.seen.map((request) => request.authorization)).toEqual([undefined, basic, basic]);
  });

  it('of another host are not used, and wrong ones are refused once', async () => {
    wantsBasic();
    expect(await clientOf({ credentials: [{ host: other.host, username: 'robot', password }] }).resolve(reference)).toMatchObject({ code: 'RegistryUnauthorized' });
    expect(registry.seen.every((request) => request.authorization === undefined)).toBe(true);
    const wrong = await clientOf({ credentials: [{ host: registry.host, username: 'robot', password: 'wrong one' }] }).resolve(reference);
    expect(wrong).toMatchObject({ ok: false, code: 'RegistryUnauthorized', disposition: 'stall' });
    expect(JSON.stringify(wrong)).not.toContain('wrong one');
  });

  it('never follow a redirect to another host', async () => {
    const { digest, bytes } = layer();
    registry.misbehave((request, response) => {
      if (request.headers.authorization !== basic) return answer(request, response, 401, { 'www-authenticate': 'Basic realm="x"' });
      return answer(request, response, 307, { location: `${other.origin}${request.url}` });
    });
    expect(await drain(clientOf({ credentials: credentials() }).openBlob(repository, digest, bytes.byteLength))).toBe(bytes.byteLength);
    expect(other.seen.map((request) => request.authorization)).toEqual([undefined]);
  });

  it('are not given to the host of a redirect that asks for them', async () => {
    registry.misbehave((request, response) => answer(request, response, 302, { location: `${other.origin}${request.url}` }));
    other.misbehave((request, response) => answer(request, response, 401, { 'www-authenticate': `Basic realm="x"` }));
    const both = [...credentials(), { host: other.host, username: 'robot', password }];
    expect(await clientOf({ credentials: both }).resolve(reference)).toMatchObject({ ok: false, code: 'RegistryUnauthorized' });
    expect(other.seen.every((request) => request.authorization === undefined)).toBe(true);
  });

  it('stay with a redirect inside the registry', async () => {
    registry.misbehave((request, response) => {
      if (request.headers.authorization !== basic) return answer(request, response, 401, { 'www-authenticate': 'Basic realm="x"' });
      return !request.url?.includes('moved') && answer(request, response, 308, { location: `${request.url}?moved` });
    });
    expect(await clientOf({ credentials: credentials() }).exists({ repository, digest: image.manifest.digest })).toMatchObject({ ok: true });
    expect(registry.seen.at(-1)).toMatchObject({ authorization: basic });
  });

  it('buy a token from the realm, once per repository, with our own scope', async () => {
    const scopes: (string | null)[] = [];
    registry.misbehave((request, response) => {
      const url = new URL(request.url ?? '', registry.origin);
      if (url.pathname === '/token') {
        scopes.push(url.searchParams.get('scope'));
        if (request.headers.authorization !== basic) return answer(request, response, 401, {});
        return answer(request, response, 200, {}, JSON.stringify({ token: 'short-lived', expires_in: 300 }));
      }
      const challenge = `Bearer realm="${registry.origin}/token",service="here",scope="repository:shop/secret:pull,push"`;
      return request.headers.authorization !== 'Bearer short-lived' && answer(request, response, 401, { 'www-authenticate': challenge });
    });
    const client = clientOf({ credentials: credentials() });
    expect(await client.resolve(reference)).toMatchObject({ ok: true });
    expect(await client.listTags(repository)).toMatchObject({ ok: true });
    expect(scopes).toEqual(['repository:shop/api:pull']);
  });

  it('buy a new token when the old one has expired', async () => {
    let now = new Date(0);
    let tokens = 0;
    registry.misbehave((request, response) => {
      if (request.url?.startsWith('/token')) return answer(request, response, 200, {}, JSON.stringify({ access_token: `token-${++tokens}`, expires_in: 100 }));
      return request.headers.authorization !== `Bearer token-${tokens}` && answer(request, response, 401, { 'www-authenticate': `Bearer realm="${registry.origin}/token"` });
    });
    const client = clientOf({ now: () => now });
    await client.resolve(reference);
    now = new Date(99_000);
    expect(await client.resolve(reference)).toMatchObject({ ok: true });
    expect(tokens).toBe(2);
  });

  it('are not sent to a token realm on another host, unless they were declared for it', async () => {
    const realm = { 'www-authenticate': `Bearer realm="${other.origin}/token",service="here"` };
    registry.misbehave((request, response) => request.headers.authorization !== 'Bearer t' && answer(request, response, 401, realm));
    other.misbehave((request, response) => answer(request, response, request.headers.authorization === undefined ? 401 : 200, {}, '{"token":"t"}'));
    expect(await clientOf({ credentials: credentials() }).resolve(reference)).toMatchObject({ ok: false, code: 'RegistryUnauthorized' });
    expect(other.seen.map((request) => request.authorization)).toEqual([undefined]);
    const declared = [{ host: other.host, username: 'robot', password }];
    expect(await clientOf({ credentials: declared }).resolve(reference)).toMatchObject({ ok: true });
    expect(registry.seen.some((request) => request.authorization === basic)).toBe(false);
  });

  it('are not sent to a realm that is not encrypted, and no token may come by a redirect', async () => {
    registry.misbehave((request, response) => answer(request, response, 401, { 'www-authenticate': 'Bearer realm="http://registry.test/token"' }));
    expect(await clientOf({ credentials: credentials() }).resolve(reference)).toMatchObject({ ok: false, code: 'RegistryUnauthorized' });
    registry.misbehave((request, response) => {
      if (request.url?.startsWith('/token')) return answer(request, response, 302, { location: `${other.origin}/token` });
      return answer(request, response, 401, { 'www-authenticate': `Bearer realm="${registry.origin}/token"` });
    });
    expect(await clientOf({ credentials: credentials() }).resolve(reference)).toMatchObject({ ok: false, code: 'RegistryUnauthorized' });
    expect(other.seen).toEqual([]);
  });

  it('may be a token of their own', async () => {
    registry.misbehave((request, response) => request.headers.authorization !== 'Bearer mine' && answer(request, response, 401, { 'www-authenticate': 'Bearer realm="https://elsewhere.test/token"' }));
    expect(await clientOf({ credentials: [{ host: registry.host, token: 'mine' }] }).resolve(reference)).toMatchObject({ ok: true });
  });

  it('are asked for in all the ways that a challenge can be written', () => {
    expect(parseChallenges('Basic realm="a, b", Bearer realm="https://x/t",service=s , scope="q\\"q"')).toMatchObject([
      { scheme: 'basic', params: { realm: 'a, b' } },
      { scheme: 'bearer', params: { realm: 'https://x/t', service: 's', scope: 'q"q' } },
    ]);
    expect(parseChallenges('')).toEqual([]);
  });

  it('open a real registry with basic authentication', async (context) => {
    requireComponent('docker-registry', context);
    const real = await startDockerRegistry({ htpasswd: true });
    try {
      const user = real.credentials ?? { username: '', password: '' };
      const headers = { authorization: `Basic ${Buffer.from(`${user.username}:${user.password}`).toString('base64')}` };
      await pushImage({ origin: real.url, repository, headers }, '1.0', image);
      const credentials = [{ host: real.host, ...user }];
      expect(await clientOf({ registry: real.url, credentials }).resolve(reference)).toMatchObject({ ok: true, digest: image.manifest.digest });
      expect(await clientOf({ registry: real.url }).resolve(reference)).toMatchObject({ ok: false, code: 'RegistryUnauthorized' });
    } finally {
      await real.stop();
    }
  });
});

describe('where a registry may be', () => {
  it('is refused redirects in a circle, to another scheme, to user names, and to plain http elsewhere', async () => {
    for (const location of ['/v2/again', 'file:///etc/passwd', 'http://user@127.0.0.1/x', 'http://169.254.169.254/latest', 'ftp://x/y', '']) {
      registry.misbehave((request, response) => answer(request, response, 302, { location }));
      expect(await clientOf().resolve(reference), location).toMatchObject({ ok: false, code: 'RedirectRefused', disposition: 'stall' });
    }
    expect(registry.seen.filter((request) => request.path === '/v2/again')).toHaveLength(limits.redirects);
  });

  it('is named by host and port, encrypted, or on this machine', () => {
    for (const bad of ['http://registry.test', 'https://u:p@registry.test', 'https://registry.test/path', 'ftp://x', 'a b', '']) {
      expect(() => clientOf({ registry: bad }), bad).toThrow(expect.objectContaining({ code: 'InvalidReference' }) as Error);
    }
    for (const good of ['registry.test', 'registry.test:5000', 'http://localhost:5000', 'http://127.3.2.1']) {
      expect(clientOf({ registry: good })).toBeDefined();
    }
    expect(clientOf({ registry: 'http://registry.test', insecure: true })).toBeDefined();
  });

  it('offline, is one of the hosts that are named, and neither redirects nor realms lead elsewhere', async () => {
    expect(await clientOf({ network: { offline: true, allowedHosts: [] } }).resolve(reference)).toMatchObject({ ok: false, code: 'OfflineRefused', disposition: 'stall' });
    expect(registry.seen).toEqual([]);
    const network = { offline: true, allowedHosts: [registry.host] } as const;
    expect(await clientOf({ network }).resolve(reference)).toMatchObject({ ok: true });
    registry.misbehave((request, response) => answer(request, response, 302, { location: `${other.origin}${request.url}` }));
    expect(await clientOf({ network }).resolve(reference)).toMatchObject({ ok: false, code: 'OfflineRefused' });
    registry.misbehave((request, response) => answer(request, response, 401, { 'www-authenticate': `Bearer realm="${other.origin}/token"` }));
    expect(await clientOf({ network }).resolve(reference)).toMatchObject({ ok: false, code: 'OfflineRefused' });
    expect(other.seen).toEqual([]);
  });
});
