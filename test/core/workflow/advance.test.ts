import { describe, expect, it } from 'vitest';
import { advance, type RunEvent } from '../../../src/core/workflow/advance.ts';
import { outstandingCommands } from '../../../src/core/workflow/commands.ts';
import { digest } from '../decision/inputs.ts';
import { answered, at, finishOf, newRun, play, sent } from './runs.ts';

const start: RunEvent = { type: 'start', at: at(0) };
const stop: RunEvent = { type: 'stop', at: at(1), reason: 'freeze' };
const retried = (attempts: number, delaySeconds: number) => [{ name: 'deploy', type: 'deploy' as const, retry: { attempts, delaySeconds }, timeoutSeconds: 30 }];

describe('a run that goes well', () => {
  it('sends each step to all targets at once, a step only after all that it needs, and ends once', () => {
    const first = play(newRun(), [start]);
    expect(sent(first.commands)).toEqual(['deploy eu 1', 'deploy us 1']);
    const half = play(first.run, [answered('us', 1)]);
    expect(half.commands).toEqual([]);
    const second = play(half.run, [answered('eu', 1)]);
    expect(sent(second.commands)).toEqual(['health-check eu 2', 'health-check us 2']);
    const last = play(second.run, [answered('eu', 2), answered('us', 2)]);
    expect(last.commands).toMatchObject([{ type: 'finish', result: 'Succeeded', reason: 'Ok', fallback: null, changed: ['eu', 'us'] }]);
    expect(finishOf(last.commands)?.steps.map(({ name, result }) => `${name} ${result}`)).toEqual(['deploy Succeeded', 'check Succeeded']);
  });

  it('gives each order its agent, its allow and its deadline', () => {
    const [order] = play(newRun({ steps: retried(1, 0), targets: ['eu'] }), [start]).commands;
    expect(order).toEqual({
      type: 'dispatch', key: 'dispatch/eu/1', step: 'deploy', operation: 'deploy', target: 'eu', agent: 'agent-eu', try: 1, decision: digest('allow'), deadline: at(30),
    });
  });

  it('sends a target one order at a time, even where two steps need nothing of each other', () => {
    const steps = [{ name: 'a', type: 'deploy' as const }, { name: 'b', type: 'deploy' as const }];
    const first = play(newRun({ steps, targets: ['eu'] }), [start]);
    expect(sent(first.commands)).toEqual(['deploy eu 1']);
    expect(sent(play(first.run, [answered('eu', 1)]).commands)).toEqual(['deploy eu 2']);
  });
});

describe('a repeated or late event', () => {
  it('changes nothing', () => {
    const once = play(newRun(), [start, answered('eu', 1)]);
    const again = play(once.run, [start, answered('eu', 1), answered('eu', 1, 'Failed'), answered('eu', 7), answered('mars', 1), { type: 'wait-over', at: at(9), target: 'eu', try: 1 }]);
    expect(again).toEqual({ run: once.run, commands: [] });
  });

  it('after the end dispatches nothing', () => {
    const done = play(newRun({ steps: retried(1, 0), targets: ['eu'] }), [start, answered('eu', 1)]);
    expect(play(done.run, [start, stop, answered('eu', 1, 'Failed')])).toEqual({ run: done.run, commands: [] });
  });

  it('of a timer that fires before its time is not believed', () => {
    const running = play(newRun({ steps: retried(1, 0), targets: ['eu'] }), [start]);
    expect(play(running.run, [{ type: 'timed-out', at: at(29), target: 'eu', try: 1 }]).run).toBe(running.run);
    expect(finishOf(play(running.run, [{ type: 'timed-out', at: at(30), target: 'eu', try: 1 }]).commands)).toMatchObject({ result: 'Errored', changed: ['eu'] });
  });
});

describe('an order that was taken back', () => {
  it('is sent again with a higher try, and was no attempt', () => {
    const again = play(newRun({ steps: retried(1, 0), targets: ['eu'] }), [start, { type: 'withdrawn', at: at(1), target: 'eu', try: 1 }]);
    expect(sent(again.commands)).toEqual(['deploy eu 1', 'deploy eu 2']);
    expect(finishOf(play(again.run, [answered('eu', 2)]).commands)).toMatchObject({ result: 'Succeeded' });
  });
});

