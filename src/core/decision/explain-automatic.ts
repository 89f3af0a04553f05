import type { Derivation, HeldBack } from './automatic.ts';
import type { DecisionInput } from './types.ts';

/**
 * Why nothing newer is promoted by itself, one plain sentence for each release that was not taken. Where what is wanted runs already there is
 * nothing to say. CLI, comment and API show the same sentences.
 */
export function explainDerivation(derivation: Derivation): readonly string[] {
  return derivation.heldBack.filter(({ code, release }) => code !== 'NotNewer' || release !== derivation.release).map((held) => sentence(derivation, held));
}

/** `automatic, from staging`, `automatic, channel stable`; empty where somebody wrote the Promotion. */
export function derivedFrom(derived: DecisionInput['derived']): string {
  if (derived === null) return '';
  return derived.from === 'channel' ? `automatic, channel ${derived.name}` : `automatic, from ${derived.name}`;
}

function sentence({ environment, application, derived }: Derivation, { code, release }: HeldBack): string {
  const what = `${application}/${release ?? ''}`;
  const byHand = `stella promote ${what} --to ${environment}`;
  switch (code) {
    case 'NothingRuns':
      return `Nothing is promoted by itself: ${derived.name} runs nothing in a clean state.`;
    case 'NoRelease':
      return `Nothing is promoted by itself: channel ${derived.name} of ${application} holds no locked release.`;
    case 'NotNewer':
      return `Nothing is promoted by itself: ${what} is no newer than what runs here.`;
    case 'Suspended':
      return `${what} is passed over: it is suspended.`;
    case 'Unavailable':
      return `${what} is passed over: its Release is deprecated, deleted or not what was locked.`;
    case 'LeftHere':
      return `${what} is not promoted by itself: it failed here, or somebody went back from it. A newer release is, or by hand: ${byHand}.`;
    case 'NotClean':
      return `Nothing is promoted by itself: what runs here is in no known state. A newer release is, or by hand: ${byHand}.`;
  }
}
