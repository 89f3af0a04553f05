import type { OpenPgpVerifier } from '../core/commit/openpgp.ts';
import type { CommitId } from '../core/model/commit-id.ts';
import { digestOfBytes, type Digest } from '../core/model/digest.ts';
import { documentKey, type DocumentOf } from '../core/model/documents.ts';
import { limits } from '../core/model/limits.ts';
import { preimageDigest, type FileRef, type Lock, type Operation } from '../core/model/preimages.ts';
import type { DecisionMaterial } from '../core/decision/build-input.ts';
import type { DecisionInput } from '../core/decision/types.ts';
import type { Derived } from '../core/evidence/records.ts';
import type { DesiredState } from '../core/desired/desired-state.ts';
import { appStateOf, type LogState } from '../core/evidence/log-state.ts';
import { makePlan, type PlanResult } from '../core/release/plan.ts';
import type { DocumentParser } from '../ports/document-parser.ts';
import type { TouchingCommit } from '../core/trust/requesters.ts';
import { GitError, type GitReader } from '../ports/git-reader.ts';
import type { ArtifactCache } from './artifact-cache.ts';
import type { Candidate, LaidFiles } from './candidate.ts';
import { isHere } from './rewrites.ts';
import type { Interest, TouchingCommits } from './touching-commits.ts';

/** What planning one subject needs, on a server and in a clone alike. */
export type PlanningWorld = {
  readonly state: LogState;
  readonly desired: DesiredState;
  readonly tip: CommitId;
  /** A commit whose files lie over those of `tip` (T18); none on a server, which plans what is merged. */
  readonly candidate?: Candidate;
  readonly reader: GitReader;
  readonly parser: DocumentParser;
  readonly artifacts: ArtifactCache;
  readonly evidenceTip: CommitId | null;
  readonly touching: TouchingCommits;
  /** Artifacts of the batch in hand, then those of the log. */
  readonly lookup: (digest: Digest) => Uint8Array | undefined;
  readonly openPgp: OpenPgpVerifier;
};

export type Subject = { readonly environment: string; readonly application: string };
export type Planned = {
  readonly material: DecisionMaterial;
  readonly lock: Lock | null;
  readonly configuration: DocumentOf<'Configuration'> | null;
  readonly plan: PlanResult | null;
  readonly files: readonly ShippedFile[];
};
export type ShippedFile = FileRef & { readonly bytes: Uint8Array };

/**
 * Reads files of a commit by path. A path that is not there, is no file, or is too large is named in `faults`.
 * @param laid files that take the place of the commit's
 */
export async function readFiles(reader: GitReader, tip: CommitId, paths: readonly string[], laid?: LaidFiles): Promise<{ readonly files: readonly ShippedFile[]; readonly faults: readonly string[] }> {
  const files: ShippedFile[] = [];
  const faults: string[] = [];
  for (const path of paths) {
    const over = laid?.get(path);
    const entry = over === undefined ? (await reader.readTree(tip, { under: path })).entries.find((e) => e.path === path) : (over ?? undefined);
    const isFile = entry !== undefined && (entry.mode === '100644' || entry.mode === '100755');
    const object = isFile ? (await reader.readBlobs([entry.blob], limits.shippedFileBytes)).get(entry.blob) : undefined;
    if (object?.ok === true) files.push({ path, digest: digestOfBytes(object.bytes), mode: entry?.mode === '100755' ? 0o755 : 0o644, bytes: object.bytes });
    else faults.push(object?.code === 'Oversize' ? `${path} is larger than ${limits.shippedFileBytes} bytes` : `${path} is not a file of the repository`);
  }
  return { files, faults };
}

/** The Configuration of a subject at the tip; null when there is none that can be used. */
export function configurationOf(desired: DesiredState, s: Subject): DocumentOf<'Configuration'> | null {
  const entry = desired.usable.Configuration.get(documentKey('Configuration', `${s.environment}/${s.application}`));
  return entry === undefined ? null : (entry.document as unknown as DocumentOf<'Configuration'>);
}

/**
 * Gathers everything that the decision about one promotion is made from: lock, configuration, plan, and who touched them.
 * @param lock instead of the recorded one, to see what a lock that is not recorded yet would give
 * @param derived what the promotion was derived from, where nobody wrote it
 */