describe('a retry', () => {
  it('waits as long as the step says and has a higher try', () => {
    const failed = play(newRun({ steps: retried(2, 10), targets: ['eu'] }), [start, answered('eu', 1, 'Errored')]);
    expect(failed.commands.at(-1)).toEqual({ type: 'wait', key: 'wait/eu/1', target: 'eu', try: 1, until: at(11) });
    const over: RunEvent = { type: 'wait-over', at: at(11), target: 'eu', try: 1 };
    expect(sent(play(failed.run, [{ ...over, at: at(10) }, over]).commands)).toEqual(['deploy eu 2']);
    expect(finishOf(play(failed.run, [over, answered('eu', 2)]).commands)?.result).toBe('Succeeded');
  });

  it('is not tried where the agent refuses, nor beyond the attempts', () => {
    const run = newRun({ steps: retried(2, 0), targets: ['eu'] });
    const refused = finishOf(play(run, [start, answered('eu', 1, 'Refused')]).commands);
    expect(refused).toMatchObject({ result: 'Errored', steps: [{ result: 'Errored', targets: [{ result: 'Refused', try: 1 }] }] });
    const failed = play(run, [start, answered('eu', 1, 'Failed'), answered('eu', 2, 'Failed')]);
    expect(sent(failed.commands)).toEqual(['deploy eu 1', 'deploy eu 2']);
    expect(finishOf(failed.commands)).toMatchObject({ result: 'Failed', reason: 'TargetFailed', fallback: null });
  });
});

describe('a failure', () => {
  it('begins nothing new, awaits what runs and holds', () => {
    const failing = play(newRun(), [start, answered('eu', 1, 'Failed')]);
    expect(finishOf(failing.commands)).toBeUndefined();
    const end = finishOf(play(failing.run, [answered('us', 1)]).commands);
    expect(end).toMatchObject({ result: 'Failed', fallback: null, changed: ['us'], steps: [{ name: 'deploy', result: 'Failed' }, { name: 'check', result: 'Skipped' }] });
  });

  it('aborts retries that still wait elsewhere', () => {
    const end = finishOf(play(newRun({ steps: retried(2, 10) }), [start, answered('eu', 1, 'Errored'), answered('us', 1, 'Refused')]).commands);
    expect(end?.steps[0]?.targets.map(({ target, result }) => `${target} ${result}`)).toEqual(['eu Aborted', 'us Refused']);
  });

  it('falls back where something changed, and only there', () => {
    const run = newRun({ onFailure: 'fall-back', targets: ['ap', 'eu', 'us'] });
    const failed = play(run, [start, answered('ap', 1), answered('eu', 1, 'Failed', { changed: false }), answered('us', 1, 'Failed', { changed: true })]);
    expect(sent(failed.commands).slice(3)).toEqual(['fall-back ap 2', 'fall-back us 2']);
    const end = finishOf(play(failed.run, [answered('ap', 2), answered('us', 2)]).commands);
    expect(end).toMatchObject({ result: 'Failed', fallback: { result: 'Succeeded' } });
  });

  it('of a health check falls back everywhere, and says when falling back fails', () => {
    const run = newRun({ onFailure: 'fall-back' });
    const failed = play(run, [start, answered('eu', 1), answered('us', 1), answered('eu', 2, 'Failed'), answered('us', 2)]);
    expect(sent(failed.commands).slice(4)).toEqual(['fall-back eu 3', 'fall-back us 3']);
    expect(finishOf(play(failed.run, [answered('eu', 3), answered('us', 3, 'Errored')]).commands)).toMatchObject({ result: 'Failed', fallback: { result: 'Failed' } });
  });

  it('holds where the time in which it may fall back is over', () => {
    const failing = (later: number) => {
      const run = play(newRun({ onFailure: 'fall-back', targets: ['eu'] }), [start]).run;
      return play(run, [answered('eu', 1, 'Failed', { changed: true, at: at(later) })]);
    };
    expect(failing(10).run.phase).toBe('FallingBack');
    expect(failing(90_000).run).toMatchObject({ phase: 'Finished', fallBack: null, end: { result: 'Failed' } });
  });

  it('holds where there is nothing to fall back to', () => {
    const run = newRun({ onFailure: 'fall-back', replaces: false, targets: ['eu'] });
    expect(finishOf(play(run, [start, answered('eu', 1, 'Failed', { changed: true })]).commands)).toMatchObject({ result: 'Failed', fallback: null });
  });

  it('counts an order that nobody answered as a change', () => {
    const run = newRun({ onFailure: 'fall-back', targets: ['eu'], steps: retried(1, 0) });
    expect(sent(play(run, [start, { type: 'timed-out', at: at(30), target: 'eu', try: 1 }]).commands)).toEqual(['deploy eu 1', 'fall-back eu 2']);
  });
});

