import { appendFile, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, describe, expect, it } from 'vitest';
import { Journal } from '../../src/agent/journal.ts';
import { slotKey, type JournalEntry } from '../../src/agent/journal-state.ts';
import { digestOfBytes } from '../../src/core/model/digest.ts';
import { limits } from '../../src/core/model/limits.ts';
import { Scratch } from './agent-fixture.ts';

const scratch = new Scratch();
afterEach(() => scratch.clean());

const logId = digestOfBytes('genesis');
const intent = (name: string, generation: number): Extract<JournalEntry, { type: 'intent' }> => ({
  type: 'intent', order: digestOfBytes(name), operation: 'apply', environment: 'prod', application: 'shop',
  target: { name: 'web-1', type: 'miniature', connection: {} },
  mark: { generation, promotionDigest: digestOfBytes(`promotion ${generation}`), try: 1 },
  startedAt: '2026-01-01T00:00:00.000Z',
});
const receipt = (name: string): JournalEntry => ({ type: 'receipt', order: digestOfBytes(name), envelope: Buffer.from(`receipt of ${name}`).toString('base64') });
const key = slotKey({ environment: 'prod', application: 'shop', target: 'web-1' });

async function openJournal(folder: string): Promise<Journal> {
  const journal = await Journal.open(folder);
  scratch.later(() => journal.close().catch(() => undefined));
  return journal;
}

