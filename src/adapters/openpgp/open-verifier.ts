import { createHash } from 'node:crypto';
import type { OpenPgpQuestion, OpenPgpVerifier } from '../../core/commit/openpgp.ts';
import { limits } from '../../core/model/limits.ts';
import { BlockingWorker } from './blocking-worker.ts';

export type OpenedOpenPgp = OpenPgpVerifier & { close(): Promise<void> };

export type VerifierOptions = {
  /** Replaces the program of the worker, for tests of what becomes of one that fails. */
  readonly program?: URL;
  readonly deadlineMs?: number;
  readonly startMs?: number;
};

/**
 * Verifies OpenPGP signatures with the `openpgp` package in a thread of its own. Nothing starts before the first question.
 * @throws OpenPgpUnavailable from `verify`, when the thread cannot be started
 */
export function openOpenPgpVerifier(options: VerifierOptions = {}): OpenedOpenPgp {
  const { program = new URL('./verify-worker.ts', import.meta.url), deadlineMs = limits.openPgpAnswerMs, startMs = limits.openPgpStartMs } = options;
  return new WorkerVerifier({ program, deadlineMs, startMs });
}

class WorkerVerifier implements OpenedOpenPgp {
  readonly #options: Required<VerifierOptions>;
  /** Answers by digest of the question; they never change. The oldest gives way. */
  readonly #known = new Map<string, boolean>();
  #worker: BlockingWorker | null = null;

  constructor(options: Required<VerifierOptions>) {
    this.#options = options;
  }

  verify(questions: readonly OpenPgpQuestion[]): readonly (boolean | null)[] {
    const names = questions.map(nameOf);
    const open = new Map(names.flatMap((name, i) => { const question = questions[i]; return question === undefined || this.#known.has(name) ? [] : [[name, question] as const]; }));
    // A batch may be larger than what is remembered.
    const found = new Map(names.flatMap((name) => { const answer = this.#known.get(name); return answer === undefined ? [] : [[name, answer] as const]; }));
    for (const part of parted([...open])) {
      const answers = this.#ask(part.map(([, question]) => question));
      for (const [i, [name]] of part.entries()) {
        const answer = answers[i] ?? null;
        // What this machine could not answer now says nothing about the signature, and is asked again.
        if (answer === null) continue;
        found.set(name, answer);
        this.#remember(name, answer);
      }
    }
    return names.map((name) => found.get(name) ?? null);
  }

  async close(): Promise<void> {
    const worker = this.#worker;
    this.#worker = null;
    await worker?.close();
  }

  #ask(questions: readonly OpenPgpQuestion[]): readonly (boolean | null)[] {
    // One that brings down the thread, or keeps it busy, goes without an answer by itself: the others do not suffer for it.
    return this.#try(questions) ?? questions.map((question) => this.#try([question])?.[0] ?? null);
  }

  #try(questions: readonly OpenPgpQuestion[]): readonly boolean[] | null {
    const worker = (this.#worker ??= BlockingWorker.start(this.#options.program, this.#options.startMs));
    const answers = worker.ask(questions, this.#options.deadlineMs);
    if (answers !== null) return answers;
    this.#worker = null;
    void worker.close();
    return null;
  }

  #remember(name: string, answer: boolean): void {
    const oldest = this.#known.size >= limits.openPgpAnswers ? this.#known.keys().next().value : undefined;
    if (oldest !== undefined) this.#known.delete(oldest);
    this.#known.set(name, answer);
  }
}

/** sha256 over the three parts with their lengths. */
function nameOf({ keyPacket, signature, message }: OpenPgpQuestion): string {
  const lengths = Uint32Array.of(keyPacket.length, signature.length, message.length);
  return createHash('sha256').update(lengths).update(keyPacket).update(signature).update(message).digest('base64');
}

type Named = readonly [string, OpenPgpQuestion];

/** Parts that a worker has memory for and answers within its deadline. */
function parted(questions: readonly Named[]): readonly (readonly Named[])[] {
  const parts: Named[][] = [];
  let bytes = 0;
  for (const named of questions) {
    bytes += named[1].message.length;
    const last = parts.at(-1);
    if (last === undefined || last.length >= limits.openPgpBatch || bytes > limits.openPgpBatchBytes) {
      parts.push([named]);
      bytes = named[1].message.length;
    } else last.push(named);
  }
  return parts;
}
