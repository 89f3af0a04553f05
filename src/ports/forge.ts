import type { CommitId } from '../core/model/commit-id.ts';

/** A pull request, merge request, or whatever the forge calls it. */
export type ForgeProposal = {
  readonly number: number;
  readonly title: string;
  readonly url: string;
  readonly state: 'open' | 'merged' | 'closed';
  readonly isDraft: boolean;
  /** Account of who opened it. Decides nothing (T8). */
  readonly author: string;
  readonly head: {
    /** Full name of the ref from which the head can be fetched out of the target repository; null where the forge has none: a fork on Bitbucket, which cannot be planned. */
    readonly fetchRef: string | null;
    readonly branch: string;
    readonly commit: CommitId;
  };
  /** Its head lies in another repository (T18). */
  readonly isFork: boolean;
  /** Full name of the branch into which it goes. */
  readonly baseRef: string;
  /** Where it was merged, by whichever method; null until then, or where the forge does not say. */
  readonly mergeCommit: CommitId | null;
  readonly updatedAt: string;
};

export type ForgeStatus = {
  /** Which of several, such as `stella/plan`. One status for each commit and context. */
  readonly context: string;
  readonly state: 'pending' | 'success' | 'failure' | 'error';
  /** Cut to what the forge takes. */
  readonly description: string;
  readonly url: string | null;
};

export type ForgeComment = { readonly id: string; readonly author: string; readonly body: string; readonly createdAt: string };

/** What protects a branch, as far as the forge tells this token; null where it does not say. */
export type BranchProtection = {
  readonly ref: string;
  readonly forcePushBlocked: boolean | null;
  readonly deletionBlocked: boolean | null;
  readonly proposalRequired: boolean | null;
  /** Contexts of statuses without which nothing merges. */
  readonly requiredStatuses: readonly string[] | null;
  /** Accounts, teams and roles that may push, each as the forge names it; empty: nobody. null: whoever may write to the repository, or the forge does not say. */
  readonly pushers: readonly string[] | null;
};

/** Limits of what a forge shows. */
export type ForgeLimits = { readonly commentChars: number; readonly descriptionChars: number };

export type ForgeErrorCode =
  /** Asked too often; `retryAt` says when to come back. Secondary limits as well. */
  | 'RateLimited'
  /** The token is gone, expired, or lacks the right. */
  | 'Unauthorized'
  | 'NotFound'
  /** The forge understood and said no; or the address is one that we do not go to (a redirect, T18). */
  | 'Refused'
  /** The configuration says offline, and this host is not among those allowed. */
  | 'OfflineRefused'
  /** No answer, or one that says that the forge is out of order. It may be there later. */
  | 'Unavailable'
  /** The answer is not what the forge's description says. */
  | 'AnswerInvalid';

/** The message is fit for users and never holds a credential. */
export class ForgeError extends Error {
  readonly code: ForgeErrorCode;
  /** Milliseconds since 1970 before which asking again is no use; null where the forge does not say. */
  readonly retryAt: number | null;

  constructor(code: ForgeErrorCode, message: string, options: { readonly retryAt?: number | null; readonly cause?: unknown } = {}) {
    super(message, { cause: options.cause });
    this.code = code;
    this.retryAt = options.retryAt ?? null;
  }
}

/** A commit that the forge made to try a proposal before it merges it: it merges only if the status is on this commit as well. */
export type ForgeQueueEntry = { readonly number: number; /** Full name of its ref in the target repository. */ readonly ref: string; readonly commit: CommitId };

/** One repository on a forge. Every method throws ForgeError. */
export interface Forge {
  readonly type: string;
  readonly limits: ForgeLimits;
  /** Open proposals into `baseRef`, newest update first, at most `limits.forgeProposals` of them; `isComplete` is false where there are more. */
  listOpen(baseRef: string): Promise<{ readonly proposals: readonly ForgeProposal[]; readonly isComplete: boolean }>;
  /** Merged into `baseRef` since, newest first. */
  listMerged(baseRef: string, since: Date): Promise<readonly ForgeProposal[]>;
  /** What waits in the merge queue of `baseRef`; none where the forge has no queue. */
  listQueued(baseRef: string): Promise<readonly ForgeQueueEntry[]>;
  /** @throws ForgeError `NotFound` where there is none of this number */
  read(number: number): Promise<ForgeProposal>;
  setStatus(commit: CommitId, status: ForgeStatus): Promise<void>;
  /** Oldest first, at most `limits.forgeComments`. */
  listComments(number: number): Promise<readonly ForgeComment[]>;
  addComment(number: number, body: string): Promise<ForgeComment>;
  editComment(number: number, comment: Pick<ForgeComment, 'id'>, body: string): Promise<void>;
  /** The account that the token belongs to: whose sticky comment is ours. */
  whoAmI(): Promise<string>;
  /** Whether an account may write to the repository: who may ask for a fork to be planned (T18). */
  mayWrite(account: string): Promise<boolean>;
  /** Opens one; answers with the one that is open for this branch already, if there is. */
  open(proposal: { readonly title: string; readonly body: string; readonly branch: string; readonly baseRef: string }): Promise<ForgeProposal>;
  protectionOf(ref: string): Promise<BranchProtection>;
}

export const FORGE_TYPES = ['github', 'gitlab', 'gitea', 'bitbucket'] as const;
export type ForgeType = (typeof FORGE_TYPES)[number];

export type ForgeSettings = {
  /** Base of its API; null for the public instance of the type. Not encrypted only on this machine itself. */
  readonly url: string | null;
  /** `owner/name`. */
  readonly repository: string;
  /** Asked for at each request, so that one that was changed is taken up. Goes to the host of `url` only (T18). */
  readonly token: () => Promise<string>;
  /** The account that the token belongs to, where the forge does not tell (a token of an app); null to ask the forge. */
  readonly account: string | null;
};

export type ForgeWorld = {
  readonly now: () => Date;
  /** A number in [0, 1). */
  readonly random: () => number;
  readonly sleep: (ms: number) => Promise<void>;
  /** Hosts (`name` or `name:port`) that may be connected to; null for all. */
  readonly allowedHosts: readonly string[] | null;
};

/** What a kind of forge brings, built in or not. One that speaks another version of this port is refused when it is opened. */
export type ForgeManifest = {
  readonly kind: 'forge';
  readonly version: 1;
  readonly type: ForgeType;
  /** @throws ForgeError `Refused` where the settings cannot be right */
  readonly open: (settings: ForgeSettings, world: ForgeWorld) => Forge;
  readonly webhook: WebhookReader;
};

export type ForgeDelivery = {
  /** Unique for each event; the forge repeats it when it delivers again. */
  readonly id: string;
  readonly event: 'proposal' | 'comment' | 'push' | 'merge-queue' | 'other';
  /** `owner/name`, as the payload says. A hint for a wake-up, never acted upon. */
  readonly repository: string | null;
  readonly number: number | null;
};

/**
 * Checks a delivery of a forge's webhook: signature or token in constant time over the raw body, then the little of it that a wake-up needs. Pure: no I/O.
 * Its contents are hints only.
 */
export interface WebhookReader {
  readonly type: string;
  read(delivery: { readonly headers: (name: string) => string; readonly body: Uint8Array; readonly secret: string }):
    | { readonly ok: true; readonly delivery: ForgeDelivery }
    | { readonly ok: false; readonly code: 'SignatureMissing' | 'SignatureInvalid' | 'DeliveryInvalid' | 'PayloadInvalid'; readonly message: string };
}
