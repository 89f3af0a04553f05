import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { openOpenPgpVerifier, type OpenedOpenPgp, type VerifierOptions } from '../../src/adapters/openpgp/open-verifier.ts';
import type { OpenPgpQuestion } from '../../src/core/commit/openpgp.ts';
import { makePgpKey, makePgpSignature } from '../core/commit/openpgp-maker.ts';
import { createTemporaryFolder } from '../fakes/git-repository.ts';

const key = makePgpKey('eddsa');
const question = (text: string, signed = text): OpenPgpQuestion => ({ keyPacket: key.packet, signature: makePgpSignature(key, Buffer.from(signed)), message: Buffer.from(text) });

let folder: string;
let opened: OpenedOpenPgp[];
beforeEach(async () => {
  folder = await createTemporaryFolder();
  opened = [];
});
afterEach(async () => {
  await Promise.all(opened.map((verifier) => verifier.close()));
  await rm(folder, { recursive: true, force: true });
});

function open(options?: VerifierOptions): OpenedOpenPgp {
  const verifier = openOpenPgpVerifier(options);
  opened.push(verifier);
  return verifier;
}

/** A worker that answers yes, but does something else with messages that a test marks. */
async function program(behaviour: string): Promise<URL> {
  const file = join(folder, 'worker.mjs');
  await writeFile(file, `
    import { workerData } from 'node:worker_threads';
    import { decodeQuestions } from '${new URL('../../src/adapters/openpgp/question-bytes.ts', import.meta.url).href}';
    const { port, said } = workerData;
    const say = (what) => { port.postMessage(what); Atomics.add(said, 0, 1); Atomics.notify(said, 0); };
    const has = (questions, text) => questions.some(({ message }) => new TextDecoder().decode(message) === text);
    port.on('message', (bytes) => { const questions = decodeQuestions(bytes); ${behaviour}; say(new Uint8Array(questions.length).fill(1)); });
    say('ready');
  `);
  return pathToFileURL(file);
}

describe('the verifier', () => {
  test('answers many questions at once, each for itself and in their order', () => {
    const questions = Array.from({ length: 1_200 }, (_, i) => (i % 3 === 0 ? question(`message ${i}`, 'another') : question(`message ${i}`)));
    expect(open().verify(questions)).toEqual(questions.map((_, i) => i % 3 !== 0));
    expect(open().verify([])).toEqual([]);
  });

  test('says no to whatever is no key and no signature, and goes on', () => {
    const verifier = open();
    const junk = [new Uint8Array(), Uint8Array.of(4), Buffer.alloc(300, 0xff), key.packet.subarray(0, 20)];
    const questions = junk.flatMap((bytes) => [{ ...question('x'), keyPacket: bytes }, { ...question('x'), signature: bytes }]);
    expect(verifier.verify([...questions, question('x')])).toEqual([...questions.map(() => false), true]);
  });

  test('starts nothing before it is asked something', () => {
    const nowhere = open({ program: new URL('file:///nonexistent/worker.mjs'), startMs: 300 });
    expect(nowhere.verify([])).toEqual([]);
    expect(() => nowhere.verify([question('x')])).toThrow(expect.objectContaining({ code: 'OpenPgpUnavailable' }));
  });

  test('remembers its answers: the thread is not asked twice', async () => {
    const verifier = open({ program: await program("if (has(questions, 'second')) for (;;);"), deadlineMs: 300 });
    expect(verifier.verify([question('first')])).toEqual([true]);
    expect(verifier.verify([question('first'), question('first')])).toEqual([true, true]);
    expect(verifier.verify([question('second'), question('first')])).toEqual([null, true]);
  });
});

describe('a thread that fails', () => {
  test.each([
    ['does not end', "if (has(questions, 'poison')) for (;;);"],
    ['crashes', "if (has(questions, 'poison')) process.exit(1)"],
    ['throws', "if (has(questions, 'poison')) throw new Error('broken')"],
    ['takes all memory it can get', "if (has(questions, 'poison')) { const held = []; for (;;) held.push(new Array(1e6).fill(held.length)); }"],
    ['says nothing', "if (has(questions, 'poison')) return"],
    ['says too little', "if (has(questions, 'poison')) return say(new Uint8Array(0))"],
  ])('because one signature %s, has no answer for that signature alone and is started anew', async (_, behaviour) => {
    const verifier = open({ program: await program(behaviour), deadlineMs: 1_000 });
    expect(verifier.verify([question('before')])).toEqual([true]);
    expect(verifier.verify([question('good'), question('poison'), question('other')])).toEqual([true, null, true]);
    expect(verifier.verify([question('after')])).toEqual([true]);
  });

  test('to start tells so instead of saying anything about a signature', async () => {
    const file = join(folder, 'broken.mjs');
    await writeFile(file, 'throw new Error("does not start")');
    const verifier = open({ program: pathToFileURL(file), startMs: 300 });
    expect(() => verifier.verify([question('x')])).toThrow(expect.objectContaining({ code: 'OpenPgpUnavailable' }));
  });
});
