import { canonicalBytes, type Json, type JsonObject } from './canonical-json.ts';
import type { CommitId } from './commit-id.ts';
import type { NotificationEvent } from './notifier.ts';
import { digestOfBytes, type Digest } from './digest.ts';

export const API_VERSION = 'stella/v1alpha1';

/** Every kind that has an effect today. Anything else is refused as unsupported (T12). */
export const KINDS = [
  'TrustRoot', 'Principal', 'Application', 'Configuration', 'Component', 'Release', 'Environment', 'Promotion',
  'Approval', 'Target', 'Agent', 'Workflow', 'Gate', 'Freeze', 'Integration',
] as const;
export type Kind = (typeof KINDS)[number];

const UNPROTECTED: ReadonlySet<Kind> = new Set<Kind>(['Release', 'Promotion', 'Approval', 'Configuration']);

/** T15: protection is by kind, wherever the file lies. */
export function isProtected(kind: Kind): boolean {
  return !UNPROTECTED.has(kind);
}

/**
 * An embedded signature over the document's preimage, armoured: as ssh-keygen writes it, or a detached one of OpenPGP. In the log also a raw commit in
 * base64, whose message names the document (TRUST "two carriers"); no file may hold that form. `oidc`: on a Release alone, a token of an identity
 * issuer that says for whom a service wrote it.
 */
export type DocumentSignature = { readonly format: 'sshsig' | 'openpgp' | 'commit' | 'oidc'; readonly signature: string };

export type Doc<K extends Kind, S> = {
  readonly apiVersion: typeof API_VERSION;
  readonly kind: K;
  readonly metadata: { readonly name: string; readonly description?: string };
  readonly spec: S;
  readonly signatures?: readonly DocumentSignature[];
};

export type RoleCount = { readonly role: string; readonly count: number };
/** How many distinct people, of which roles, must agree. */
export type Quorum = { readonly people: number; readonly roles?: readonly RoleCount[] };
/** What an environment, an application or the root demands before a promotion may run. */
export type ApprovalRule = Quorum & {
  /** Default true: nobody who requested the change may approve it (T19). */
  readonly authorNeverApproves?: boolean;
  /** Default deny (T20). */
  readonly unknownRequester?: 'deny' | 'one-more';
};

export type ServiceRole = 'decisions' | 'evidence-commits' | 'agent-ca';
export type TrustRootSpec = {
  readonly version: number;
  readonly previous: Digest | null;
  /** 64 random hexadecimal digits: no two logs are alike. */
  readonly id: string;
  readonly tenant: string;
  /** genesis-documents digest of the first protected documents (genesis only, null afterwards). */
  readonly documents: Digest | null;
  readonly keys: readonly { readonly principal: string; readonly key: string }[];
  readonly threshold: number;
  /** Our own keys (T29). decisions, agent-ca: SPKI PEM, P-256; evidence-commits: an OpenSSH public key line. */
  readonly services: readonly { readonly role: ServiceRole; readonly name: string; readonly publicKey: string }[];
  readonly quorums: { readonly default: Quorum; readonly create: Quorum; readonly kinds?: { readonly [kind: string]: Quorum } };
  /** Whether who proposes a protected change counts towards its quorum (T15). */
  readonly proposerCounts: boolean;
  /** T24: roles whose holders may stop with one signature. Absent: the role `stop`. */
  readonly stop?: { readonly roles: readonly string[] };
  /** T17: nothing below may weaken these. `name` is an environment's or a target's, or `*`. */
  readonly minimums?: {
    readonly environments?: readonly ({ readonly name: string } & ApprovalRule)[];
    readonly targets?: readonly ({ readonly name: string } & ApprovalRule)[];
    /** Least that a break-glass takes anywhere; absent: nobody may (T27). */
    readonly breakGlass?: ApprovalRule;
  };
};

