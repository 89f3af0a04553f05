import type { BlobId, TreeId } from '../../core/model/commit-id.ts';
import { limits } from '../../core/model/limits.ts';
import { GitError, type FileMode, type PathChange, type TreeDiff, type UnreadablePath } from '../../ports/git-reader.ts';
import type { GitCommand } from './git-command.ts';
import { PipedProcess, type AnswerReader } from './piped-process.ts';
import { parsePath } from './tree-object.ts';

const COLON = 0x3a;
const NEWLINE = 0x0a;
const NUL = 0;

/** Differences of trees through one long-lived `git diff-tree --stdin`: cost by what changed, not by what exists. */
export class TreeDiffer {
  readonly #process: PipedProcess;
  #lastQuestion = 0;

  constructor(command: Omit<GitCommand, 'args'>) {
    this.#process = new PipedProcess({ ...command, args: ['diff-tree', '--stdin', '-r', '-z', '--raw', '--no-renames', '--full-index', '--no-ext-diff', '--no-textconv'] });
  }

  close(): Promise<void> {
    return this.#process.close();
  }

  async diff(from: TreeId, to: TreeId): Promise<TreeDiff> {
    if (from === to) return { changes: [], unreadable: [] };
    // git echoes a line that is no object id, and flushes: that marks the end of the answer.
    const end = `end ${++this.#lastQuestion}`;
    const request = `${from} ${to}\n${end}\n`;
    try {
      return await this.#process.ask(request, readDiff(`${from} ${to}`, end));
    } catch (error) {
      if (!(error instanceof GitError) || error.code !== 'ProcessFailed') throw error;
      return this.#process.ask(request, readDiff(`${from} ${to}`, end));
    }
  }
}

function readDiff(heading: string, end: string): AnswerReader<TreeDiff> {
  const changes: PathChange[] = [];
  const unreadable: UnreadablePath[] = [];
  let state: string | undefined;
  return (bytes) => {
    for (;;) {
      if (state === undefined && bytes.peek() !== COLON) {
        const text = bytes.takeText(NEWLINE);
        if (text === undefined) return undefined;
        if (text === end) return { changes, unreadable };
        if (text !== heading) throw new GitError('ProcessFailed', `git diff-tree answered ${JSON.stringify(text.slice(0, 200))}.`);
        continue;
      }
      state ??= bytes.takeText(NUL);
      if (state === undefined) return undefined;
      const path = bytes.takeText(NUL);
      if (path === undefined) return undefined;
      addChange(state, path, changes, unreadable);
      state = undefined;
      if (changes.length > limits.treeEntries) throw new GitError('LimitExceeded', `More than ${limits.treeEntries} files changed at once.`);
    }
  };
}

function addChange(state: string, latin1Path: string, changes: PathChange[], unreadable: UnreadablePath[]): void {
  const path = parsePath(latin1Path);
  if (!path.ok) {
    unreadable.push(path.unreadable);
    return;
  }
  const [oldMode = '', newMode = '', oldId = '', newId = ''] = state.slice(1).split(' ');
  changes.push({
    path: path.path,
    oldBlob: /^0+$/.test(oldId) ? null : (oldId as BlobId),
    newBlob: /^0+$/.test(newId) ? null : (newId as BlobId),
    oldMode: oldMode === '000000' ? null : (oldMode as FileMode),
    newMode: newMode === '000000' ? null : (newMode as FileMode),
  });
}
