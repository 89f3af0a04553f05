import type { CommitId } from '../core/model/commit-id.ts';
import { digestOfBytes, type Digest } from '../core/model/digest.ts';
import { documentDigest, documentKey, registryIn, type DocumentKey, type DocumentOf } from '../core/model/documents.ts';
import { parseInstant } from '../core/model/instant.ts';
import { compareText, splitPair } from '../core/model/names.ts';
import { plain } from '../core/model/plain-text.ts';
import { identityOf, preimageDigest, releaseSpecDigest, type Lock, type LockComponent } from '../core/model/preimages.ts';
import { ballotOf } from '../core/decision/ballot.ts';
import { buildDecisionInput } from '../core/decision/build-input.ts';
import { approvalsGate } from '../core/decision/gate/approvals.ts';
import { separationGate } from '../core/decision/gate/separation.ts';
import { instantTextOf } from '../core/decision/instants.ts';
import { parseCanonicalJson } from '../core/model/canonical-json.ts';
import { audienceOf, personOf, verifyIdentityToken } from '../core/trust/identity-token.ts';
import { withLock } from '../core/evidence/add-lock.ts';
import { inForceOf, type LockEntry, type LogState } from '../core/evidence/log-state.ts';
import type { ReleaseLockPredicate } from '../core/evidence/records.ts';
import { makeLock, wantedBy, type WantedComponent } from '../core/release/lock.ts';
import type { ConditionReason } from './conditions.ts';
import { holdArtifacts, type Pass } from './pass.ts';
import { gatherMaterial, readFiles, type PlanningWorld, type ShippedFile } from './planning.ts';

type Fault = { readonly reason: ConditionReason; readonly message: string };
export type ResolvedTag = { readonly component: WantedComponent; readonly digest: Digest };

/** Locks the releases named by `keys` that are not locked yet, as far as their tags resolve. @returns keys to try again later */
export async function lockReleases(pass: Pass, keys: Iterable<DocumentKey>): Promise<readonly DocumentKey[]> {
  const again: DocumentKey[] = [];
  for (const key of [...keys].sort(compareText)) {
    const entry = pass.loaded.state.usable.Release.get(key);
    if (entry === undefined) {
      forget(pass, key);
      continue;
    }
    const release = entry.document as unknown as DocumentOf<'Release'>;
    const fault = await lockRelease(pass, release);
    pass.conditions.stalled('Release', release.metadata.name, fault === null ? null : { ...fault, file: entry.file, line: entry.line });
    if (fault !== null) again.push(key);
  }
  return again;
}

/** What was said of a release that is declared no more. What is wrong with its declaration says `reportDeclarations`. */
function forget({ conditions }: Pass, key: DocumentKey): void {
  const name = key.slice('Release/'.length);
  for (const { kind, name: of, type, reason } of conditions.all()) if (kind === 'Release' && of === name && reason !== 'Declaration') conditions.clear(kind, of, type);
}

async function lockRelease(pass: Pass, release: DocumentOf<'Release'>): Promise<Fault | null> {
  const { batch } = pass;
  const { name } = release.metadata;
  const locked = batch.state.locks.get(name);
  const spec = releaseSpecDigest(release);
  if (locked !== undefined) {
    // DESIGN §3: same name with other content is refused, and the error shows both digests.
    return locked.releaseSpec === spec ? null : { reason: 'ReleaseChanged', message: `release ${name} is locked as ${locked.releaseSpec} and now says ${spec}; give the new content a new version` };
  }
  const wanted = wantedBy(batch.state, release);
  if (!wanted.ok) return { reason: 'LockFailed', message: wanted.detail };
  const { files, faults } = await readFiles(pass.reader, pass.tip, wanted.files, pass.candidate?.files);
  if (faults[0] !== undefined) return { reason: 'LockFailed', message: faults[0] };
  const lockWith = (digests: ReadonlyMap<string, Digest>): Lock => makeLock({
    logId: batch.state.logId, release, application: wanted.application, files: files.map(({ path, digest, mode }) => ({ path, digest, mode })),
    components: wanted.components.flatMap((c): LockComponent[] => { const digest = digests.get(c.name); return digest === undefined ? [] : [{ ...c, digest }]; }),
  });
  const adopted = await adoptable(pass, release, wanted.components, lockWith, files);
  const resolved = adopted ?? (await resolveAll(pass, wanted.components));
  if ('reason' in resolved) return resolved;
  record(pass, release, wanted.components, lockWith(resolved.digests), resolved, files);
  reportToken(pass, release);
  return null;
}

