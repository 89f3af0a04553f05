import { median } from './figure.ts';
import { createLargeWorld, type LargeWorld } from './large-world.ts';

const ROUNDS = 30;
const WARM_UPS = 3;

/**
 * One pass that fetches one changed promotion, decides it and pushes the decision, among 50,000 documents against 1,000: both warm, in one
 * process, in turn.
 * @returns ratio of the medians of 30 rounds each
 */
export async function oneChange50kVs1k(): Promise<number> {
  const few = await createLargeWorld(1_000);
  try {
    const many = await createLargeWorld(50_000);
    try {
      return await compare(many, few);
    } finally {
      await many.close();
    }
  } finally {
    await few.close();
  }
}

async function compare(many: LargeWorld, few: LargeWorld): Promise<number> {
  const times: { many: number; few: number }[] = [];
  for (let round = -WARM_UPS; round < ROUNDS; round += 1) {
    const first = await (round % 2 === 0 ? many : few).promote(round + WARM_UPS);
    const second = await (round % 2 === 0 ? few : many).promote(round + WARM_UPS);
    if (round >= 0) times.push(round % 2 === 0 ? { many: first, few: second } : { many: second, few: first });
  }
  const manyMs = median(times.map((t) => t.many));
  const fewMs = median(times.map((t) => t.few));
  for (const { documents, firstMs } of [few, many]) process.stderr.write(`${documents} documents are read, locked and decided in ${(firstMs / 1000).toFixed(1)} s\n`);
  process.stderr.write(`one change takes ${manyMs.toFixed(1)} ms among the many, ${fewMs.toFixed(1)} ms among the few\n`);
  return manyMs / fewMs;
}
