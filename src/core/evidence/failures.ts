import type { DeploymentOutcomePredicate } from './records.ts';

/** Why a run did not succeed on one target, for people. */
export type TargetFailure = { readonly step: string; readonly target: string; readonly result: 'Failed' | 'Errored' | 'Refused'; readonly code: string; readonly message: string };

/** Enough to see what happened; the record holds the rest. */
const SHOWN = 10;
const MESSAGE_CHARS = 500;

/** What went wrong on which target, the first ones in the order of the steps; empty for a run that succeeded. */
export function failuresOf({ steps }: Pick<DeploymentOutcomePredicate, 'steps'>): readonly TargetFailure[] {
  const failures = steps.flatMap(({ name, targets }) => targets.flatMap(({ target, result, code, message }): TargetFailure[] => {
    if (result !== 'Failed' && result !== 'Errored' && result !== 'Refused') return [];
    return [{ step: name, target, result, code, message: message.slice(0, MESSAGE_CHARS).toWellFormed() }];
  }));
  return failures.slice(0, SHOWN);
}

/** `web-1: Unhealthy: the health check did not succeed in 3 tries`. What an agent says stays on one line. */
export function failureText({ target, code, message }: TargetFailure): string {
  const said = message.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]+/gu, ' ').trim();
  return `${target}: ${code}${said === '' ? '' : `: ${said}`}`;
}
