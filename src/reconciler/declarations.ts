import type { BlobId, CommitId } from '../core/model/commit-id.ts';
import type { DocumentKey } from '../core/model/documents.ts';
import { limits } from '../core/model/limits.ts';
import { applyFiles, emptyDesiredState, type DesiredState, type FileChange } from '../core/desired/desired-state.ts';
import { isDeclarationPath, type ParsedFile } from '../core/desired/parsed-file.ts';
import type { DocumentParser } from '../ports/document-parser.ts';
import type { GitReader, PathChange } from '../ports/git-reader.ts';

/** What the declarations of one commit say, and what changed since those read before. */
export type Loaded = {
  readonly tip: CommitId;
  readonly state: DesiredState;
  readonly changedKeys: readonly DocumentKey[];
  /** Every changed path, documents and other files. */
  readonly changedPaths: readonly string[];
  /** Blobs that were read and parsed for it. */
  readonly parsedFiles: number;
};

const BATCH = 500;
/** Files of one read, and bytes of documents that are parsed before everything else that waits has its turn. */
const READ_TOGETHER = 200;
const BYTES_AT_ONCE = 512 * 1024;

/** Reads declarations incrementally: only blobs that changed are read and parsed. */
export class Declarations {
  readonly #reader: GitReader;
  readonly #parser: DocumentParser;
  #current: { readonly tip: CommitId; readonly state: DesiredState } | null = null;

  constructor(reader: GitReader, parser: DocumentParser) {
    this.#reader = reader;
    this.#parser = parser;
  }

  /** @throws GitError */
  async load(tip: CommitId): Promise<Loaded> {
    const before = this.#current;
    if (before?.tip === tip) return { tip, state: before.state, changedKeys: [], changedPaths: [], parsedFiles: 0 };
    const changes = before === null ? await this.#everything(tip) : (await this.#reader.diff(before.tip, tip)).changes;
    let state = before?.state ?? emptyDesiredState();
    const keys = new Set<DocumentKey>();
    const documents = changes.filter((c) => isDeclarationPath(c.path));
    for (let i = 0; i < documents.length; i += BATCH) {
      const applied = applyFiles(state, await this.#parse(documents.slice(i, i + BATCH)));
      state = applied.state;
      for (const key of applied.changed) keys.add(key);
    }
    this.#current = { tip, state };
    return { tip, state, changedKeys: [...keys], changedPaths: changes.map((c) => c.path), parsedFiles: documents.length };
  }

  async #everything(tip: CommitId): Promise<readonly PathChange[]> {
    const { entries } = await this.#reader.readTree(tip);
    return entries.map((e) => ({ path: e.path, oldBlob: null, newBlob: e.blob, oldMode: null, newMode: e.mode }));
  }

  async #parse(changes: readonly PathChange[]): Promise<readonly FileChange[]> {
    return parseChanges(this.#reader, this.#parser, changes);
  }
}

/** Reads and parses the new side of changed files. A link or a submodule under a document's name says nothing. */
export async function parseChanges(reader: GitReader, parser: DocumentParser, changes: readonly PathChange[]): Promise<readonly FileChange[]> {
  const parsed: FileChange[] = [];
  let sinceRest = 0;
  for (let i = 0; i < changes.length; i += READ_TOGETHER) {
    const some = changes.slice(i, i + READ_TOGETHER);
    const read = await reader.readBlobs(some.flatMap((c) => (c.newBlob === null || !isFile(c) ? [] : [c.newBlob])), limits.documentBytes);
    for (const { path, newBlob, ...change } of some) {
      parsed.push({ path, parsed: newBlob === null || !isFile(change) ? null : parsedFrom(parser, path, newBlob, read) });
      const object = newBlob === null ? undefined : read.get(newBlob);
      sinceRest += object?.ok === true ? object.bytes.length : 0;
      // Agents and people who wait for an answer have their turn.
      if (sinceRest > BYTES_AT_ONCE) sinceRest = await new Promise((resolve) => setImmediate(resolve, 0));
    }
  }
  return parsed;
}

function isFile(change: Pick<PathChange, 'newMode'>): boolean {
  return change.newMode === '100644' || change.newMode === '100755';
}

function parsedFrom(parser: DocumentParser, path: string, blob: BlobId, read: Awaited<ReturnType<GitReader['readBlobs']>>): ParsedFile {
  const object = read.get(blob);
  if (object?.ok === true) return parser.parseFile({ path, blob, bytes: object.bytes });
  const size = object?.code === 'Oversize' ? `${object.sizeBytes} bytes are over the limit of ${limits.documentBytes}` : 'the blob is missing';
  const problem = {
    code: 'FileTooLarge', severity: 'error', file: path, line: 1, column: 1, message: size, remedy: 'Split the file, or give a file that holds no declarations another ending.',
  } as const;
  return { path, blob, documents: [], problems: [problem] };
}
