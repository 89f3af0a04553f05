import { join } from 'node:path';
import type { CommitId } from '../../core/model/commit-id.ts';
import { GitError } from '../../ports/git-reader.ts';
import type { GitCommand } from './git-command.ts';
import type { GitFolder } from './git-folder.ts';
import { diskError, probeDisk } from './loose-objects.ts';
import type { ObjectStore } from './object-store.ts';
import { PipedProcess, type AnswerReader } from './piped-process.ts';

const NEWLINE = 0x0a;

export type RefMove = { readonly ok: true } | { readonly ok: false; readonly code: 'RefMoved'; readonly actual: CommitId | null };

/** Moves local references by compare-and-swap through one long-lived `git update-ref --stdin`. */
export class RefUpdater {
  readonly #objects: ObjectStore;
  readonly #none: string;
  readonly #objectsFolder: string;
  readonly #process: PipedProcess;

  constructor(folder: GitFolder, objects: ObjectStore, command: Omit<GitCommand, 'args'>) {
    this.#objects = objects;
    this.#objectsFolder = join(folder.commonFolder, 'objects');
    this.#none = '0'.repeat(folder.objectFormat === 'sha1' ? 40 : 64);
    this.#process = new PipedProcess({ ...command, args: ['update-ref', '--stdin'] });
  }

  /** The commit that `ref` points to. `ref` is a checked name. */
  async read(ref: string): Promise<CommitId | null> {
    const [header] = await this.#objects.describe([`${ref}^{commit}`]);
    return header?.type === 'commit' ? (header.id as CommitId) : null;
  }

  /** @throws GitError `DiskFull`, `ReadOnly`, `ProcessFailed`; the reference is then where it was. */
  async move(ref: string, from: CommitId | null, to: CommitId | null): Promise<RefMove> {
    try {
      await this.#process.ask(`start\nupdate ${ref} ${to ?? this.#none} ${from ?? this.#none}\nprepare\ncommit\n`, readThreeOks());
      return { ok: true };
    } catch (error) {
      // git ends itself when it refuses; where the reference is now tells why.
      const actual = await this.read(ref);
      if (actual === to) return { ok: true };
      if (actual !== from) return { ok: false, code: 'RefMoved', actual };
      await probeDisk(this.#objectsFolder);
      throw diskError(error);
    }
  }

  close(): Promise<void> {
    return this.#process.close();
  }
}

function readThreeOks(): AnswerReader<true> {
  const expected = ['start: ok', 'prepare: ok', 'commit: ok'];
  return (bytes) => {
    while (expected.length > 0) {
      const line = bytes.takeText(NEWLINE);
      if (line === undefined) return undefined;
      const wanted = expected.shift();
      if (line !== wanted) throw new GitError('ProcessFailed', `git update-ref answered ${JSON.stringify(line.slice(0, 200))}, not ${wanted}.`);
    }
    return true;
  };
}
