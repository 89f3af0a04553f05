import { createHash } from 'node:crypto';
import type { ObjectId } from '../../core/model/commit-id.ts';
import { isObjectId } from '../../core/model/commit-id.ts';
import { GitError, type ObjectRead } from '../../ports/git-reader.ts';
import type { GitCommand } from './git-command.ts';
import { PipedProcess, type ByteQueue } from './piped-process.ts';

export type ObjectFormat = 'sha1' | 'sha256';
export type ObjectType = 'blob' | 'tree' | 'commit' | 'tag';

type Header = { readonly id: ObjectId; readonly type: ObjectType; readonly sizeBytes: number } | null;

const NEWLINE = 0x0a;

/** The id that Git gives to an object with this content (T1). */
export function objectIdOf(format: ObjectFormat, type: ObjectType, bytes: Uint8Array): ObjectId {
  return createHash(format).update(`${type} ${bytes.length}\0`).update(bytes).digest('hex') as ObjectId;
}

/** Objects of one repository through one long-lived `git cat-file --batch-command --buffer`. */
export class ObjectStore {
  readonly #format: ObjectFormat;
  readonly #process: PipedProcess;

  constructor(format: ObjectFormat, command: Omit<GitCommand, 'args'>) {
    this.#format = format;
    this.#process = new PipedProcess({ ...command, args: ['cat-file', '--batch-command', '--buffer'] });
  }

  close(): Promise<void> {
    return this.#process.close();
  }

  /**
   * What each name means, or null where there is nothing. Names are ids, `<id>^{tree}` or references, without blanks or newlines:
   * the caller has checked them.
   */
  async describe(names: readonly string[]): Promise<readonly Header[]> {
    if (names.length === 0) return [];
    return this.#ask(`${names.map((name) => `info ${name}\n`).join('')}flush\n`, () => {
      const headers: Header[] = [];
      return (bytes) => {
        while (headers.length < names.length) {
          const header = readHeader(bytes);
          if (header === undefined) return undefined;
          headers.push(header);
        }
        return headers;
      };
    });
  }

  /** Content of objects of one type, each checked against its id. What is above `maxBytes` is not read. */
  async read<Id extends ObjectId>(ids: Iterable<Id>, type: ObjectType, maxBytes: number): Promise<Map<Id, ObjectRead>> {
    const wanted = [...new Set(ids)];
    const badId = wanted.find((id) => !isObjectId(id));
    if (badId !== undefined) throw new GitError('InvalidName', `${JSON.stringify(String(badId).slice(0, 100))} is not an object id.`);
    const headers = await this.describe(wanted);
    const found = new Map<Id, ObjectRead>();
    const within: Id[] = [];
    wanted.forEach((id, i) => {
      const refusal = refusalOf(headers[i] ?? null, type, maxBytes);
      if (refusal === null) within.push(id);
      found.set(id, refusal ?? { ok: false, code: 'Missing' });
    });
    for (const [id, bytes] of await this.#contents(within, type)) found.set(id, { ok: true, bytes });
    return found;
  }

  /** As `read`, for objects that must be there. @throws GitError `ObjectMissing`, `LimitExceeded` */
  async demand<Id extends ObjectId>(ids: readonly Id[], type: ObjectType, maxBytes: number): Promise<Map<Id, Uint8Array>> {
    const bytes = new Map<Id, Uint8Array>();
    for (const [id, object] of await this.read(ids, type, maxBytes)) {
      if (object.ok) bytes.set(id, object.bytes);
      else if (object.code === 'Oversize') throw new GitError('LimitExceeded', `The ${type} ${id} has ${object.sizeBytes} bytes, above the limit of ${maxBytes}.`);
      else throw new GitError('ObjectMissing', `The repository has no ${type} ${id}. Fetch again; if that does not help, let the mirror be rebuilt.`);
    }
    return bytes;
  }

  async #contents<Id extends ObjectId>(ids: readonly Id[], type: ObjectType): Promise<Map<Id, Uint8Array>> {
    if (ids.length === 0) return new Map();
    return this.#ask(`${ids.map((id) => `contents ${id}\n`).join('')}flush\n`, () => {
      const found = new Map<Id, Uint8Array>();
      let header: Header | undefined;
      return (bytes) => {
        while (found.size < ids.length) {
          header ??= readHeader(bytes);
          if (header === undefined) return undefined;
          const id = ids[found.size] as Id;
          if (header === null) throw new GitError('ObjectMissing', `The object ${id} went away while it was read. Try again.`);
          const content = bytes.take(header.sizeBytes + 1);
          if (content === undefined) return undefined;
          found.set(id, this.#checked(id, type, content.subarray(0, -1)));
          header = undefined;
        }
        return found;
      };
    });
  }

  /** T1: an object is what its id says, whatever the pack or a local edit says. */
  #checked(id: ObjectId, type: ObjectType, bytes: Uint8Array): Uint8Array {
    if (objectIdOf(this.#format, type, bytes) === id) return bytes;
    throw new GitError('ObjectCorrupt', `The content of ${type} ${id} does not give that id. Rebuild the mirror, and find out who changed the repository's files.`);
  }

  /** Once more on a new process when the old one died: reading has no effects. */
  async #ask<T>(request: string, reader: () => (bytes: ByteQueue) => T | undefined): Promise<T> {
    try {
      return await this.#process.ask(request, reader());
    } catch (error) {
      if (!(error instanceof GitError) || error.code !== 'ProcessFailed') throw error;
      return this.#process.ask(request, reader());
    }
  }
}

function refusalOf(header: Header, type: ObjectType, maxBytes: number): ObjectRead | null {
  if (header === null) return { ok: false, code: 'Missing' };
  if (header.type !== type) return { ok: false, code: 'WrongType', type: header.type };
  return header.sizeBytes > maxBytes ? { ok: false, code: 'Oversize', sizeBytes: header.sizeBytes } : null;
}

function readHeader(bytes: ByteQueue): Header | undefined {
  const text = bytes.takeText(NEWLINE);
  if (text === undefined) return undefined;
  const [id, type, size] = text.split(' ');
  if (isObjectId(id) && isObjectType(type) && /^\d+$/.test(size ?? '')) return { id, type, sizeBytes: Number(size) };
  if (text.endsWith(' missing') || text.endsWith(' ambiguous')) return null;
  throw new GitError('ProcessFailed', `git cat-file answered ${JSON.stringify(text.slice(0, 200))}.`);
}

function isObjectType(text: string | undefined): text is ObjectType {
  return text === 'blob' || text === 'tree' || text === 'commit' || text === 'tag';
}

