import { rm } from 'node:fs/promises';
import { afterAll, beforeAll } from 'vitest';
import type { AnyDocument, SpecOf } from '../../src/core/model/documents.ts';
import type { Plan, Runs } from '../../src/core/model/preimages.ts';
import { createTemporaryFolder } from '../fakes/git-repository.ts';
import { documentOf, type LogOptions } from '../fakes/log-fixture.ts';
import type { Verdict } from './attack.ts';
import { Heist, type Loot } from './heist.ts';

export const targetOf = (name: string, more: Partial<SpecOf['Target']> = {}): AnyDocument =>
  documentOf('Target', name, { type: 'directory_host', agent: 'anna', environments: ['prod'], applications: ['shop'], connection: { root: `/srv/${name}` }, ...more }) as unknown as AnyDocument;

export const withRuns = (edit: (runs: Runs) => Partial<Runs>) => (plan: Plan): Plan => ({ ...plan, runs: { ...plan.runs!, ...edit(plan.runs!) } });

/** What the honest server sends. */
export const honest = async (heist: Heist): Promise<Verdict> => heist.hand(await heist.order());

/** An attack that leaves the log as it is. */
export const steal = (of: () => Promise<Heist>, loot: Loot | ((heist: Heist) => Loot | Promise<Loot>)) => async (): Promise<Verdict> => {
  const heist = await of();
  return heist.hand(await heist.steal(typeof loot === 'function' ? await loot(heist) : loot));
};

export const TWO = { targets: { 'web-1': 'anna', 'web-2': 'berta' } } as const;

export type Heists = {
  readonly open: (options?: LogOptions) => Promise<Heist>;
  /** 1.0.0 runs on web-1 and web-2; bob approved 1.1.0, which alice asked for. */
  readonly approved: () => Promise<Heist>;
  /** The same, but nobody has approved 1.1.0. */
  readonly asked: () => Promise<Heist>;
  /** 1.0.0 runs, bob approved it, and web-2 came later: the honest server has decided to extend it there. */
  readonly extended: () => Promise<Heist>;
};

/** Logs of one test file; those with names are made once, for attacks that leave them as they are. */
export function heists(): Heists {
  let folder = '';
  let made = 0;
  const opened: Heist[] = [];
  beforeAll(async () => {
    folder = await createTemporaryFolder();
  });
  afterAll(async () => {
    for (const heist of opened) await heist.close();
    await rm(folder, { recursive: true, force: true });
  });
  const open = async (options: LogOptions = {}): Promise<Heist> => {
    const heist = await Heist.open(`${folder}/${(made += 1)}`, options);
    opened.push(heist);
    return heist;
  };
  return {
    open,
    approved: once(async () => {
      const heist = await open(TWO);
      await heist.deploy();
      await heist.log.allow('1.1.0');
      return heist;
    }),
    asked: once(async () => {
      const heist = await open(TWO);
      await heist.deploy();
      heist.log.lock('1.1.0');
      await heist.log.promote({ release: '1.1.0' });
      return heist;
    }),
    extended: once(async () => {
      const heist = await open({ agents: ['berta'] });
      await heist.deploy();
      await heist.log.change(targetOf('web-2', { agent: 'berta' }));
      await heist.log.decide();
      return heist;
    }),
  };
}

function once(make: () => Promise<Heist>): () => Promise<Heist> {
  let made: Promise<Heist> | null = null;
  return () => (made ??= make());
}
