import { MessageChannel, receiveMessageOnPort, Worker, type MessagePort } from 'node:worker_threads';
import { OpenPgpUnavailable, type OpenPgpQuestion } from '../../core/commit/openpgp.ts';
import { encodeQuestions } from './question-bytes.ts';
import type { Said, WorkerSetup } from './verify-worker.ts';

/** Of one worker: many times what well-formed questions need. */
const MEMORY = { maxOldGenerationSizeMb: 128, maxYoungGenerationSizeMb: 16, stackSizeMb: 4 };

/**
 * A thread that is asked as a function is called: the caller waits, its event loop with it, for no longer than a deadline. Whatever a
 * signature does to the library, it does to the thread.
 */
export class BlockingWorker {
  readonly #worker: Worker;
  readonly #port: MessagePort;
  readonly #said = new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT));

  private constructor(program: URL) {
    const { port1, port2 } = new MessageChannel();
    this.#port = port1;
    const setup: WorkerSetup = { port: port2, said: this.#said };
    this.#worker = new Worker(program, { workerData: setup, transferList: [port2], resourceLimits: MEMORY, env: {}, execArgv: [] });
    // Its end shows as an answer that does not come; an error that nobody hears would end the process.
    this.#worker.on('error', () => undefined);
    this.#worker.unref();
  }

  /** @throws OpenPgpUnavailable when it is not ready in time */
  static start(program: URL, deadlineMs: number): BlockingWorker {
    const started = new BlockingWorker(program);
    if (started.#hear(deadlineMs) === 'ready') return started;
    void started.close();
    throw new OpenPgpUnavailable(`the verifier of OpenPGP signatures did not start within ${deadlineMs} ms`);
  }

  /** @returns one answer for each question; null when the thread crashed or did not answer in time, and must be closed */
  ask(questions: readonly OpenPgpQuestion[], deadlineMs: number): readonly boolean[] | null {
    const bytes = encodeQuestions(questions);
    this.#port.postMessage(bytes, [bytes.buffer]);
    const heard = this.#hear(deadlineMs);
    return heard instanceof Uint8Array && heard.length === questions.length ? [...heard].map((octet) => octet === 1) : null;
  }

  async close(): Promise<void> {
    this.#port.close();
    await this.#worker.terminate();
  }

  #hear(deadlineMs: number): Said | null {
    const deadline = performance.now() + deadlineMs;
    for (;;) {
      // Looked at first: what is said between the two following lines ends the wait at once.
      const before = Atomics.load(this.#said, 0);
      const received = receiveMessageOnPort(this.#port) as { readonly message: Said } | undefined;
      if (received !== undefined) return received.message;
      const left = deadline - performance.now();
      if (left <= 0 || Atomics.wait(this.#said, 0, before, left) === 'timed-out') return null;
    }
  }
}