type Basis = { readonly digests: ReadonlyMap<string, Digest>; readonly basis: ReleaseLockPredicate['basis']; readonly approval: Digest | null; readonly seen: readonly ResolvedTag[] };

function record(pass: Pass, release: DocumentOf<'Release'>, components: readonly WantedComponent[], lock: Lock, basis: Basis, files: readonly ShippedFile[]): void {
  const { batch } = pass;
  for (const { component, digest } of basis.seen) observeTag(pass, component, digest);
  for (const file of files) batch.artifact(file.bytes);
  const [application, version] = splitPair(release.metadata.name);
  const onBehalfOf = behalfOf(batch.state, release, batch.asOf);
  if (onBehalfOf !== null) batch.artifact(tokenBytes(release));
  batch.add({
    type: 'release-lock',
    predicate: {
      application, release: version, releaseSpec: releaseSpecDigest(release), spec: identityOf(release.spec), lock, lockDigest: preimageDigest(lock), basis: basis.basis, approval: basis.approval, onBehalfOf,
      tags: components.flatMap((c) => { const digest = basis.digests.get(c.name); return digest === undefined ? [] : [{ component: c.name, tag: c.tag, digest }]; }),
    },
  });
}

/** Records what a tag points to, if that is new. @returns the digest before, when it moved */
export function observeTag(pass: Pass, component: WantedComponent, digest: Digest): Digest | null {
  if (component.tag === null) return null;
  const previous = pass.batch.state.tags.get(`${component.repository}:${component.tag}`)?.digest ?? null;
  if (previous === digest) return null;
  pass.batch.add({ type: 'observation', predicate: { type: 'tag', component: component.name, repository: component.repository, tag: component.tag, digest, previous } });
  return previous;
}

async function resolveAll(pass: Pass, components: readonly WantedComponent[]): Promise<Basis | Fault> {
  const digests = new Map<string, Digest>();
  const seen: ResolvedTag[] = [];
  for (const component of components) {
    const resolved = component.digest === null ? await resolveTag(pass, component) : component.digest;
    if (typeof resolved !== 'string') return resolved;
    digests.set(component.name, resolved);
    if (component.digest === null) seen.push({ component, digest: resolved });
  }
  return { digests, basis: seen.length === 0 ? 'declared' : 'resolved', approval: null, seen };
}

/** What the tag points to now, asked at the registry that the Integration in force names. */
export async function resolveTag(pass: Pick<Pass, 'batch' | 'registry'>, component: WantedComponent): Promise<Digest | Fault> {
  const integration = registryIn(inForceOf(pass.batch.state, 'Integration', component.registry));
  if (integration === null || component.tag === null) return { reason: 'LockFailed', message: `component ${component.name}: integration ${component.registry} is not in force or is no registry, or it has neither tag nor digest` };
  const { host } = integration.spec;
  if (host !== undefined && !component.repository.startsWith(`${host}/`)) {
    return { reason: 'LockFailed', message: `component ${component.name}: repository ${component.repository} is not at ${host}, the host of integration ${component.registry}` };
  }
  const repository = host === undefined ? component.repository : component.repository.slice(host.length + 1);
  const resolver = await pass.registry(integration);
  const answer = await resolver.resolve({ repository, tag: component.tag });
  return answer.ok ? answer.digest : { reason: answer.code === 'TagUnknown' ? 'TagUnresolved' : 'RegistryFault', message: `component ${component.name}: ${answer.message}` };
}

