import fc from 'fast-check';
import { expect, it } from 'vitest';
import type { RunEvent } from '../../src/core/workflow/advance.ts';
import { advance } from '../../src/core/workflow/advance.ts';
import { outstandingCommands, type Command } from '../../src/core/workflow/commands.ts';
import type { RunState } from '../../src/core/workflow/run-state.ts';
import type { StepSpec } from '../../src/core/model/documents.ts';
import { canonicalText } from '../../src/core/model/canonical-json.ts';
import { digest } from '../core/decision/inputs.ts';
import { at, newRun, play } from '../core/workflow/runs.ts';

const arbitrarySteps: fc.Arbitrary<readonly StepSpec[]> = fc.integer({ min: 1, max: 4 }).chain((count) =>
  fc.tuple(
    ...Array.from({ length: count }, (_, i) =>
      fc.record({
        name: fc.constant(`s${i}`),
        type: fc.constantFrom('deploy' as const, 'health-check' as const),
        needs: fc.subarray(Array.from({ length: i }, (_unused, k) => `s${k}`)),
        retry: fc.record({ attempts: fc.integer({ min: 1, max: 3 }), delaySeconds: fc.nat(20) }),
        timeoutSeconds: fc.integer({ min: 1, max: 60 }),
      }),
    ),
  ),
);
const arbitraryRun: fc.Arbitrary<RunState> = fc
  .record({ steps: arbitrarySteps, targets: fc.subarray(['ap', 'eu', 'us'], { minLength: 1 }), onFailure: fc.constantFrom('hold' as const, 'fall-back' as const), replaces: fc.boolean() })
  .map(newRun);

/** One choice of the world: which open command meets its end, how, and what else comes in between. */
type Choice = { readonly pick: number; readonly luck: number; readonly noise: number; readonly seconds: number };
const arbitraryChoice: fc.Arbitrary<Choice> = fc.record({ pick: fc.nat(50), luck: fc.nat(99), noise: fc.nat(99), seconds: fc.nat(900) });

/** An allow of record `now`, which holds for so many seconds. */
function renewal(now: number, seconds: number): Extract<RunEvent, { type: 'renewed' }> {
  return { type: 'renewed', at: at(now), decision: digest(`allow ${now}`), seq: 21 + now, notAfter: at(now + seconds), rollbackUntil: at(now + seconds) };
}

function answerTo(command: Command, luck: number, now: number): RunEvent | null {
  if (command.type === 'wait') return { type: 'wait-over', at: command.until, target: command.target, try: command.try };
  if (command.type === 'renew') {
    return luck < 80 ? renewal(now, 600) : { type: 'stop', at: at(now), reason: 'no longer allowed' };
  }
  if (command.type === 'finish') return null;
  const { target, deadline } = command;
  if (luck >= 92) return { type: 'timed-out', at: deadline, target, try: command.try };
  if (luck >= 89) return { type: 'withdrawn', at: at(now), target, try: command.try };
  if (luck >= 86) return { type: 'answered', at: at(now), target, try: command.try, result: 'Refused', changed: false, code: 'AllowExpired', message: '', receipt: null };
  const result = luck < 70 ? 'Succeeded' : luck < 78 ? 'Failed' : luck < 83 ? 'Errored' : 'Refused';
  return { type: 'answered', at: at(now), target, try: command.try, result, changed: luck % 2 === 0, code: '', message: '', receipt: null };
}

type Story = { readonly events: readonly RunEvent[]; readonly commands: readonly Command[]; readonly run: RunState };

/** Plays a run against a world that answers in any order, repeats itself and may stop it. */
function tell(first: RunState, choices: readonly Choice[]): Story {
  const events: RunEvent[] = [];
  const commands: Command[] = [];
  let run = first;
  let now = 0;
  const feed = (event: RunEvent): void => {
    events.push(event);
    const step = advance(run, event);
    run = step.run;
    commands.push(...step.commands);
  };
  feed({ type: 'start', at: at(0) });
  // The world always answers in the end: the choices go round.
  for (let i = 0; run.end === null && i < 2_000; i += 1) {
    const choice = choices[i % choices.length] ?? { pick: 0, luck: 0, noise: 99, seconds: 1 };
    // Taking back and shortening allows may go on for long, not for ever.
    const { pick, luck, noise, seconds } = i < 300 ? choice : { ...choice, luck: choice.luck >= 89 && choice.luck < 92 ? 0 : choice.luck, noise: 98 };
    now += seconds;
    const repeated = events[pick % events.length];
    if (noise < 30 && repeated !== undefined) feed(repeated);
    if (noise >= 90 && noise < 95) feed(renewal(now, (luck % 7) * 100));
    if (noise === 99) feed({ type: 'stop', at: at(now), reason: 'freeze' });
    const open = outstandingCommands(run);
    const command = open[pick % Math.max(1, open.length)];
    const event = command === undefined ? null : answerTo(command, luck, now);
    if (event !== null) feed(event);
  }
  return { events, commands, run };
}

const arbitraryStory = fc.tuple(arbitraryRun, fc.array(arbitraryChoice, { minLength: 1, maxLength: 40 })).map(([first, choices]) => ({ first, ...tell(first, choices) }));

