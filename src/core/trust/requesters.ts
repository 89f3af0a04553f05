import { verifyCommits, type UnverifiedCommit, type VerifiedCommit } from '../commit/verify-commit.ts';
import { verifyDocumentSignature } from '../commit/document-signature.ts';
import { canonicalBytes } from '../model/canonical-json.ts';
import type { CommitId } from '../model/commit-id.ts';
import type { Digest } from '../model/digest.ts';
import type { DocumentOf } from '../model/documents.ts';
import type { InstantMs } from '../model/instant.ts';
import { intentDigest, intentPreimage } from '../model/preimages.ts';
import { compareText } from '../model/names.ts';
import type { ActingFor } from './identity-token.ts';
import { keyFault, type KeyRing } from './key-ring.ts';

/** A commit that by T26 changed the Promotion, the Release, files that the Release ships (`files`), or the Configuration and its files. */
export type TouchingCommit = { readonly commit: CommitId; readonly raw: Uint8Array; readonly touched: readonly ('promotion' | 'release' | 'files' | 'configuration')[] };

export type Requesters = {
  /** Names of principals, sorted. All of them are excluded from approving. */
  readonly people: readonly string[];
  /** Parts of the request whose author cannot be told (T20). */
  readonly unknown: number;
  /** Intent digests that a valid signature on the Promotion covers and that are not spent. */
  readonly intents: readonly Digest[];
};

type Part = TouchingCommit['touched'][number];
/** `known`: of which parts the commit tells who asked. */
type Author = { readonly person: string | null; readonly known: 'all' | 'release' | 'none' };

/**
 * Who asked for a promotion (T19, T20).
 * @param p.actingFor for whom services may have written the Release, as a verified token says
 * @param p.lockUnchanged the promotion keeps the lock that runs: a configuration-only transition
 * @param p.observedAt when the log first saw the tip; key status is judged at it
 */
export function findRequesters(p: {
  readonly logId: Digest;
  readonly promotion: DocumentOf<'Promotion'>;
  readonly releaseSpec: Digest | null;
  readonly spentIntents: readonly Digest[];
  readonly commits: readonly TouchingCommit[];
  readonly actingFor: ActingFor | null;
  readonly ring: KeyRing;
  readonly lockUnchanged: boolean;
  readonly observedAt: InstantMs;
}): Requesters {
  const intent = intentSigners(p);
  const verified = verifyCommits(p.commits, p.ring);
  const authors = verified.map((v, i) => ({ touched: p.commits[i]?.touched ?? [], ...authorOf(v, p) }));
  const people = new Set(intent.people);
  for (const { person, known, touched } of authors) if (person !== null && (known !== 'release' || touched.includes('release'))) people.add(person);
  const personSigned = authors.some((a) => a.known === 'all');
  const isVouched = authors.some((a) => a.known === 'release' && a.touched.includes('release'));
  // T19: an unsigned or forge-signed commit adds nobody if an unspent intent is valid, or, for a configuration-only
  // transition, if another such commit is signed by a person.
  const excused = intent.valid || (p.lockUnchanged && personSigned);
  const unknownParts = new Set<Part>();
  if (!excused) for (const { known, touched } of authors) for (const part of touched) if (known !== 'all' && known !== part) unknownParts.add(part === 'files' ? 'release' : part);
  // A service asked, or nothing in history tells who did: that is an unknown requester, not none (T20).
  const unknown = unknownParts.size + (intent.unverifiedService ? 1 : 0);
  const nobody = unknown === 0 && !intent.valid && !personSigned && !isVouched;
  return { people: [...people].sort(compareText), unknown: nobody ? 1 : unknown, intents: intent.intents };
}

/** A key that is no good any more makes nobody's request valid, but whoever signed with it asked, and stays excluded (T24: a stop frees nobody). */
function intentSigners(p: Parameters<typeof findRequesters>[0]): { people: string[]; valid: boolean; unverifiedService: boolean; intents: Digest[] } {
  const of = { logId: p.logId, promotion: p.promotion, releaseSpec: p.releaseSpec };
  const digest = intentDigest(of);
  const none = { people: [], valid: false, unverifiedService: false, intents: [] };
  // A restored file does not bring its old author back.
  if (p.spentIntents.includes(digest)) return none;
  const preimage = canonicalBytes(intentPreimage(of));
  const people: string[] = [];
  let [service, valid] = [false, false];
  for (const { signature } of p.promotion.signatures ?? []) {
    const outcome = verifyDocumentSignature({ preimage, armoured: signature, namespace: 'stella-intent', keys: p.ring });
    const holder = outcome.signed ? p.ring.get(outcome.signer.fingerprint) : undefined;
    if (holder === undefined) continue;
    const isGood = keyFault(holder, p.observedAt) === null;
    if (holder.principal.spec.type === 'service') service ||= isGood;
    else people.push(holder.principal.metadata.name);
    valid ||= isGood && holder.principal.spec.type === 'person';
  }
  return { people, valid, unverifiedService: service && !valid, intents: valid ? [digest] : [] };
}

/** A key that was no longer good names somebody to exclude, but does not prove that nobody else asked. */
function authorOf(verified: VerifiedCommit | UnverifiedCommit, { ring, observedAt, actingFor }: Pick<Parameters<typeof findRequesters>[0], 'ring' | 'observedAt' | 'actingFor'>): Author {
  const holder = verified.signed ? ring.get(verified.signer.fingerprint) : undefined;
  if (holder === undefined) return { person: null, known: 'none' };
  const { metadata: { name }, spec } = holder.principal;
  const isGood = keyFault(holder, observedAt) === null;
  if (spec.type === 'person') return { person: name, known: isGood ? 'all' : 'none' };
  // T19, T20: a service asks for a release in the name of the person whom the token shows, and for nothing else.
  const isTheirs = isGood && actingFor?.services.includes(name) === true;
  return isTheirs ? { person: actingFor.person, known: actingFor.isGood ? 'release' : 'none' } : { person: null, known: 'none' };
}

/** Content of one path on the sides of a merge; null where it is absent. */
export type MergeSides = { readonly base: string | null; readonly ours: string | null; readonly theirs: string | null; readonly result: string | null };

/**
 * T26: whether a merge itself wrote this path, so that its signer is its author. If ours equals the base, theirs is taken; if theirs
 * equals the base, ours is; equal is equal; anything else is content by the merge's signer.
 */
export function mergeWrote(s: MergeSides): boolean {
  if (s.ours === s.theirs) return s.result !== s.ours;
  if (s.ours === s.base) return s.result !== s.theirs;
  if (s.theirs === s.base) return s.result !== s.ours;
  return true;
}