describe('a stop', () => {
  it('before the first order aborts at once and sends nothing', () => {
    const stopped = play(newRun(), [stop, start]);
    expect(stopped.commands).toMatchObject([{ type: 'finish', result: 'Aborted', reason: 'Stopped', stopReason: 'freeze', changed: [] }]);
    expect(finishOf(stopped.commands)?.steps.map(({ result }) => result)).toEqual(['Skipped', 'Skipped']);
  });

  it('while orders run awaits their answers and holds', () => {
    const stopped = play(newRun(), [start, stop]);
    expect(finishOf(stopped.commands)).toBeUndefined();
    expect(finishOf(play(stopped.run, [answered('eu', 1), answered('us', 1)]).commands)).toMatchObject({ result: 'Aborted', fallback: null, changed: ['eu', 'us'] });
  });

  it('takes back what no agent has got', () => {
    const stopped = play(newRun({ onFailure: 'fall-back' }), [start, stop, { type: 'withdrawn', at: at(2), target: 'eu', try: 1 }, { type: 'withdrawn', at: at(2), target: 'us', try: 1 }]);
    expect(finishOf(stopped.commands)).toMatchObject({ result: 'Aborted', reason: 'Stopped', changed: [], fallback: null });
  });

  it('falls back where the workflow declares it', () => {
    const stopped = play(newRun({ onFailure: 'fall-back' }), [start, stop, answered('eu', 1), answered('us', 1, 'Errored')]);
    expect(sent(stopped.commands).slice(2)).toEqual(['fall-back eu 2']);
  });

  it('that comes too late to hold anything leaves a success a success', () => {
    const run = newRun({ steps: retried(1, 0), targets: ['eu'] });
    expect(finishOf(play(run, [start, stop, answered('eu', 1)]).commands)).toMatchObject({ result: 'Succeeded', stopReason: 'freeze' });
  });
});