export async function gatherMaterial(world: PlanningWorld, s: Subject, promotion: DocumentOf<'Promotion'>, options: { readonly ended?: DecisionInput['ended']; readonly lock?: Lock; readonly derived?: Derived | null } = {}): Promise<Planned> {
  const { state, desired } = world;
  const operation: Operation = promotion.spec.state === 'absent' ? 'remove' : 'promote';
  const release = operation === 'promote' ? (promotion.spec.release ?? null) : null;
  const lock = options.lock ?? state.locks.get(`${s.application}/${release ?? ''}`)?.lock ?? null;
  const configuration = configurationOf(desired, s);
  const problems: DecisionInput['problems'][number][] = [];
  if (operation === 'promote' && lock === null) problems.push({ code: 'LockMissing', detail: `release ${s.application}/${release ?? ''} is not locked` });
  if (operation === 'remove' && appStateOf(state, s.environment, s.application).lock === null) problems.push({ code: 'NothingToRemove', detail: 'nothing is deployed' });
  const path = configuration?.spec.override;
  const shipped = path === undefined ? { files: [], faults: [] } : await readFiles(world.reader, world.tip, [path], world.candidate?.files);
  if (lock !== null && world.evidenceTip !== null) await world.artifacts.load(world.evidenceTip, composeFile(lock));
  const canPlan = operation === 'remove' || lock !== null;
  const plan = canPlan ? makePlan({
    state, ...s, operation, breakGlass: promotion.spec.breakGlass ?? null, lock: operation === 'remove' ? null : lock, configuration: operation === 'remove' ? null : configuration, override: shipped.files[0] ?? null,
    file: world.lookup, parseCompose: (bytes) => world.parser.parseCompose(bytes),
  }) : null;
  if (plan !== null && !plan.ok) problems.push({ code: plan.code, detail: shipped.faults[0] ?? plan.detail });
  const app = appStateOf(state, s.environment, s.application);
  const from = app.succeededTip ?? state.genesisTip;
  // T19: who wrote a script that the release brings along asked for it as much as who named the release. What runs already brings nothing new.
  const brings = lock === null || operation === 'remove' || preimageDigest(lock) === app.lock ? null : lock;
  const interest = { ...s, release, configurationFiles: path === undefined ? [] : [path], releaseFiles: brings?.snapshot.files.map((file) => file.path) ?? [] };
  const found = await touchingCommits(world, from, interest);
  if (found === null) problems.push({ code: 'PlanInvalid', detail: `more than ${limits.requesterCommits} commits since the last run that succeeded here: nobody can tell who asked` });
  const left = brings === null || found === null ? [] : await leftCommits(world, from, interest, brings);
  if (left === null) problems.push({ code: 'PlanInvalid', detail: `release ${s.application}/${release ?? ''} was locked in a history that is gone: nobody can tell who wrote what it ships; give it a new version` });
  const { derived = null } = options;
  const authors = derived === null || brings === null || release === null ? [] : await derivedAuthors(world, s, brings);
  if (authors === null) problems.push({ code: 'PlanInvalid', detail: `nobody can tell who wrote what release ${s.application}/${release ?? ''} ships: its history is gone or too long; promote it by a document` });
  const commits = found === null || left === null || authors === null ? null : [...joined(joined(found, left), authors.filter(isKnown)), ...authors.filter((author) => !isKnown(author))];
  const material: DecisionMaterial = { ...s, promotion, derived, ended: options.ended ?? null, plan: plan?.ok === true && commits !== null ? plan.plan : null, problems, commits: commits ?? [] };
  return { material, lock: operation === 'remove' ? null : lock, configuration, plan, files: shipped.files };
}

/** null when there are too many to look at: then nothing is planned, and everything else goes on (T12). */
async function touchingCommits(world: PlanningWorld, from: CommitId | null, interest: Interest): Promise<readonly TouchingCommit[] | null> {
  // T25: after a rewrite `from` may lie in the history that was left.
  const find = (to: CommitId): Promise<readonly TouchingCommit[]> => (world.state.lastRewrite === null ? world.touching.find(from, to, interest) : world.touching.findAcross(from, to, interest));
  try {
    const found = await find(world.tip);
    if (world.candidate === undefined) return found;
    // After a merge both histories are reachable, and the merge itself wrote nothing (T26).
    return joined(found, await find(world.candidate.commit));
  } catch (cause) {
    if (cause instanceof GitError && cause.code === 'LimitExceeded') return null;
    throw cause;
  }
}