describe('the journal', () => {
  it('knows after a restart what it was told before', async () => {
    const folder = await scratch.folder();
    const journal = await openJournal(folder);
    await journal.pinGenesis(logId);
    await journal.append({ type: 'protected-change', seq: 3, digest: digestOfBytes('change') });
    await journal.append(intent('a', 1));
    await journal.append(receipt('a'));
    await journal.append(intent('b', 2));
    await journal.close();
    const { fold } = await openJournal(folder);
    expect(fold.stateFor(null)).toMatchObject({ genesis: logId, protectedChange: { seq: 3 } });
    expect(fold.stateFor(null).generations.get(key)?.generation).toBe(2);
    expect(Buffer.from(fold.receiptOf(digestOfBytes('a')) ?? []).toString()).toBe('receipt of a');
    expect(fold.interrupted()).toEqual([digestOfBytes('b')]);
  });

  it('cuts off a last line that a crash tore, wherever it tore', async () => {
    const folder = await scratch.folder();
    const journal = await openJournal(folder);
    await journal.append(intent('a', 1));
    await journal.append(receipt('a'));
    await journal.close();
    const path = join(folder, '00000001.jsonl');
    const whole = await readFile(path);
    const secondLine = whole.indexOf(0x0a) + 1;
    const lengths = fc.integer({ min: secondLine, max: whole.length - 1 });
    await fc.assert(
      fc.asyncProperty(lengths, async (length) => {
        await writeFile(path, whole.subarray(0, length));
        const torn = await Journal.open(folder);
        expect(torn.fold.receiptOf(digestOfBytes('a'))).toBeNull();
        expect(torn.fold.interrupted()).toEqual([digestOfBytes('a')]);
        await torn.append(receipt('a'));
        await torn.close();
        expect(await readFile(path)).toEqual(whole);
      }),
      { numRuns: 30 },
    );
  });

  it('refuses to start on a line that nobody tore', async () => {
    const folder = await scratch.folder();
    const journal = await openJournal(folder);
    await journal.append(intent('a', 1));
    await journal.close();
    await appendFile(join(folder, '00000001.jsonl'), '{"type":"rece\n');
    await expect(Journal.open(folder)).rejects.toMatchObject({ code: 'JournalCorrupt' });
  });

  it('goes on in a new segment when one is full, and misses none of them', async () => {
    const folder = await scratch.folder();
    const journal = await openJournal(folder);
    const large = { ...receipt('large'), envelope: 'A'.repeat(limits.journalSegmentBytes) } as JournalEntry;
    await journal.append(large);
    await journal.append(intent('a', 1));
    await journal.close();
    expect((await readdir(folder)).sort()).toEqual(['00000001.jsonl', '00000002.jsonl']);
    const { fold } = await openJournal(folder);
    expect(fold.receiptOf(digestOfBytes('large'))).not.toBeNull();
    expect(fold.stateFor(null).generations.get(key)?.generation).toBe(1);
    await writeFile(join(folder, '00000004.jsonl'), '');
    await expect(Journal.open(folder)).rejects.toMatchObject({ code: 'JournalCorrupt' });
  });

  describe('that has filled its segments', () => {
    const filler = (n: number): JournalEntry => ({ ...receipt(`filler ${n}`), envelope: Buffer.alloc(limits.journalSegmentBytes, n).toString('base64') } as JournalEntry);
    /** Fills segments after 5 generations, of which the last was cut. */
    const full = async (segments: number): Promise<string> => {
      const folder = await scratch.folder();
      const journal = await openJournal(folder);
      await journal.pinGenesis(logId);
      await journal.append({ type: 'protected-change', seq: 3, digest: digestOfBytes('change') });
      for (let n = 1; n <= 5; n++) await journal.append({ ...intent(`o${n}`, n), runs: digestOfBytes(`runs ${n}`) }, ...(n === 5 ? [] : [receipt(`o${n}`)]));
      for (let n = 0; n < segments; n++) await journal.append(filler(n));
      await journal.append(receipt('the last'));
      await journal.close();
      return folder;
    };
    const said = (fold: Journal['fold']) => ({ ...fold.stateFor(null), cut: fold.stateFor(digestOfBytes('o5')).generations, slots: fold.slots(), open: fold.interrupted(), receipt: Buffer.from(fold.receiptOf(digestOfBytes('o4')) ?? []).toString() });

    it('says the same in one line, and drops what that line says', async () => {
      const [few, many] = [await full(1), await full(limits.journalSegments + 3)];
      expect((await readdir(many)).length).toBeLessThanOrEqual(limits.journalSegments);
      const [one, other] = [await openJournal(few), await openJournal(many)];
      expect(said(other.fold)).toEqual(said(one.fold));
      expect(other.fold.stateFor(null).generations.get(key)?.generation).toBe(5);
      expect(said(await Journal.read(many))).toEqual(said(one.fold));
    });

    it('reads the segments before a line that a crash tore, and writes it again', async () => {
      const folder = await full(limits.journalSegments - 1);
      const whole = await openJournal(folder);
      const expected = said(whole.fold);
      await whole.close();
      const next = join(folder, `0000000${limits.journalSegments + 1}.jsonl`);
      await writeFile(next, '{"type":"summ');
      const torn = await openJournal(folder);
      expect(said(torn.fold)).toEqual(expected);
      await torn.append(receipt('more'));
      await torn.close();
      expect(said((await openJournal(folder)).fold)).toEqual(expected);
    });

    it('refuses to start without a segment that no line stands for', async () => {
      const folder = await full(1);
      await rm(join(folder, '00000001.jsonl'));
      await expect(Journal.open(folder)).rejects.toMatchObject({ code: 'JournalCorrupt' });
    });
  });

  it('answers from the newest receipts, and forgets what came long before', async () => {
    const journal = await openJournal(await scratch.folder());
    await journal.append(...Array.from({ length: limits.journalReceipts + 2 }, (_, n) => receipt(`r${n}`)));
    expect(journal.fold.receiptOf(digestOfBytes('r1'))).toBeNull();
    expect(journal.fold.receiptOf(digestOfBytes('r2'))).not.toBeNull();
  });

  it('pins one genesis for its life', async () => {
    const journal = await openJournal(await scratch.folder());
    await journal.pinGenesis(logId);
    await journal.pinGenesis(logId);
    await expect(journal.pinGenesis(digestOfBytes('another log'))).rejects.toMatchObject({ code: 'GenesisMismatch' });
  });

  it('judges an order that was cut as if it had not begun, and every other by it', async () => {
    const journal = await openJournal(await scratch.folder());
    await journal.append(intent('a', 4), receipt('a'), intent('b', 5));
    expect(journal.fold.stateFor(digestOfBytes('b')).generations.get(key)?.generation).toBe(4);
    expect(journal.fold.stateFor(digestOfBytes('a')).generations.get(key)?.generation).toBe(5);
    await journal.append(intent('b', 5)); // executed again after the crash, and cut again
    expect(journal.fold.stateFor(digestOfBytes('b')).generations.get(key)?.generation).toBe(4);
    await journal.append(intent('c', 6));
    expect(journal.fold.stateFor(digestOfBytes('b')).generations.get(key)?.generation).toBe(6);
  });

  it('counts nothing that it could not write, and writes nothing after that', async () => {
    const journal = await openJournal(await scratch.folder());
    await journal.append(intent('a', 1));
    await journal.close();
    await expect(journal.append(receipt('a'))).rejects.toMatchObject({ code: 'JournalWriteFailed' });
    expect(journal.fold.receiptOf(digestOfBytes('a'))).toBeNull();
    await expect(journal.append(receipt('a'))).rejects.toMatchObject({ code: 'JournalWriteFailed' });
  });
});
