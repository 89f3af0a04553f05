import type { OpenPgpVerifier } from '../core/commit/openpgp.ts';
import type { CommitId } from '../core/model/commit-id.ts';
import type { Digest } from '../core/model/digest.ts';
import type { DocumentKey, DocumentSignature, RegistryDocument } from '../core/model/documents.ts';
import type { DesiredState } from '../core/desired/desired-state.ts';
import type { LogState } from '../core/evidence/log-state.ts';
import type { DigestResolver } from '../ports/digest-resolver.ts';
import type { DocumentParser } from '../ports/document-parser.ts';
import type { Forge } from '../ports/forge.ts';
import type { GitReader } from '../ports/git-reader.ts';
import type { Candidate } from '../reconciler/candidate.ts';
import type { PlanningWorld } from '../reconciler/planning.ts';
import type { EvidenceCounts, RecordStep } from '../reconciler/read-evidence.ts';
import type { CommandContext, OptionTable } from './command.ts';

/** What a person runs in the clone: their own git with their own configuration. */
export type UserGit = {
  /** @returns what it prints, trimmed. @throws CliError `GitFailed` with what git says */
  run(args: readonly string[], options?: { readonly input?: string; readonly environment?: Readonly<Record<string, string>> }): Promise<string>;
  /** The same, null instead of a failure. */
  tryRun(args: readonly string[]): Promise<string | null>;
};

/** A repository on this machine. */
export type Repository = {
  /** Top of the worktree; of a bare repository its folder. */
  readonly folder: string;
  readonly isBare: boolean;
  readonly reader: GitReader;
  readonly parser: DocumentParser;
  readonly openPgp: OpenPgpVerifier;
  readonly git: UserGit;
  close(): Promise<void>;
};

/** A verified evidence branch. */
export type Evidence = {
  readonly repository: string;
  readonly ref: string;
  readonly commit: CommitId;
  readonly reader: GitReader;
  readonly state: LogState;
  readonly openPgp: OpenPgpVerifier;
  readonly counts: EvidenceCounts;
  readonly artifact: (digest: Digest) => Uint8Array | undefined;
};

export type OpenEvidence =
  | { readonly ok: true; readonly evidence: Evidence }
  | { readonly ok: false; readonly code: string; readonly message: string; readonly seq: number | null };

/** Signs with the key of the person at the keyboard. */
export type PersonalKey = {
  /** An OpenSSH public key line, or an armoured OpenPGP certificate. */
  readonly publicKey: string;
  /** As key rings name it. */
  readonly fingerprint: string;
  readonly format: DocumentSignature['format'];
  /** Names and values with which git signs commits with this key. */
  readonly gitConfig: readonly (readonly [string, string])[];
  /** The armoured signature. OpenPGP knows no namespaces. */
  sign(payload: Uint8Array, namespace: 'stella-approval' | 'stella-intent'): Promise<string>;
};

export type LoadedDeclarations = {
  /** The commit whose declarations these are, or over which a candidate is laid. */
  readonly tip: CommitId;
  /** The tip of the target branch. */
  readonly target: CommitId;
  readonly desired: DesiredState;
  /** A commit that the target branch does not hold and whose files lie over the tip's (T18). */
  readonly candidate?: Candidate;
  /** Documents and paths that differ from the target branch; empty for a commit that it holds. */
  readonly changedKeys: readonly DocumentKey[];
  readonly changedPaths: readonly string[];
};

/** The commit that was asked for. */
export function seenCommit({ tip, candidate }: LoadedDeclarations): CommitId {
  return candidate?.commit ?? tip;
}

export function commitText(loaded: LoadedDeclarations): string {
  return loaded.candidate === undefined ? loaded.tip : `${loaded.candidate.commit}, laid over ${loaded.tip.slice(0, 12)}, the tip of the target branch`;
}

