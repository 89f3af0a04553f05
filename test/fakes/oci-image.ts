import { pack } from 'tar-stream';
import { type BuiltImage, layerOfTar, type BuiltLayer } from '../../src/adapters/oci/build-image.ts';
import { mediaTypes } from '../../src/adapters/oci/manifest.ts';
import { type Digest, digestOfBytes } from '../../src/core/model/digest.ts';

/** One entry of a hand-made layer; `name` and `linkname` go into the tar as they are. */
export type TarEntry = {
  readonly name: string;
  readonly type?: 'file' | 'link' | 'symlink' | 'directory' | 'character-device' | 'block-device' | 'fifo';
  readonly linkname?: string;
  readonly content?: string | Uint8Array;
  readonly mode?: number;
};

/** The bytes of a tar with exactly these entries, in this order. */
export async function tarOf(entries: readonly TarEntry[]): Promise<Uint8Array> {
  const archive = pack();
  for (const { name, type = 'file', linkname, content, mode = type === 'directory' ? 0o755 : 0o644 } of entries) {
    const header = { name, type, mode, mtime: new Date(0), ...(linkname === undefined ? {} : { linkname }) };
    archive.entry(header, Buffer.from(content ?? ''));
  }
  archive.finalize();
  const chunks: Uint8Array[] = [];
  for await (const chunk of archive as AsyncIterable<Uint8Array>) chunks.push(chunk);
  return Buffer.concat(chunks);
}

/** A gzip'd layer with exactly these entries. */
export async function layerOf(entries: readonly TarEntry[]): Promise<BuiltLayer> {
  return layerOfTar(await tarOf(entries));
}

type PushTarget = { readonly origin: string; readonly repository: string; readonly headers?: Readonly<Record<string, string>> };

/** Pushes an image to a real registry and points `tag` at it. */
export async function pushImage(target: PushTarget, tag: string, image: BuiltImage): Promise<Digest> {
  for (const bytes of image.blobs.values()) await pushBlob(target, bytes);
  return await pushManifest(target, tag, mediaTypes.ociManifest, image.manifestBytes);
}

/** Pushes a manifest or index whose parts are there already; `reference` is a tag or a digest. */
export async function pushManifest(target: PushTarget, reference: string, mediaType: string, bytes: Uint8Array): Promise<Digest> {
  const url = `${target.origin}/v2/${target.repository}/manifests/${reference}`;
  await expectCreated(await fetch(url, { method: 'PUT', headers: { ...target.headers, 'content-type': mediaType }, body: Buffer.from(bytes) }));
  return digestOfBytes(bytes);
}

async function pushBlob(target: PushTarget, bytes: Uint8Array): Promise<void> {
  const headers = { ...target.headers };
  const started = await fetch(`${target.origin}/v2/${target.repository}/blobs/uploads/`, { method: 'POST', headers });
  await started.body?.cancel();
  const upload = new URL(started.headers.get('location') ?? '', target.origin);
  upload.searchParams.set('digest', digestOfBytes(bytes));
  const put = { method: 'PUT', headers: { ...headers, 'content-type': 'application/octet-stream' }, body: Buffer.from(bytes) };
  await expectCreated(await fetch(upload, put));
}

async function expectCreated(response: Response): Promise<void> {
  if (response.status !== 201) throw new Error(`the registry answered ${response.status} to a push: ${await response.text()}`);
  await response.body?.cancel();
}
