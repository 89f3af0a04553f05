import { afterAll, beforeAll, describe } from 'vitest';
import type { CommitId } from '../../src/core/model/commit-id.ts';
import { Desk } from '../integration/proposals-fixture.ts';
import { attack, type Verdict } from './attack.ts';

/** What strangers can do with a pull request from a fork, before anybody who may write has looked at it (T18). */

let desk: Desk;
let made = 0;
beforeAll(async () => {
  desk = await Desk.open();
});
afterAll(() => desk.close());

type Fork = { readonly number: number; readonly head: CommitId };

async function forked(): Promise<Fork> {
  const branch = `fork-${++made}`;
  const head = await desk.asks(branch, '1.0');
  const { number } = await desk.forge.propose(branch, { isFork: true, author: 'mallory' });
  await desk.pass();
  return { number, head };
}

/** Whether this commit was planned, as its status says. */
async function planned(head: CommitId): Promise<Verdict> {
  await desk.pass();
  const state = desk.status(head)?.state ?? 'none';
  return { accepted: state === 'success', codes: [state], executed: desk.world.executor.executed.filter(({ environment }) => environment === 'prod') };
}

describe('a pull request from a fork', () => {
  attack('plan of a fork, asked for by the stranger who opened it', {
    rules: ['T18'], expects: 'pending',
    attempt: async () => {
      const { number, head } = await forked();
      desk.forge.say(number, 'mallory', `/stella plan ${head}`);
      return planned(head);
    },
    twin: async () => {
      const { number, head } = await forked();
      desk.forge.say(number, 'maintainer', `/stella plan ${head}`);
      return planned(head);
    },
  });

  attack('commit pushed to a fork after a maintainer asked to plan another one', {
    rules: ['T18'], expects: 'pending',
    attempt: async () => {
      const { number, head } = await forked();
      desk.forge.say(number, 'maintainer', `/stella plan ${head}`);
      const next = await desk.asks(`slipped-${made}`, '1.1');
      await desk.forge.push(number, next);
      return planned(next);
    },
    twin: async () => {
      const { number, head } = await forked();
      const next = await desk.asks(`slipped-${made}`, '1.0');
      await desk.forge.push(number, next);
      desk.forge.say(number, 'maintainer', `/stella plan ${next}`);
      return { ...(await planned(next)), codes: [head] };
    },
  });

  attack('commit pushed to a fork right before a request that names none', {
    rules: ['T18'], expects: 'pending',
    attempt: async () => {
      const { number } = await forked();
      desk.later(120);
      const next = await desk.asks(`slipped-${made}`, '1.1');
      await desk.forge.push(number, next);
      await desk.pass();
      desk.later(1);
      desk.forge.say(number, 'maintainer', '/stella plan');
      return planned(next);
    },
    twin: async () => {
      const { number, head } = await forked();
      desk.later(120);
      desk.forge.say(number, 'maintainer', '/stella plan');
      return planned(head);
    },
  });
});
