import type { BlobId, CommitId } from '../core/model/commit-id.ts';
import { documentKey, type DocumentKey } from '../core/model/documents.ts';
import { limits } from '../core/model/limits.ts';
import { isDeclarationPath } from '../core/desired/parsed-file.ts';
import { mergeWrote, type TouchingCommit } from '../core/trust/requesters.ts';
import type { DocumentParser } from '../ports/document-parser.ts';
import { GitError, type FileMode, type GitReader, type LogEntry, type PathChange } from '../ports/git-reader.ts';
import { parseChanges } from './declarations.ts';
import { isHere } from './rewrites.ts';

/** Paths and documents that one commit itself changed (T26). */
type Touch = { readonly keys: ReadonlySet<DocumentKey>; /** Documents that were not there before it. */ readonly brought: ReadonlySet<DocumentKey>; readonly paths: ReadonlySet<string> };

const NONE: ReadonlyMap<string, PathChange> = new Map();

export type Interest = { readonly environment: string; readonly application: string; readonly release: string | null; readonly configurationFiles: readonly string[]; /** Paths that the release ships to targets as they are. */ readonly releaseFiles: readonly string[] };

/** Finds who changed what a promotion runs. What a commit touched is a fact about the commit, so it is kept by its id. */
export class TouchingCommits {
  readonly #reader: GitReader;
  readonly #parser: DocumentParser;
  readonly #touches = new Map<CommitId, Touch>();
  /** Of all that are remembered. */
  #paths = 0;

  constructor(reader: GitReader, parser: DocumentParser) {
    this.#reader = reader;
    this.#parser = parser;
  }

  /**
   * Commits reachable from `to` and not from `from` that by T26 changed the Promotion, the Release, or the Configuration and its
   * files, oldest first, with their raw bytes (T19).
   * @throws GitError `LimitExceeded` for more than `limits.requesterCommits` commits
   */
  async find(from: CommitId | null, to: CommitId, interest: Interest): Promise<readonly TouchingCommit[]> {
    return this.#walk(from, to, (touch) => partsOf(touch, interest));
  }