/**
 * DESIGN §4: a lock is adopted with the digests that a valid approval names, if it was given for exactly what the merged tip
 * says. That is so when the promotion digest that follows from those digests is the approved one.
 */
async function adoptable(pass: Pass, release: DocumentOf<'Release'>, components: readonly WantedComponent[], lockWith: (digests: ReadonlyMap<string, Digest>) => Lock, files: readonly ShippedFile[]): Promise<Basis | null> {
  const { state } = pass.batch;
  const [application, version] = splitPair(release.metadata.name);
  for (const [key, promotion] of promotionsOf(pass, application, version)) {
    const app = state.states.get(key);
    if (app === undefined) continue;
    await holdArtifacts(pass, app.approvals);
    for (const artifact of app.approvals) {
      const bytes = pass.batch.lookup(artifact);
      const approval = bytes === undefined ? undefined : (parseCanonicalJson(bytes) as DocumentOf<'Approval'> | undefined);
      const digests = new Map(Object.entries(approval?.spec.components ?? {}));
      if (approval?.spec.action !== 'approve' || approval.spec.release !== version || !covers(components, digests)) continue;
      if (await counts(pass, promotion, release, lockWith(digests), documentDigest(approval), files)) return { digests, basis: 'adopted', approval: documentDigest(approval), seen: [] };
    }
  }
  return null;
}

/** The approval names every component, and nothing else than the release declares. */
function covers(components: readonly WantedComponent[], digests: ReadonlyMap<string, Digest>): boolean {
  return components.length === digests.size && components.every((c) => digests.has(c.name) && (c.digest === null || c.digest === digests.get(c.name)));
}

function promotionsOf(pass: Pass, application: string, version: string): readonly (readonly [string, DocumentOf<'Promotion'>])[] {
  const referrers = pass.loaded.state.referrers.get(documentKey('Release', `${application}/${version}`));
  return [...(referrers?.values() ?? [])].sort(compareText).flatMap((key) => {
    const entry = pass.loaded.state.usable.Promotion.get(key);
    return entry === undefined ? [] : [[entry.document.metadata.name, entry.document as unknown as DocumentOf<'Promotion'>] as const];
  });
}

/** Whether `document` would be one of the approvals that allow `promotion` if the release had this lock. */
async function counts(pass: Pass, promotion: DocumentOf<'Promotion'>, release: DocumentOf<'Release'>, lock: Lock, document: Digest, files: readonly ShippedFile[]): Promise<boolean> {
  const { batch } = pass;
  const [environment, application] = splitPair(promotion.metadata.name);
  const bytes = new Map(files.map((f) => [f.digest, f.bytes]));
  const lookup = (digest: Digest): Uint8Array | undefined => bytes.get(digest) ?? batch.lookup(digest);
  const state = withLock(batch.state, release.metadata.name, supposedLock(batch.state, release, { lock, tip: pass.tip, at: batch.asOf }));
  const world: PlanningWorld = { ...pass, state, desired: pass.loaded.state, lookup, openPgp: batch.openPgp };
  const { material } = await gatherMaterial(world, { environment, application }, promotion);
  const { input } = buildDecisionInput(state, material, batch.asOf, { artifact: lookup, openPgp: batch.openPgp });
  // A lock is for ever and for every environment: the digests are those of a quorum, never of one voice of it, or of anybody where nobody is asked.
  const ballot = ballotOf(input, instantTextOf(input.asOf));
  const approvals = approvalsGate(input.clauses, ballot);
  const agreed = [...approvals.results, ...separationGate(input.clauses, ballot)].every((gate) => gate.outcome === 'passed');
  return input.clauses.length > 0 && agreed && approvals.counted.some((vote) => vote.documents.includes(document));
}

function tokenOf({ signatures = [] }: DocumentOf<'Release'>): string | null {
  return signatures.find(({ format }) => format === 'oidc')?.signature ?? null;
}

