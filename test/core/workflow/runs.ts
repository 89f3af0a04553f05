import { advance, type Advance, type RunEvent } from '../../../src/core/workflow/advance.ts';
import type { Command } from '../../../src/core/workflow/commands.ts';
import { startRun, type RunState } from '../../../src/core/workflow/run-state.ts';
import type { StepSpec } from '../../../src/core/model/documents.ts';
import { formatInstant } from '../../../src/core/model/instant.ts';
import { digest } from '../decision/inputs.ts';

export type Setup = {
  readonly steps?: readonly StepSpec[];
  readonly targets?: readonly string[];
  readonly onFailure?: 'hold' | 'fall-back';
  readonly replaces?: boolean;
};

/** `2026-05-04T12:00:00Z` and so many seconds. */
export function at(seconds: number): string {
  return formatInstant(Date.UTC(2026, 4, 4, 12) + seconds * 1000);
}

export function newRun({ steps, targets = ['eu', 'us'], onFailure = 'hold', replaces = true }: Setup = {}): RunState {
  return startRun({
    plan: {
      type: 'stella/plan/v1', operation: 'promote', breakGlass: null, runs: null,
      workflow: { name: 'default', steps: steps ?? [{ name: 'deploy', type: 'deploy' }, { name: 'check', type: 'health-check', needs: ['deploy'] }], onFailure },
      targets: targets.map((name) => ({ name, type: 'directory_host', agent: `agent-${name}`, connection: {} })),
    },
    promotionDigest: digest('promotion digest'), generation: 4, decision: digest('allow'), decidedSeq: 20, notAfter: at(3_600), rollbackUntil: at(86_400), replaces: replaces ? digest('old lock') : null,
  });
}

/** Feeds events one after the other. @returns the state in the end and all commands in order */
export function play(run: RunState, events: readonly RunEvent[]): Advance {
  const commands: Command[] = [];
  let state = run;
  for (const event of events) {
    const step = advance(state, event);
    state = step.run;
    commands.push(...step.commands);
  }
  return { run: state, commands };
}

type Answer = Extract<RunEvent, { type: 'answered' }>;
export function answered(target: string, number: number, result: Answer['result'] = 'Succeeded', more: Partial<Answer> = {}): Answer {
  return { type: 'answered', at: at(number), target, try: number, result, changed: result === 'Succeeded', code: result, message: '', receipt: null, ...more };
}

/** `deploy eu 1`: what was sent where, with which try. */
export function sent(commands: readonly Command[]): readonly string[] {
  return commands.flatMap((c) => (c.type === 'dispatch' ? [`${c.operation} ${c.target} ${c.try}`] : []));
}

export function finishOf(commands: readonly Command[]): Extract<Command, { type: 'finish' }> | undefined {
  return commands.find((c) => c.type === 'finish');
}
