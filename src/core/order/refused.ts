import { parseCanonicalJson } from '../model/canonical-json.ts';
import type { Digest } from '../model/digest.ts';
import type { ChangesFault } from './fold-changes.ts';

export type OrderRefusal =
  | 'BundleMalformed' | ChangesFault['code'] | 'DecisionUnsigned' | 'NotAnAllow' | 'PlanMismatch' | 'PromotionDigestMismatch' | 'TargetMismatch' | 'QuorumNotMet' | 'Frozen' | 'ReleaseSuspended' | 'AgentSuspended' | 'GateClosed' | 'GenerationOld'
  | 'RollbackUnproven' | 'BreakGlassNotAllowed' | 'AllowExpired' | 'OperationMismatch';

/** An order that is not proven. Thrown within a proof only; outside it is a value. */
export class Refused extends Error {
  readonly code: OrderRefusal;
  constructor(code: OrderRefusal, message: string) {
    super(message);
    this.code = code;
  }
}

/** What came with an order, by the digest that we computed. */
export type Shown = (digest: Digest) => Uint8Array | undefined;

/** @throws Refused ArtifactMissing */
export function readShown<T>(artifact: Shown, digest: Digest, what: string): T {
  const bytes = artifact(digest);
  const value = bytes === undefined ? undefined : (parseCanonicalJson(bytes) as T | undefined);
  if (value === undefined) throw new Refused('ArtifactMissing', `${what} ${digest} did not come with the order`);
  return value;
}

/** @throws Refused NotAnAllow */
export function requireDigest(value: Digest | null): Digest {
  if (value === null) throw new Refused('NotAnAllow', 'the decision names no plan or promotion digest');
  return value;
}
