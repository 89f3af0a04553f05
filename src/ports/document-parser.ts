import type { Json } from '../core/model/canonical-json.ts';
import type { BlobId } from '../core/model/commit-id.ts';
import type { ParsedFile } from '../core/desired/parsed-file.ts';

/** Text to values, with positions for messages. Synchronous: it works on bytes that are there. */
export interface DocumentParser {
  /** Never throws: what is wrong becomes problems of the file. A file that is not ours has neither documents nor problems. */
  parseFile(file: { readonly path: string; readonly blob: BlobId; readonly bytes: Uint8Array }): ParsedFile;
  parseCompose(bytes: Uint8Array): { readonly ok: true; readonly value: Json } | { readonly ok: false; readonly message: string };
}