describe('an allow that lapses', () => {
  const late: RunEvent = { type: 'start', at: at(3_600) };

  it('sends nothing until it was decided again', () => {
    const lapsed = play(newRun(), [late]);
    expect(lapsed.commands).toEqual([{ type: 'renew', key: `renew/${at(3_600)}` }]);
    const renewed = play(lapsed.run, [{ type: 'renewed', at: at(3_601), decision: digest('allow 2'), seq: 21, notAfter: at(7_200), rollbackUntil: at(86_400) }]);
    expect(renewed.commands.map((c) => (c.type === 'dispatch' ? c.decision : c.type))).toEqual([digest('allow 2'), digest('allow 2')]);
  });

  it('ends the run when it is no longer an allow', () => {
    expect(finishOf(play(newRun(), [late, { ...stop, at: at(3_601) }]).commands)).toMatchObject({ result: 'Aborted', changed: [] });
  });

  it('is not renewed by an older one', () => {
    const lapsed = play(newRun(), [late]);
    expect(play(lapsed.run, [{ type: 'renewed', at: at(3_601), decision: digest('old'), seq: 19, notAfter: at(9_000), rollbackUntil: at(86_400) }]).run).toBe(lapsed.run);
  });

  it('holds no longer than a newer one says, though the older one held longer', () => {
    const shorter: RunEvent = { type: 'renewed', at: at(1), decision: digest('allow 2'), seq: 21, notAfter: at(100), rollbackUntil: at(86_400) };
    const first = play(newRun({ targets: ['eu'] }), [start, shorter, answered('eu', 1, 'Succeeded', { at: at(99) })]);
    expect(sent(first.commands)).toEqual(['deploy eu 1', 'health-check eu 2']);
    const second = play(newRun({ targets: ['eu'] }), [start, shorter, answered('eu', 1, 'Succeeded', { at: at(100) })]);
    expect(second.commands.at(-1)).toEqual({ type: 'renew', key: `renew/${at(100)}` });
  });

  it('while the agent was away is decided again, and the order is sent again under the new allow', () => {
    const expired = answered('eu', 1, 'Refused', { code: 'AllowExpired', at: at(3_700) });
    const asked = play(newRun({ steps: retried(1, 0), targets: ['eu'] }), [start, expired]);
    expect(asked.commands.map(({ type }) => type)).toEqual(['dispatch', 'renew']);
    const renewed = play(asked.run, [{ type: 'renewed', at: at(3_701), decision: digest('allow 2'), seq: 21, notAfter: at(7_200), rollbackUntil: at(86_400) }]);
    expect(renewed.commands).toMatchObject([{ type: 'dispatch', target: 'eu', try: 2, decision: digest('allow 2') }]);
    expect(finishOf(play(renewed.run, [answered('eu', 2, 'Succeeded', { at: at(3_702) })]).commands)).toMatchObject({ result: 'Succeeded' });
  });

  it('by the clock of the agent alone ends the step: that clock is wrong', () => {
    const early = answered('eu', 1, 'Refused', { code: 'AllowExpired', at: at(3_599) });
    expect(finishOf(play(newRun({ steps: retried(3, 0), targets: ['eu'] }), [start, early]).commands)).toMatchObject({ result: 'Errored', changed: [] });
  });

  it('again and again for one agent is its last word in the end', () => {
    let { run } = play(newRun({ steps: retried(1, 0), targets: ['eu'] }), [start]);
    let rounds = 0;
    for (; run.end === null && rounds < 100; rounds += 1) {
      const now = 3_600 * (rounds + 1);
      const expired = answered('eu', rounds + 1, 'Refused', { code: 'AllowExpired', at: at(now) });
      run = play(run, [expired, { type: 'renewed', at: at(now), decision: digest(`allow ${rounds}`), seq: 21 + rounds, notAfter: at(now + 3_600), rollbackUntil: at(now + 86_400) }]).run;
    }
    expect([rounds, run.end]).toMatchObject([11, { result: 'Errored' }]);
  });

  it('after a stop is asked for no more', () => {
    const expired = answered('eu', 1, 'Refused', { code: 'AllowExpired', at: at(3_700) });
    expect(finishOf(play(newRun({ targets: ['eu'] }), [start, stop, expired]).commands)).toMatchObject({ result: 'Aborted', reason: 'Stopped', changed: [] });
  });

  it('does not keep a run from falling back', () => {
    const failed = play(newRun({ onFailure: 'fall-back', targets: ['eu'] }), [start, answered('eu', 1, 'Failed', { changed: true, at: at(4_000) })]);
    expect(sent(failed.commands)).toEqual(['deploy eu 1', 'fall-back eu 2']);
  });
});

describe('a run', () => {
  it('can be taken up after a restart from its state alone', () => {
    const started = play(newRun({ steps: retried(2, 10) }), [start, answered('us', 1, 'Errored')]);
    const restored = outstandingCommands(JSON.parse(JSON.stringify(started.run)) as typeof started.run);
    expect(restored.map(({ key }) => key)).toEqual(['dispatch/eu/1', 'wait/us/1']);
  });

  it.each([
    ['without targets', { targets: [] }, 'NothingToRun'],
    ['without steps', { steps: [] }, 'NothingToRun'],
    ['whose steps wait for each other', { steps: [{ name: 'a', type: 'deploy' as const, needs: ['b'] }, { name: 'b', type: 'deploy' as const, needs: ['a'] }] }, 'WorkflowStuck'],
    ['that needs a step which is not there', { steps: [{ name: 'a', type: 'deploy' as const, needs: ['z'] }] }, 'WorkflowStuck'],
  ])('%s ends as an error instead of waiting for ever', (_name, setup, reason) => {
    expect(finishOf(play(newRun(setup), [start]).commands)).toMatchObject({ result: 'Errored', reason });
  });

  it('refuses an event without a time', () => {
    expect(() => advance(newRun(), { type: 'start', at: 'now' })).toThrowError(expect.objectContaining({ code: 'InstantInvalid' }));
  });
});
