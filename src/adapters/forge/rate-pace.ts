import type { ForgeWorld } from '../../ports/forge.ts';

/** Resolves when the next request may go. */
export type RatePace = () => Promise<void>;

/** Lets `burst` requests through at once and `perSecond` after that, in the order in which they came. */
export function ratePace({ burst, perSecond }: { readonly burst: number; readonly perSecond: number }, { now, sleep }: Pick<ForgeWorld, 'now' | 'sleep'>): RatePace {
  const stepMs = 1000 / perSecond;
  // When the allowance would be whole again; each request moves it on by a step.
  let wholeAt = 0;
  return async () => {
    const at = now().getTime();
    wholeAt = Math.max(wholeAt, at) + stepMs;
    const waitMs = wholeAt - at - burst * stepMs;
    if (waitMs > 0) await sleep(waitMs);
  };
}
