import type { Conditions, ConditionReason } from '../conditions.ts';
import type { ForgeFault } from './forge-access.ts';
import type { Listing } from './list-proposals.ts';
import type { PlansFault } from './plans-branch.ts';

type Faults = {
  readonly forge: ForgeFault | null;
  readonly plans: PlansFault | null;
  readonly broken: { readonly message: string } | null;
  readonly listing: Listing;
};

const FORGE_REASON: Readonly<Record<ForgeFault['code'], ConditionReason>> = {
  RateLimited: 'ForgeRateLimited', Unauthorized: 'ForgeUnauthorized', NotFound: 'ForgeUnauthorized', Refused: 'ForgeRefused', OfflineRefused: 'ForgeRefused', Unavailable: 'ForgeUnavailable', AnswerInvalid: 'ForgeUnavailable',
};

/** What keeps proposals from being planned or told, as conditions; what is mended is cleared. */
export function reportProposals(conditions: Conditions, { forge, plans, broken, listing }: Faults): void {
  conditions.stalled('Proposals', 'forge', forge === null ? null : { reason: FORGE_REASON[forge.code], message: forge.message });
  conditions.stalled('Proposals', 'plans', plans === null ? null : { reason: plans.code, message: plans.message });
  conditions.stalled('Proposals', 'planning', broken === null ? null : { reason: 'InternalError', message: broken.message });
  conditions.stalled('Proposals', 'remote', listing.remoteFault === null ? null : { reason: 'FetchFailed', message: listing.remoteFault });
  const leftOut = [...listing.leftOut.proposals, ...listing.leftOut.branches];
  conditions.stalled('Proposals', 'candidates', leftOut.length === 0 ? null : { reason: 'TooManyProposals', message: leftOut.join('; ') });
}