export type KeyStatus = 'active' | 'retired' | 'superseded' | 'compromised';
export type PrincipalKey = {
  /** OpenSSH public key line without options, or an armoured OpenPGP certificate. */
  readonly key: string;
  readonly status: KeyStatus;
  readonly notBefore?: string;
  readonly notAfter?: string;
  /** When the status changed; required unless active. */
  readonly since?: string;
};
export type RoleBinding = { readonly role: string; readonly environments?: readonly string[]; readonly applications?: readonly string[] };
/** Set by a stop (T24); what is suspended counts for nothing until a quorum lifts it. */
export type Suspension = { readonly reason: string };
export type PrincipalSpec = {
  readonly type: 'person' | 'service';
  readonly displayName?: string;
  readonly keys: readonly PrincipalKey[];
  /** Absent environments or applications mean: all of them. */
  readonly roles?: readonly RoleBinding[];
  /** Who this person is to identity issuers: a service may act for them with a token that names one (T19). */
  readonly identities?: readonly { readonly issuer: string; readonly subject: string }[];
  readonly suspended?: Suspension;
};

export type HealthCheck =
  | { readonly type: 'command'; readonly argv: readonly string[]; readonly timeoutSeconds?: number; readonly retries?: number; readonly intervalSeconds?: number }
  | { readonly type: 'http'; readonly url: string; readonly timeoutSeconds?: number; readonly retries?: number; readonly intervalSeconds?: number }
  | { readonly type: 'tcp'; readonly port: number; readonly timeoutSeconds?: number; readonly retries?: number; readonly intervalSeconds?: number };

/** Paths are relative to the top of the repository. */
export type Deployment =
  | {
      readonly type: 'directory';
      readonly files?: readonly string[];
      readonly command?: { readonly argv: readonly string[]; readonly timeoutSeconds?: number };
      readonly healthCheck?: HealthCheck;
    }
  | { readonly type: 'compose'; readonly compose: string; readonly files?: readonly string[]; readonly healthTimeoutSeconds?: number };

export type ApplicationSpec = {
  readonly components: readonly string[];
  readonly deployment: Deployment;
  readonly placement?: { readonly matchLabels: { readonly [label: string]: string } };
  readonly workflow?: string;
  readonly approvals?: ApprovalRule;
  /** Gates besides those of the environment; none of those is taken away. */
  readonly gates?: readonly string[];
};
export type ComponentSpec = { readonly repository: string; readonly registry: string };
/** `host` for a registry, `layout` for the name of an OCI image layout folder that the machine's configuration maps to a path. */
export type RegistrySpec = {
  readonly type: 'registry';
  readonly host?: string;
  readonly layout?: string;
  readonly insecure?: boolean;
  readonly credentials?: { readonly username?: string; readonly passwordRef?: string; readonly tokenRef?: string };
};
/** What every notifier has: which transitions it tells of, and where. */
type NotifierScope = {
  readonly events: readonly NotificationEvent[];
  /** Absent: all, and what belongs to no place. */
  readonly environments?: readonly string[];
  readonly applications?: readonly string[];
  readonly template?: { readonly subject?: string; readonly text?: string };
};
/** Secrets are references, resolved when something is sent, and go to the host that is declared (T18). */
export type NotifierSpec = NotifierScope & (
  | { readonly type: 'notifier-webhook'; readonly url: string; /** Key of the HMAC over each body. */ readonly secretRef: string }
  /** An incoming webhook as Slack has it: the whole address is the secret, so `host` says where it may lead. */
  | { readonly type: 'notifier-slack'; readonly host: string; readonly urlRef: string }
  | {
      readonly type: 'notifier-email';
      readonly host: string;
      /** tls: from the first byte. none: only to this machine itself. Default starttls. */
      readonly security?: 'starttls' | 'tls' | 'none';
      readonly from: string;
      readonly to: readonly string[];
      readonly credentials?: { readonly username: string; readonly passwordRef: string };
    }
);
/**
 * An OpenID Connect issuer whose tokens tell for whom a service acts (T19). It is asked nothing: its keys stand here, and changing them takes a quorum.
 */
