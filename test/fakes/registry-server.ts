import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { BuiltImage } from '../../src/adapters/oci/build-image.ts';
import { mediaTypes } from '../../src/adapters/oci/manifest.ts';
import { digestOfBytes } from '../../src/core/model/digest.ts';

export type SeenRequest = { readonly method: string; readonly path: string; readonly authorization: string | undefined };

/** Answers a request itself and returns true, or leaves it to the honest part by returning false. */
export type Misbehaviour = (request: IncomingMessage, response: ServerResponse, seen: readonly SeenRequest[]) => boolean;

export type MiniatureRegistry = {
  readonly origin: string;
  readonly host: string;
  /** Every request that came, in order. */
  readonly seen: readonly SeenRequest[];
  /** Replaces the misbehaviour from now on. */
  readonly misbehave: (how: Misbehaviour) => void;
  readonly stop: () => Promise<void>;
};

/** A miniature registry on 127.0.0.1: honest about `images` (tag → image, in the repository `shop/api`) where `misbehave` does not step in. */
export async function startMiniatureRegistry(images: Readonly<Record<string, BuiltImage>> = {}): Promise<MiniatureRegistry> {
  const seen: SeenRequest[] = [];
  let misbehaviour: Misbehaviour = () => false;
  const server = createServer((request, response) => {
    seen.push({ method: request.method ?? '', path: request.url ?? '', authorization: request.headers.authorization });
    if (!misbehaviour(request, response, seen)) answerHonestly(images, request, response);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return {
    origin: `http://127.0.0.1:${port}`,
    host: `127.0.0.1:${port}`,
    seen,
    misbehave: (how) => {
      misbehaviour = how;
    },
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

/** Sends `bytes` with `headers`, and no body for HEAD. */
export function answer(request: IncomingMessage, response: ServerResponse, status: number, headers: Record<string, string>, bytes: Uint8Array | string = ''): true {
  const body = Buffer.from(bytes);
  response.writeHead(status, { 'content-length': String(body.byteLength), ...headers });
  response.end(request.method === 'HEAD' ? undefined : body);
  return true;
}

function answerHonestly(images: Readonly<Record<string, BuiltImage>>, request: IncomingMessage, response: ServerResponse): void {
  const [, kind, reference = ''] = /^\/v2\/shop\/api\/(manifests|blobs|tags)\/([^?]+)/.exec(request.url ?? '') ?? [];
  const built = Object.values(images);
  if (kind === 'tags') {
    answer(request, response, 200, { 'content-type': 'application/json' }, JSON.stringify({ name: 'shop/api', tags: Object.keys(images) }));
    return;
  }
  const manifest = images[reference] ?? built.find((image) => image.manifest.digest === reference);
  if (kind === 'manifests' && manifest !== undefined) {
    const headers = { 'content-type': mediaTypes.ociManifest, 'docker-content-digest': manifest.manifest.digest };
    answer(request, response, 200, headers, manifest.manifestBytes);
    return;
  }
  const blob = built.flatMap((image) => [...image.blobs.values()]).find((bytes) => digestOfBytes(bytes) === reference);
  if (kind === 'blobs' && blob !== undefined) answer(request, response, 200, { 'content-type': 'application/octet-stream' }, blob);
  else answer(request, response, 404, {}, '{"errors":[{"code":"NAME_UNKNOWN"}]}');
}