/**
 * T19, T25: a lock outlives the history in which it was made, and who wrote what it ships stays somebody who asked. What ran here before was asked
 * for then.
 * @returns null where that history cannot be looked at
 */
async function leftCommits({ state, touching }: PlanningWorld, from: CommitId | null, interest: Interest, lock: Lock): Promise<readonly TouchingCommit[] | null> {
  const entry = state.locks.get(`${interest.application}/${lock.release}`);
  if (state.lastRewrite === null || entry === undefined) return [];
  try {
    const left = await touching.findLocked(from, entry.tip, interest);
    return left === null && appStateOf(state, interest.environment, interest.application).held.some((span) => span.lock === entry.digest) ? [] : left;
  } catch (cause) {
    if (cause instanceof GitError && cause.code === 'LimitExceeded') return null;
    throw cause;
  }
}

/**
 * T19 where nobody wrote a Promotion: who wrote the Release asked for it, however long ago. Nothing else in history would tell who did; where the commit
 * that brought it cannot be found, it is one by nobody we know (T20).
 */
async function releaseAuthors({ state, tip, candidate, touching }: PlanningWorld, application: string, release: string): Promise<readonly TouchingCommit[]> {
  const name = `${application}/${release}`;
  const entry = state.locks.get(name);
  const to = entry?.tip ?? tip;
  const spans = [...(candidate === undefined ? [] : [[candidate.base, candidate.commit] as const]), [entry?.before ?? null, to] as const, [state.genesisTip, to] as const];
  for (const [from, until] of spans) {
    const found = from === null ? null : await touching.findBrought(from, until, documentKey('Release', name));
    if (found !== null) return found;
  }
  return [{ commit: to, raw: new Uint8Array(), touched: ['release'] }];
}

/** @returns null where a history cannot be looked at */
async function derivedAuthors(world: PlanningWorld, s: Subject, lock: Lock): Promise<readonly TouchingCommit[] | null> {
  const [shipped, authors] = [await shippedAuthors(world, s, lock), await releaseAuthors(world, s.application, lock.release)];
  return shipped === null ? null : [...joined(authors, shipped.filter(isKnown)), ...shipped.filter((author) => !isKnown(author))];
}

/**
 * T19 of what the release ships, for the same reason: who wrote what differs from what runs asked for it as well, though something else ran here since. Looked for after the
 * tip at which what runs was locked; after the beginning, where that is no way to this lock.
 * @returns null where that history cannot be looked at
 */
async function shippedAuthors({ state, tip, touching, reader }: PlanningWorld, s: Subject, lock: Lock): Promise<readonly TouchingCommit[] | null> {
  const running = state.locks.get(`${s.application}/${appStateOf(state, s.environment, s.application).release ?? ''}`);
  const runs = new Set(running?.lock.snapshot.files.map(contentOf));
  const releaseFiles = lock.snapshot.files.filter((file) => !runs.has(contentOf(file))).map(({ path }) => path);
  if (releaseFiles.length === 0) return [];
  const to = state.locks.get(`${s.application}/${lock.release}`)?.tip ?? tip;
  const isOnTheWay = running !== undefined && (await isHere(reader, running.tip)) && (await isHere(reader, to)) && (await reader.isAncestor(running.tip, to));
  try {
    return await touching.findLocked(isOnTheWay ? running.tip : state.genesisTip, to, { ...s, release: null, configurationFiles: [], releaseFiles });
  } catch (cause) {
    if (cause instanceof GitError && cause.code === 'LimitExceeded') return null;
    throw cause;
  }
}

function contentOf({ path, digest, mode }: FileRef): string {
  return `${digest} ${mode} ${path}`;
}

function isKnown({ raw }: TouchingCommit): boolean {
  return raw.length > 0;
}

function joined(found: readonly TouchingCommit[], more: readonly TouchingCommit[]): readonly TouchingCommit[] {
  return [...found, ...more.filter(({ commit }) => !found.some((other) => other.commit === commit))];
}

/** The one file of a snapshot that planning looks into. */
function composeFile({ snapshot }: Lock): readonly Digest[] {
  const { deployment } = snapshot;
  return deployment.type === 'compose' ? snapshot.files.filter((f) => f.path === deployment.compose).map((f) => f.digest) : [];
}

/** Digests of the approvals and snapshot files that a decision about `s` looks up. */
export function approvalArtifacts(state: LogState, s: Subject): readonly Digest[] {
  return appStateOf(state, s.environment, s.application).approvals;
}