it('ends exactly once whatever the world answers, and dispatches nothing afterwards', () => {
  fc.assert(
    fc.property(arbitraryStory, ({ commands, run }) => {
      expect(run.end).not.toBeNull();
      expect(commands.filter(({ type }) => type === 'finish')).toHaveLength(1);
      expect(commands.at(-1)?.type).toBe('finish');
    }),
    { numRuns: 500 },
  );
});

it('tries all ends: success, failure, error, abort, and falling back', () => {
  const stories = fc.sample(arbitraryStory, { numRuns: 400, seed: 7 });
  const ends = new Set(stories.map(({ run }) => `${run.end?.result ?? ''}${run.fallBack === null ? '' : ' after falling back'}`));
  for (const end of ['Succeeded', 'Failed', 'Errored', 'Aborted', 'Failed after falling back', 'Errored after falling back']) expect([...ends]).toContain(end);
});

it('sends a target no more orders for a step than the step has attempts and orders that never began, with tries that only rise', () => {
  fc.assert(
    fc.property(arbitraryStory, ({ first, events, commands }) => {
      const orders = commands.filter((c) => c.type === 'dispatch');
      expect(new Set(orders.map(({ key }) => key)).size).toBe(orders.length);
      for (const target of first.targets) {
        const theirs = orders.filter((order) => order.target === target.name);
        expect(theirs.map((order) => order.try)).toEqual(theirs.map((_, index) => index + 1));
        const idle = new Set(events.flatMap((event) => (isNotBegun(event) && event.target === target.name ? [event.try] : [])));
        for (const step of first.steps) {
          const own = theirs.filter((order) => order.step === step.name);
          expect(own.filter((order) => !idle.has(order.try)).length).toBeLessThanOrEqual(step.attempts);
        }
      }
    }),
    { numRuns: 500 },
  );
});

function isNotBegun(event: RunEvent): event is Extract<RunEvent, { type: 'withdrawn' | 'answered' }> {
  return event.type === 'withdrawn' || (event.type === 'answered' && event.code === 'AllowExpired');
}

it('sends nothing but a fall-back under an allow that has lapsed, or that another one has replaced', () => {
  fc.assert(
    fc.property(arbitraryStory, ({ first, events }) => {
      let run = first;
      let newest = { seq: first.decidedSeq, decision: first.decision, notAfter: first.notAfter };
      for (const event of events) {
        if (event.type === 'renewed' && event.seq > newest.seq && run.end === null) newest = event;
        const { run: next, commands } = advance(run, event);
        run = next;
        for (const command of commands) {
          if (command.type !== 'dispatch') continue;
          expect(command.decision).toBe(newest.decision);
          if (command.operation !== 'fall-back') expect(event.at < newest.notAfter).toBe(true);
        }
      }
    }),
    { numRuns: 500 },
  );
});

it('holds to the newest allow in whatever order allows arrive', () => {
  const renewals = fc.uniqueArray(fc.record({ now: fc.nat(500), luck: fc.nat(99) }), { minLength: 1, maxLength: 8, selector: ({ now }) => now }).map((list) => list.map(({ now, luck }) => renewal(now, luck * 10)));
  fc.assert(
    fc.property(arbitraryRun, renewals, (first, events) => {
      const newest = events.reduce((a, b) => (b.seq > a.seq ? b : a));
      expect(play(first, events).run).toMatchObject({ decision: newest.decision, decidedSeq: newest.seq, notAfter: newest.notAfter });
    }),
    { numRuns: 200 },
  );
});

it('begins a step on a target only when every step that it needs has succeeded everywhere', () => {
  fc.assert(
    fc.property(arbitraryStory, ({ first, events }) => {
      let run = first;
      for (const event of events) {
        const before = run;
        const { run: next, commands } = advance(before, event);
        run = next;
        for (const command of commands) {
          const step = command.type === 'dispatch' ? next.steps.find(({ name }) => name === command.step) : undefined;
          for (const need of step?.needs ?? []) {
            expect(next.steps.find(({ name }) => name === need)?.targets.every(({ status }) => status === 'Succeeded')).toBe(true);
          }
        }
      }
    }),
    { numRuns: 300 },
  );
});

it('reaches the same state when its events are replayed, and when each is told twice', () => {
  fc.assert(
    fc.property(arbitraryStory, ({ first, events, commands, run }) => {
      const again = play(JSON.parse(canonicalText(first)) as RunState, events);
      expect(canonicalText(again.run)).toBe(canonicalText(run));
      expect(again.commands).toEqual(commands);
      expect(play(first, events.flatMap((event) => [event, event]))).toEqual({ run, commands });
    }),
    { numRuns: 300 },
  );
});

it('succeeds exactly when every step succeeded on every target and nothing fell back', () => {
  fc.assert(
    fc.property(arbitraryStory, ({ run }) => {
      const all = run.steps.every((step) => step.targets.every(({ status }) => status === 'Succeeded'));
      return (run.end?.result === 'Succeeded') === (all && run.fallBack === null);
    }),
    { numRuns: 500 },
  );
});
