import type { BlobId } from '../model/commit-id.ts';
import type { Digest } from '../model/digest.ts';
import type { AnyDocument } from '../model/documents.ts';
import type { Diagnostic } from './diagnostic.ts';
import type { Positions } from './source-position.ts';

/** A document whose shape is valid, and where it stands in its file. */
export type SourceDocument = {
  readonly document: AnyDocument;
  readonly digest: Digest;
  /** First line of the document, from 1. */
  readonly line: number;
  readonly positions: Positions;
};

/** What one file says. It depends on the blob alone, but for the path in `problems`, so it may be kept by blob id. */
export type ParsedFile = {
  readonly path: string;
  readonly blob: BlobId;
  readonly documents: readonly SourceDocument[];
  readonly problems: readonly Diagnostic[];
};

/** Files that are looked at: every YAML file, in whatever folder (T15). */
export function isDeclarationPath(path: string): boolean {
  return /\.ya?ml$/i.test(path);
}
