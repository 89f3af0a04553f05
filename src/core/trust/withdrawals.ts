import type { Digest } from '../model/digest.ts';
import type { AnyDocument, ApprovalAction } from '../model/documents.ts';

/** Documents of withdrawals by `<principal> <digest that was approved>`. */
export type Withdrawals = ReadonlyMap<string, readonly Digest[]>;

type Voice = { readonly principal: string; readonly approves: Digest; readonly document: Digest; readonly action: ApprovalAction };

/** Who took back what (T23). Everybody takes back only their own yes, so a withdrawal makes no no weaker and no yes stronger. */
export function withdrawalsIn(voices: Iterable<Voice>): Withdrawals {
  const found = new Map<string, Digest[]>();
  for (const { principal, approves, document, action } of voices) {
    if (action === 'withdraw') found.set(keyOf(principal, approves), [...(found.get(keyOf(principal, approves)) ?? []), document]);
  }
  return found;
}

/**
 * Whether a yes was taken back. The order in which the log saw yes and withdrawal decides nothing: somebody could keep an old yes and
 * show it later. A yes that is meant to stand says so, by naming each withdrawal.
 */
export function isWithdrawn(withdrawals: Withdrawals, yes: { readonly principal: string; readonly approves: Digest; readonly despite: readonly Digest[] }): boolean {
  return (withdrawals.get(keyOf(yes.principal, yes.approves)) ?? []).some((document) => !yes.despite.includes(document));
}

/** The withdrawals that an Approval says it stands in spite of. */
export function despiteIn(document: AnyDocument | undefined): readonly Digest[] {
  return document?.kind === 'Approval' ? (document.spec.despite ?? []) : [];
}

function keyOf(principal: string, approves: Digest): string {
  return `${principal} ${approves}`;
}