export type IdentityIssuerSpec = {
  readonly type: 'identity-issuer';
  /** The claim `iss`, as it is written there. */
  readonly issuer: string;
  /** `id` is the token's `kid`; P-256 or RSA as SPKI PEM. */
  readonly keys: readonly { readonly id: string; readonly publicKey: string }[];
  /** The claim that names the person, as `Principal.spec.identities` has them. */
  readonly claim: string;
  /** Claims that a token must have with exactly this text: an issuer that many share tells its tenants apart by them. */
  readonly require: { readonly [claim: string]: string };
  /** Principals of type service that may act for somebody by its tokens. */
  readonly services: readonly string[];
};
export type IntegrationSpec = RegistrySpec | NotifierSpec | IdentityIssuerSpec;
export type ReleaseSpec = {
  readonly components: { readonly [component: string]: { readonly tag?: string; readonly digest?: Digest } };
  readonly source?: { readonly repository?: string; readonly commit?: string; readonly branch?: string; readonly build?: string };
  /** Where automatic promotion looks for it. Part of its identity: a release does not change channels. */
  readonly channel?: string;
  /** Mutable, not in any digest but the document's own: displayName, metadata, deprecated. */
  readonly displayName?: string;
  readonly metadata?: { readonly [key: string]: string };
  readonly deprecated?: { readonly reason: string };
};
export type EnvironmentSpec = {
  readonly order: number;
  readonly from?: readonly { readonly environment: string; readonly soakSeconds?: number }[];
  readonly approvals?: ApprovalRule;
  /** Names of Gates that every promotion to here must pass. */
  readonly gates?: readonly string[];
  readonly workflow?: string;
  /** How long an allow holds when nothing ends it earlier (T23). Default one hour. */
  readonly allowSeconds?: number;
  /** Eases who must approve going back to exactly what ran before (T28). */
  readonly rollback?: RollbackRule;
  /** Lets people go on in an emergency, with a review afterwards (T27). Has an effect only where the root has a minimum for it. */
  readonly breakGlass?: BreakGlassRule;
  /** How long after its allow a run may still fall back by itself (T28). Default one day. */
  readonly fallBackSeconds?: number;
  /** Which release is wanted here where no Promotion says so. It goes through every gate like any other. */
  readonly automatic?: AutomaticRule;
};
/** Exactly one of `from` (the release that runs clean in that environment, one of `spec.from`) and `channel` (the newest release of that channel). */
export type AutomaticRule = { readonly from?: string; readonly channel?: string; /** Absent: all. */ readonly applications?: readonly string[] };
/** Stands in the place of the environment's own rule; those of the root, of targets and of the application stay (T17). */
export type RollbackRule = ApprovalRule & { /** How long after it was replaced, in seconds. */ readonly withinSeconds: number };
/**
 * `approvals`: the rules of environment and application; `source`: that it ran elsewhere before; the others: Gates of that type. A hold is somebody
 * else's stop, so it can never be skipped (T27).
 */