function tokenBytes(release: DocumentOf<'Release'>): Uint8Array {
  return new TextEncoder().encode(tokenOf(release) ?? '');
}

/** T19: for whom a service wrote the release, if its token says so now and names a person in force. */
function behalfOf(state: LogState, release: DocumentOf<'Release'>, at: string): LockEntry['onBehalfOf'] {
  const token = tokenOf(release);
  if (token === null) return null;
  const verdict = verifyIdentityToken(state, { token, audience: audienceOf(releaseSpecDigest(release)), observedAt: parseInstant(at) });
  return verdict.ok && personOf(state, verdict) !== null ? { integration: verdict.integration, issuer: verdict.issuer, subject: verdict.subject, token: digestOfBytes(tokenBytes(release)) } : null;
}

/** A token that does not count leaves who asked unknown (T20), for ever: a release is locked once. */
function reportToken({ batch, conditions }: Pass, release: DocumentOf<'Release'>): void {
  const { name } = release.metadata;
  const token = tokenOf(release);
  if (token === null || batch.state.locks.get(name)?.onBehalfOf !== null) return;
  const verdict = verifyIdentityToken(batch.state, { token, audience: audienceOf(releaseSpecDigest(release)), observedAt: parseInstant(batch.asOf) });
  const why = verdict.ok ? `PersonUnknown: no person in force is ${verdict.subject} at ${verdict.issuer}` : `${verdict.code}: ${verdict.message}`;
  conditions.set({ kind: 'Release', name, type: 'Reconciling', status: 'False', reason: 'TokenRefused', message: plain(`its token does not tell for whom it was written, so nobody knows who asked: ${why}; give the content a new version with a token that counts`) });
}

/** What the log would hold of a release if it were locked now. */
export function supposedLock(state: LogState, release: DocumentOf<'Release'>, { lock, tip, at }: { readonly lock: Lock; readonly tip: CommitId; readonly at: string }): LockEntry {
  return { lock, digest: preimageDigest(lock), releaseSpec: releaseSpecDigest(release), seq: state.size, tip, before: state.tip?.before ?? null, lockedAt: at, channel: release.spec.channel ?? null, onBehalfOf: behalfOf(state, release, at) };
}

/** Looks again at tags of releases that are locked: the lock does not follow, but a move is observed and reported. */
export async function pollTags(pass: Pass): Promise<void> {
  const releases = new Set<DocumentKey>();
  for (const [key] of pass.loaded.state.referrers.entries()) releases.add(key as DocumentKey);
  for (const key of [...releases].sort(compareText)) {
    const entry = pass.loaded.state.usable.Release.get(key);
    const release = entry?.document as unknown as DocumentOf<'Release'> | undefined;
    const locked = release === undefined ? undefined : pass.batch.state.locks.get(release.metadata.name);
    if (release === undefined || locked === undefined) continue;
    const wanted = wantedBy(pass.batch.state, release);
    const moved: string[] = [];
    for (const component of wanted.ok ? wanted.components : []) {
      if (component.tag === null || component.digest !== null) continue;
      const digest = await resolveTag(pass, component);
      if (typeof digest !== 'string') continue;
      if (pass.guard?.holdsTag(component.repository, component.tag, digest) === true) moved.push(`${component.repository}:${component.tag} goes back and forth and is recorded no more until it points to something new`);
      else observeTag(pass, component, digest);
      const at = locked.lock.components.find((c) => c.name === component.name)?.digest;
      if (at !== digest) moved.push(`${component.repository}:${component.tag} moved from ${at ?? 'nothing'} to ${digest}`);
    }
    if (moved.length === 0) pass.conditions.clear('Release', release.metadata.name, 'Reconciling');
    else pass.conditions.set({ kind: 'Release', name: release.metadata.name, type: 'Reconciling', status: 'False', reason: 'TagMoved', message: `${moved.join('; ')}; the lock stays` });
  }
}

