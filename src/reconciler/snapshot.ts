import type { DesiredState } from '../core/desired/desired-state.ts';
import type { LogState } from '../core/evidence/log-state.ts';
import type { CommitId } from '../core/model/commit-id.ts';

/** The world as one pass left it: nothing in it changes any more, so others may read it while the next pass runs. */
export type Snapshot = {
  /** As far as it is pushed. */
  readonly state: LogState;
  /** Declarations of `tip`. */
  readonly desired: DesiredState;
  readonly tip: CommitId;
  /** Full name of the target branch. */
  readonly targetRef: string;
  /** Where the log of `state` lies; null before genesis. */
  readonly evidenceTip: CommitId | null;
};