export type Skippable = 'approvals' | 'source' | 'window' | 'dependency' | 'concurrency' | 'expression';
export type BreakGlassRule = ApprovalRule & {
  readonly skip: readonly Skippable[];
  /** How far ahead `expires` of the promotion may lie, in seconds. */
  readonly withinSeconds: number;
  /** Who must look at it afterwards; nobody who took part counts. */
  readonly review: Quorum;
};
/** What a promotion in an emergency asks for; all of it is part of its plan, so every approval signs it. */
export type BreakGlass = { readonly skip: readonly Skippable[]; readonly reason: string; readonly expires: string };
export type PromotionSpec = {
  readonly release?: string;
  readonly attempt?: number;
  /** `absent` removes the application through the gates; then `release` is left out. */
  readonly state?: 'present' | 'absent';
  readonly breakGlass?: BreakGlass;
  /** Why it waits until a commit takes this out. No part of the request: see {@link requestDigest}. */
  readonly hold?: string;
};
export type ConfigurationSpec = {
  readonly variables?: { readonly [name: string]: string };
  readonly secrets?: { readonly [name: string]: { readonly ref: string } };
  /** A file of this environment: merged over the Compose file, or shipped beside the directory's files. */
  readonly override?: string;
};
export type TargetSpec = {
  readonly type: 'directory_host' | 'compose_host';
  readonly agent: string;
  /** T17: who may use it. */
  readonly environments: readonly string[];
  readonly applications: readonly string[];
  readonly labels?: { readonly [label: string]: string };
  /** directory_host: {root}; compose_host: {folder, socket?}. */
  readonly connection: { readonly root?: string; readonly folder?: string; readonly socket?: string };
};
export type AgentSpec = {
  /** SPKI PEM, P-256. */
  readonly identityKey: string;
  readonly owner: string;
  readonly capabilities: readonly TargetSpec['type'][];
  readonly suspended?: Suspension;
};
export type StepSpec = {
  readonly name: string;
  readonly type: 'deploy' | 'health-check';
  readonly needs?: readonly string[];
  readonly retry?: { readonly attempts: number; readonly delaySeconds?: number };
  readonly timeoutSeconds?: number;
};
export type WorkflowSpec = { readonly steps: readonly StepSpec[]; readonly onFailure?: 'hold' | 'fall-back' };
export type Weekday = 'mon' | 'tue' | 'wed' | 'thu' | 'fri' | 'sat' | 'sun';
/** `YYYY-MM-DDThh:mm` on a clock on the wall in `timeZone`: an IANA name that `zoneRuleOf` knows, `UTC`, or an offset such as `+02:00`. */
export type CalendarWindow = { readonly start: string; readonly end: string; readonly timeZone: string };
/** `hh:mm` on these days; a window that does not end later than it begins ends the next day. */
export type WeeklyWindow = { readonly days: readonly Weekday[]; readonly from: string; readonly to: string; readonly timeZone: string };
/** It holds in the windows, but not in the exceptions. */
export type FreezeCalendar = { readonly windows?: readonly CalendarWindow[]; readonly weekly?: readonly WeeklyWindow[]; readonly exceptions?: readonly CalendarWindow[] };
/** Another application that must run in a clean state. */
export type Dependency = {
  readonly application: string;
  /** Absent: the environment that is promoted to. */
  readonly environment?: string;
  /** Exactly this version, or this one or a newer one; neither: whichever. */
  readonly release?: string;
  readonly atLeast?: string;
};
/** A condition of its own name, which environments and applications name (DESIGN §6). */
export type GateSpec =
  /** It may run in the windows, but not in the exceptions. */
  | { readonly type: 'window'; readonly calendar: FreezeCalendar }
  | { readonly type: 'dependency'; readonly on: readonly Dependency[] }
  /** At most so many runs are open at once among these; absent lists mean: all. */
  | { readonly type: 'concurrency'; readonly most: number; readonly environments?: readonly string[]; readonly applications?: readonly string[] }
  | { readonly type: 'hold'; readonly reason: string }
  /** In the Common Expression Language, over the variables of `expression.ts`. */
  | { readonly type: 'expression'; readonly expression: string };
/** Nothing new is allowed where it applies: with a calendar while that holds, else as long as the document is in force. Absent lists mean: everywhere. */
export type FreezeSpec = {
  readonly environments?: readonly string[];
  readonly applications?: readonly string[];
  /** Only these, as `<application>/<version>`: they are suspended. */
  readonly releases?: readonly string[];
  readonly reason: string;
  readonly calendar?: FreezeCalendar;
  /** Who may let one promotion through all the same; absent: nobody. */
  readonly except?: Quorum;
};