  /**
   * The same after the target branch was rewritten, where `from` may lie in the history that was left (T25). Commits of both histories are
   * shared and asked for nothing new; those of `to` alone are its own. What the old history had changed and the new one has otherwise,
   * nobody signed: it counts as one more commit, by nobody we know.
   * @param from tip of the last succeeded run's allow; null or gone: everything reachable from `to` counts, and all of it may have been undone
   */
  async findAcross(from: CommitId | null, to: CommitId, interest: Interest): Promise<readonly TouchingCommit[]> {
    if (from === null || !(await isHere(this.#reader, from))) {
      const all = await this.#walk(null, to, (touch) => partsOf(touch, interest));
      return from === null ? all : [...all, { commit: from, raw: new Uint8Array(), touched: ['promotion', 'release', 'files', 'configuration'] }];
    }
    const own = await this.find(from, to, interest);
    if (await this.#reader.isAncestor(from, to)) return own;
    const left = new Set((await this.find(to, from, interest)).flatMap(({ touched }) => touched));
    const differs = partsOf(await this.#touchBetween(from, to), interest);
    const undone = differs.filter((part) => left.has(part));
    return undone.length === 0 ? own : [...own, { commit: from, raw: new Uint8Array(), touched: undone }];
  }

  /**
   * Who wrote what a release ships, in the history in which it was locked: another history may leave them out, and the lock stays (T25).
   * @returns null where that history is gone
   */
  async findLocked(from: CommitId | null, lockedAt: CommitId, interest: Interest): Promise<readonly TouchingCommit[] | null> {
    if (!(await isHere(this.#reader, lockedAt))) return null;
    const start = from !== null && (await isHere(this.#reader, from)) ? from : null;
    return this.#walk(start, lockedAt, (touch) => partsOf(touch, interest).filter((part) => part === 'release' || part === 'files'));
  }

  /** Commits that themselves changed the document `key`, across a rewrite; everything of `to` where `from` is gone. */
  async findDocumentAcross(from: CommitId | null, to: CommitId, key: DocumentKey): Promise<readonly Pick<TouchingCommit, 'commit' | 'raw'>[]> {
    return this.findDocument(from !== null && (await isHere(this.#reader, from)) ? from : null, to, key);
  }

  /** Commits after `from` that themselves changed the document `key`, with their raw bytes. */
  async findDocument(from: CommitId | null, to: CommitId, key: DocumentKey): Promise<readonly Pick<TouchingCommit, 'commit' | 'raw'>[]> {
    return this.#walk(from, to, (touch) => (touch.keys.has(key) ? ['promotion'] : []));
  }

  /**
   * Commits after `from` that themselves changed the Release `key`, if the one that brought it is among them.
   * @returns null where it is not, or where that history is gone or too long
   */
  async findBrought(from: CommitId, to: CommitId, key: DocumentKey): Promise<readonly TouchingCommit[] | null> {
    if (!(await isHere(this.#reader, from)) || !(await isHere(this.#reader, to))) return null;
    let isThere = false;
    try {
      const found = await this.#walk(from, to, (touch) => {
        isThere ||= touch.brought.has(key);
        return touch.keys.has(key) ? ['release'] : [];
      });
      return isThere ? found : null;
    } catch (cause) {
      if (cause instanceof GitError && cause.code === 'LimitExceeded') return null;
      throw cause;
    }
  }

  /**
   * Every commit after `from` with the documents and paths that it changed itself, oldest first.
   * @param of.parser in the place of our own, for one that refuses what is too much
   * @throws GitError `LimitExceeded` where their paths are more than `maxPaths` together
   */
  async all(from: CommitId | null, to: CommitId, { maxPaths = Number.POSITIVE_INFINITY, parser = this.#parser }: { readonly maxPaths?: number; readonly parser?: DocumentParser } = {}): Promise<readonly (Touch & Pick<TouchingCommit, 'commit' | 'raw'>)[]> {
    const touches: Touch[] = [];
    let paths = 0;
    const found = await this.#walk(from, to, (touch) => {
      paths += touch.paths.size;
      if (paths > maxPaths) throw new GitError('LimitExceeded', `its commits change more than ${maxPaths} files, each counted for each of them`);
      touches.push(touch);
      return ['promotion'];
    }, parser);
    return found.map(({ commit, raw }, i) => ({ commit, raw, ...(touches[i] as Touch) }));
  }

  async #walk(from: CommitId | null, to: CommitId, parts: (touch: Touch) => TouchingCommit['touched'], parser = this.#parser): Promise<readonly TouchingCommit[]> {
    if (from === to) return [];
    const entries = await this.#reader.log(from, to, limits.requesterCommits);
    const found: { commit: CommitId; touched: TouchingCommit['touched'] }[] = [];
    for (const entry of entries) {
      const touched = parts(await this.#touchOf(entry, parser));
      if (touched.length > 0) found.push({ commit: entry.commit, touched });
    }
    const raw = await this.#reader.readCommits(found.map((f) => f.commit));
    return found.map(({ commit, touched }) => {
      const object = raw.get(commit);
      // A commit whose bytes cannot be had is one by nobody we know: its empty bytes do not verify (T12).
      return { commit, touched, raw: object?.ok === true ? object.bytes : new Uint8Array() };
    });
  }

  async #touchOf(entry: LogEntry, parser: DocumentParser): Promise<Touch> {
    const known = this.#touches.get(entry.commit);
    if (known !== undefined) return known;
    const touch = await this.#touchIn(await this.#ownChanges(entry), parser);
    this.#touches.set(entry.commit, touch);
    this.#paths += touch.paths.size;
    for (const [oldest, { paths }] of this.#touches) {
      if (this.#touches.size <= limits.requesterCommits && this.#paths <= limits.touchedPaths) break;
      this.#touches.delete(oldest);
      this.#paths -= paths.size;
    }
    return touch;
  }

  async #touchBetween(from: CommitId, to: CommitId): Promise<Touch> {
    return this.#touchIn((await this.#reader.diff(from, to)).changes, this.#parser);
  }

  async #touchIn(changes: readonly PathChange[], parser: DocumentParser): Promise<Touch> {
    const documents = changes.filter((c) => isDeclarationPath(c.path));
    const [after, before] = [await this.#keysIn(documents, parser), await this.#keysIn(documents.map(reversed), parser)];
    return { keys: after.union(before), brought: after.difference(before), paths: new Set(changes.map((c) => c.path)) };
  }

  async #keysIn(changes: readonly PathChange[], parser: DocumentParser): Promise<Set<DocumentKey>> {
    const keys = new Set<DocumentKey>();
    for (const { parsed } of await parseChanges(this.#reader, parser, changes.filter((c) => c.newBlob !== null))) {
      for (const { document } of parsed?.documents ?? []) keys.add(documentKey(document.kind, document.metadata.name));
      for (const { subject } of parsed?.problems ?? []) if (subject !== undefined) keys.add(subject);
    }
    return keys;
  }

  async #ownChanges({ commit, parents }: LogEntry): Promise<readonly PathChange[]> {
    const [ours, theirs, third] = parents;
    if (ours === undefined) return (await this.#reader.diff(null, commit)).changes;
    if (theirs === undefined) return (await this.#reader.diff(ours, commit)).changes;
    const base = third === undefined ? await this.#reader.mergeBase(ours, theirs) : null;
    // T26: an octopus merge, or one of unrelated histories, is content by its signer: whatever it has that one of its parents has not.
    if (base === null) return this.#differingFromAny(parents, commit);
    return this.#mergeChanges(base, ours, theirs, commit);
  }

  async #differingFromAny(parents: readonly CommitId[], commit: CommitId): Promise<readonly PathChange[]> {
    const diffs = await Promise.all(parents.map((parent) => this.#reader.diff(parent, commit)));
    return diffs.flatMap(({ changes }) => changes);
  }

  async #mergeChanges(base: CommitId, ours: CommitId, theirs: CommitId, result: CommitId): Promise<readonly PathChange[]> {
    const sides = await Promise.all([ours, theirs, result].map(async (side) => new Map((await this.#reader.diff(base, side)).changes.map((c) => [c.path, c]))));
    const [byOurs = NONE, byTheirs = NONE, byResult = NONE] = sides;
    const written: PathChange[] = [];
    for (const path of new Set([...byOurs.keys(), ...byTheirs.keys(), ...byResult.keys()])) {
      const known = byOurs.get(path) ?? byTheirs.get(path) ?? byResult.get(path);
      const base = contentOf(known?.oldBlob ?? null, known?.oldMode ?? null);
      const at = (side: ReadonlyMap<string, PathChange>): Content => {
        const change = side.get(path);
        return change === undefined ? base : contentOf(change.newBlob, change.newMode);
      };
      const [own, result] = [at(byOurs), at(byResult)];
      if (!mergeWrote({ base: textOf(base), ours: textOf(own), theirs: textOf(at(byTheirs)), result: textOf(result) })) continue;
      written.push({ path, oldBlob: own?.blob ?? null, newBlob: result?.blob ?? null, oldMode: own?.mode ?? null, newMode: result?.mode ?? own?.mode ?? null });
    }
    return written;
  }
}

/** What a path holds; null where it is absent. The mode belongs to it: a link that becomes a file becomes a document. */
type Content = { readonly blob: BlobId; readonly mode: FileMode } | null;

function contentOf(blob: BlobId | null, mode: FileMode | null): Content {
  return blob === null || mode === null ? null : { blob, mode };
}

function textOf(content: Content): string | null {
  return content === null ? null : `${content.mode} ${content.blob}`;
}

function reversed(c: PathChange): PathChange {
  return { path: c.path, oldBlob: c.newBlob, newBlob: c.oldBlob, oldMode: c.newMode, newMode: c.oldMode ?? '100644' };
}

function partsOf(touch: Touch, interest: Interest): TouchingCommit['touched'] {
  const subject = `${interest.environment}/${interest.application}`;
  const parts: TouchingCommit['touched'][number][] = [];
  if (touch.keys.has(documentKey('Promotion', subject))) parts.push('promotion');
  const released = interest.release !== null && touch.keys.has(documentKey('Release', `${interest.application}/${interest.release}`));
  if (released) parts.push('release');
  if (interest.releaseFiles.some((path) => touch.paths.has(path))) parts.push('files');
  const configured = touch.keys.has(documentKey('Configuration', subject)) || interest.configurationFiles.some((path) => touch.paths.has(path));
  if (configured) parts.push('configuration');
  return parts;
}
