import { mkdir, open, readdir, readFile, rm, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { canonicalText } from '../core/model/canonical-json.ts';
import { limits } from '../core/model/limits.ts';
import { JournalFold, type JournalEntry } from './journal-state.ts';

export type JournalCode = 'JournalCorrupt' | 'JournalWriteFailed' | 'GenesisMismatch';

export class JournalError extends Error {
  readonly code: JournalCode;
  readonly disposition = 'stall';
  constructor(code: JournalCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

const SEGMENT = /^(\d{8})\.jsonl$/;
const segmentName = (number: number): string => `${String(number).padStart(8, '0')}.jsonl`;

/**
 * The agent's durable memory: JSON lines in numbered segment files, each line on disk before it counts. It is what makes an order run
 * once, so an agent without its journal must not run.
 */
export class Journal {
  readonly fold: JournalFold;
  readonly #folder: string;
  #file: FileHandle;
  /** Numbers of the oldest segment that counts, and of the one that is written. */
  #first: number;
  #number: number;
  #bytes: number;
  #writing: Promise<void> = Promise.resolve();
  #broken: Error | null = null;

  private constructor(folder: string, fold: JournalFold, file: FileHandle, at: { readonly first: number; readonly last: number; readonly bytes: number }) {
    this.#folder = folder;
    this.fold = fold;
    this.#file = file;
    this.#first = at.first;
    this.#number = at.last;
    this.#bytes = at.bytes;
  }

  /**
   * Reads all segments and opens the last one for appending. A last line that a crash tore is cut off: nothing that it announced has begun.
   * @param folder made if it is not there, mode 0700.
   * @throws JournalError JournalCorrupt when any other line cannot be read.
   */
  static async open(folder: string): Promise<Journal> {
    await mkdir(folder, { recursive: true, mode: 0o700 });
    const { fold, first, last, goodBytes } = await readSegments(folder);
    const file = await open(join(folder, segmentName(last)), 'a', 0o600);
    await file.truncate(goodBytes);
    await file.sync();
    await syncFolder(folder);
    const journal = new Journal(folder, fold, file, { first, last, bytes: goodBytes });
    await journal.#removeBefore(first);
    return journal;
  }

  /**
   * What a journal says, without becoming its writer; empty where there is none.
   * @throws JournalError JournalCorrupt
   */
  static async read(folder: string): Promise<JournalFold> {
    return (await readSegments(folder)).fold;
  }

  /** Writes entries, and counts them once they are on disk. @throws JournalError JournalWriteFailed; then nothing more is written. */
  append(...entries: readonly JournalEntry[]): Promise<void> {
    const written = this.#writing.then(() => this.#write(entries));
    this.#writing = written.catch(() => undefined);
    return written;
  }

  async #write(entries: readonly JournalEntry[]): Promise<void> {
    const text = entries.map((entry) => `${canonicalText(entry)}\n`).join('');
    try {
      // After a failed write the end of the file is unknown; only a restart, which cuts it, may go on.
      if (this.#broken !== null) throw this.#broken;
      if (this.#bytes >= limits.journalSegmentBytes) await this.#nextSegment();
      await this.#file.appendFile(text);
      await this.#file.datasync();
    } catch (cause) {
      this.#broken = cause instanceof Error ? cause : new Error(String(cause));
      const message = `the journal in ${this.#folder} cannot be written, so no order is executed: make room on the disk and restart the agent`;
      throw new JournalError('JournalWriteFailed', message, { cause });
    }
    this.#bytes += Buffer.byteLength(text);
    for (const entry of entries) this.fold.add(entry);
  }

  async #nextSegment(): Promise<void> {
    const next = await open(join(this.#folder, segmentName(this.#number + 1)), 'ax', 0o600);
    await syncFolder(this.#folder);
    await this.#file.close();
    this.#file = next;
    this.#number += 1;
    this.#bytes = 0;
    if (this.#number - this.#first >= limits.journalSegments) await this.#summarise();
  }

  /** Begins the new segment with what all before it said, and removes them once that is on disk. */
  async #summarise(): Promise<void> {
    const text = `${canonicalText(this.fold.summary())}\n`;
    await this.#file.appendFile(text);
    await this.#file.sync();
    this.#bytes = Buffer.byteLength(text);
    this.#first = this.#number;
    await this.#removeBefore(this.#first);
  }

  /** Oldest first, so that a crash leaves no gap. */
  async #removeBefore(first: number): Promise<void> {
    for (const number of (await segmentsIn(this.#folder)).filter((n) => n < first)) await rm(join(this.#folder, segmentName(number)), { force: true });
    await syncFolder(this.#folder);
  }

  /**
   * Pins the genesis, once for the life of this journal (T13).
   * @throws JournalError GenesisMismatch when another one is pinned.
   */
  async pinGenesis(logId: Extract<JournalEntry, { type: 'genesis' }>['logId']): Promise<void> {
    const { genesis } = this.fold.stateFor(null);
    if (genesis === logId) return;
    if (genesis !== null) {
      throw new JournalError('GenesisMismatch', `this agent follows ${genesis}, not ${logId}: an agent of another log needs a state folder of its own`);
    }
    await this.append({ type: 'genesis', logId });
  }

  async close(): Promise<void> {
    await this.#writing;
    await this.#file.close();
  }
}

async function segmentsIn(folder: string): Promise<readonly number[]> {
  const names = await readdir(folder).catch((cause: NodeJS.ErrnoException) => {
    if (cause.code === 'ENOENT') return [];
    throw cause;
  });
  return names.flatMap((name) => SEGMENT.exec(name)?.[1] ?? []).map(Number).sort((a, b) => a - b);
}

type Segments = { readonly fold: JournalFold; readonly first: number; readonly last: number; readonly goodBytes: number };

/** Reads from the newest summary on, or from the first segment. @throws JournalError JournalCorrupt */
async function readSegments(folder: string): Promise<Segments> {
  const numbers = await segmentsIn(folder);
  const last = Math.max(1, numbers.at(-1) ?? 1);
  let contents: { readonly number: number; readonly bytes: Buffer }[] = [];
  let first = 1;
  for (const number of numbers.toReversed()) {
    const bytes = await readFile(join(folder, segmentName(number)));
    contents = [{ number, bytes }, ...contents];
    if (!beginsWithSummary(bytes)) continue;
    first = number;
    break;
  }
  const fold = new JournalFold();
  let goodBytes = 0;
  for (const [i, { number, bytes }] of contents.entries()) {
    if (number !== first + i) throw corrupt(folder, segmentName(first + i), 'the segment is missing');
    goodBytes = replay(bytes, fold, number === last, folder, segmentName(number));
  }
  return { fold, first, last, goodBytes };
}

/** A line that a crash tore is none: then the segments before it are still there. */
function beginsWithSummary(bytes: Buffer): boolean {
  const end = bytes.indexOf(0x0a);
  return end !== -1 && parseLine(bytes.toString('utf8', 0, end))?.type === 'summary';
}

/** @returns the length of what could be read. */
function replay(bytes: Buffer, fold: JournalFold, isLast: boolean, folder: string, name: string): number {
  let start = 0;
  for (;;) {
    const end = bytes.indexOf(0x0a, start);
    if (end === -1) break;
    const entry = parseLine(bytes.toString('utf8', start, end));
    if (entry === null) throw corrupt(folder, name, `the line at byte ${start} is not an entry`);
    fold.add(entry);
    start = end + 1;
  }
  if (start < bytes.length && !isLast) throw corrupt(folder, name, 'the last line is torn, but a later segment exists');
  return start;
}

const TYPES: ReadonlySet<unknown> = new Set<JournalEntry['type']>(['genesis', 'protected-change', 'intent', 'receipt', 'summary']);

/** The file is our own and 0600: the shape of a line that parses and names its type is not checked further. */
function parseLine(line: string): JournalEntry | null {
  try {
    const entry = JSON.parse(line) as JournalEntry | null;
    return TYPES.has(entry?.type) ? entry : null;
  } catch {
    return null;
  }
}

function corrupt(folder: string, name: string, what: string): JournalError {
  const remedy = 'restore the folder from a backup, or enrol a new agent with a new identity; do not edit it';
  return new JournalError('JournalCorrupt', `${join(folder, name)}: ${what}. ${remedy}`);
}

async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