export type ProtectedChange = {
  readonly kind: Kind;
  readonly name: string;
  /** How many changes of this document were ever in force. */
  readonly count: number;
  readonly from: Digest | null;
  readonly to: Digest | null;
};
/** What the digest of an Approval is of. rewrite: another history of the target branch (T25); review: a promotion that broke the glass (T27). */
export type ApprovalType = 'promotion' | 'change' | 'rewrite' | 'review';
/** A target branch that went from one commit to another that does not descend from it. `ref` is the branch's full name. */
export type Rewrite = { readonly ref: string; readonly from: CommitId; readonly to: CommitId };
export type ApprovalAction = 'approve' | 'reject' | 'withdraw';
export type ApprovalSpec = {
  readonly type: ApprovalType;
  readonly digest: Digest;
  /** withdraw: a yes that was given to this digest before counts no longer. It takes back no no. */
  readonly action: ApprovalAction;
  readonly environment?: string;
  readonly application?: string;
  readonly release?: string;
  readonly components?: { readonly [component: string]: Digest };
  readonly digestsChecked?: boolean;
  readonly changes?: readonly ProtectedChange[];
  /** Freezes in spite of which this promotion may run, as far as the approver may say so. */
  readonly excepts?: readonly string[];
  /** The rewrite, as the approver saw it. */
  readonly rewrite?: Rewrite;
  readonly comment?: string;
  readonly expires?: string;
  /** Digests of withdrawals of the same person that this yes knows of and stands in spite of, sorted. */
  readonly despite?: readonly Digest[];
  /** 32 hexadecimal digits. */
  readonly nonce: string;
};

export type SpecOf = {
  TrustRoot: TrustRootSpec; Principal: PrincipalSpec; Application: ApplicationSpec; Configuration: ConfigurationSpec;
  Component: ComponentSpec; Release: ReleaseSpec; Environment: EnvironmentSpec; Promotion: PromotionSpec; Approval: ApprovalSpec;
  Target: TargetSpec; Agent: AgentSpec; Workflow: WorkflowSpec; Gate: GateSpec; Freeze: FreezeSpec; Integration: IntegrationSpec;
};
export type DocumentOf<K extends Kind> = Doc<K, SpecOf[K]>;
export type AnyDocument = { [K in Kind]: DocumentOf<K> }[Kind];

/** An Integration that holds images. */
export type RegistryDocument = Doc<'Integration', RegistrySpec>;

/** Null also for an Integration of another type: no image comes from there (T12). */
export function registryIn(integration: DocumentOf<'Integration'> | null): RegistryDocument | null {
  return integration?.spec.type === 'registry' ? { ...integration, spec: integration.spec } : null;
}

/** `<Kind>/<name>`: the identity of a document (DESIGN §3). */
export type DocumentKey = string & { readonly __brand: 'DocumentKey' };
export function documentKey(kind: Kind, name: string): DocumentKey {
  return `${kind}/${name}` as DocumentKey;
}

/** What an embedded signature covers and what the document's digest is taken over: canonical JSON without `signatures`. */
export function documentPreimage(document: AnyDocument): Uint8Array {
  const { signatures: _, ...rest } = document as AnyDocument & { signatures?: Json };
  return canonicalBytes(rest as unknown as JsonObject);
}

/** Digest of a document (TRUST "Words"): no defaults filled in, top-level `signatures` left out. */
export function documentDigest(document: AnyDocument): Digest {
  return digestOfBytes(documentPreimage(document));
}

/** A Promotion without what only says that it waits: taking a hold away asks for nothing new, and nobody signs it anew. */
export function requestOf({ signatures: _, ...promotion }: DocumentOf<'Promotion'>): DocumentOf<'Promotion'> {
  const { hold: _hold, ...spec } = promotion.spec;
  return { ...promotion, spec };
}

/** Digest of what a Promotion asks for, whoever holds it back meanwhile. */
export function requestDigest(promotion: DocumentOf<'Promotion'>): Digest {
  return documentDigest(requestOf(promotion));
}