/** What commands in a clone need of the adapters; `compose/clone.ts` provides it. */
export type CloneParts = {
  openRepository(context: CommandContext): Promise<Repository>;
  /** The log id that this clone pins (T13). @throws CliError `PinMissing`, `PinMalformed` */
  pinOf(context: CommandContext, repository: Repository): Promise<Digest>;
  /** Reads and verifies the evidence branch. `visit` sees each record; what it saw counts only if the result is ok. */
  openEvidence(context: CommandContext, repository: Repository, pin: Digest, visit?: (step: RecordStep, artifact: (d: Digest) => Uint8Array | undefined) => void): Promise<OpenEvidence>;
  /** The commit that a branch, a tag, a reference or an id names here. @throws CliError `RefUnknown` */
  commitNamed(repository: Repository, ref: string): Promise<CommitId>;
  /** The newest tip of the target branch that this clone knows. @throws CliError `TargetUnknown` when the log is ahead of what was fetched */
  targetTip(repository: Repository, state: LogState): Promise<CommitId>;
  /** Declarations of a commit. @throws CliError `RefUnknown` */
  loadCommit(repository: Repository, ref: string): Promise<LoadedDeclarations>;
  /**
   * Declarations that the target branch would have if `ref` were merged (T18): those of its tip where it holds `ref`, those of `ref` where
   * that holds the tip, else the tip with the files that `ref` changed laid over it.
   * @throws CliError `RefUnknown`, `TargetUnknown`, `Unrelated`, `Conflict` with the files that both changed
   */
  loadCandidate(repository: Repository, evidence: Evidence, ref: string): Promise<LoadedDeclarations>;
  /** Declarations as they lie in the worktree, committed or not. */
  loadWorktree(repository: Repository): Promise<DesiredState>;
  /** What planning needs, with approvals that this clone sees and the log has not observed yet. */
  worldOf(repository: Repository, evidence: Evidence, loaded: LoadedDeclarations, asOf: string): Promise<PlanningWorld>;
  /** Resolves tags at the registry of an Integration; credentials only for one that is in force (T18). */
  registryOf(context: CommandContext, repository: Repository): (integration: RegistryDocument) => Promise<DigestResolver>;
  personalKey(context: CommandContext, repository: Repository): Promise<PersonalKey>;
  randomHex(bytes: number): string;
  readText(file: string): Promise<string | null>;
  writeText(file: string, text: string): Promise<void>;
  /** A new program, mode 0755. */
  writeProgram(file: string, text: string): Promise<void>;
  /** Nothing happens where there is none. */
  removeFile(file: string): Promise<void>;
  /** The forge that the clone's own configuration names; null where it names none. @throws CliError `ForgeMalformed`, `ForgeTokenMissing` */
  openForge(context: CommandContext, repository: Repository): Promise<Forge | null>;
  hasSshKeygen(context: CommandContext): Promise<boolean>;
};

export const PIN_OPTION = {
  genesis: { type: 'string', value: 'sha256:…', description: 'The log to trust; else STELLA_GENESIS, else `git config stella.genesis`' },
} as const satisfies OptionTable;
export const EVIDENCE_OPTIONS = {
  ...PIN_OPTION,
  evidence: { type: 'string', value: 'PATH', description: 'Repository with the evidence branch (default: this clone)' },
  'evidence-branch': { type: 'string', value: 'NAME', description: 'Name of the evidence branch (default: stella/evidence)' },
} as const satisfies OptionTable;
export const REF_OPTION = {
  ref: { type: 'string', value: 'REF', description: 'The commit to look at (default: HEAD)' },
} as const satisfies OptionTable;
export const LAYOUT_OPTION = {
  layout: { type: 'string', multiple: true, value: 'NAME=PATH', description: 'Folder of an OCI image layout; else `git config stella.layout.NAME`' },
} as const satisfies OptionTable;
export const KEY_OPTION = {
  key: { type: 'string', value: 'FILE', description: 'Your SSH key (default: `git config user.signingKey`)' },
} as const satisfies OptionTable;
