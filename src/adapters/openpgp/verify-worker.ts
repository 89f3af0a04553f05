import { workerData, type MessagePort } from 'node:worker_threads';
import { answerQuestions } from './answer-questions.ts';
import { decodeQuestions } from './question-bytes.ts';

/** What the starter gives to a worker: a port, and one cell that is raised by one with each thing said on it. */
export type WorkerSetup = { readonly port: MessagePort; readonly said: Int32Array };
/** Said by the worker: once that it is ready, then one octet for each question, in the order in which they were asked. */
export type Said = 'ready' | Uint8Array;

const { port, said } = workerData as WorkerSetup;

function say(what: Said): void {
  port.postMessage(what);
  Atomics.add(said, 0, 1);
  Atomics.notify(said, 0);
}

port.on('message', (questions: Uint8Array) => {
  void answerQuestions(decodeQuestions(questions)).then(say);
});
say('ready');
