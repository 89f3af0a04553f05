import { parseSshPublicKey } from '../core/commit/ssh-key.ts';
import type { DocumentOf } from '../core/model/documents.ts';
import { serviceKeys } from '../core/evidence/record-codec.ts';
import type { CommitSigner } from '../ports/evidence-writer.ts';
import type { RecordSigner, Signers } from '../ports/signing.ts';

type Root = DocumentOf<'TrustRoot'>;

/** Fingerprints of the keys that this root lists for evidence commits (T29). A key that cannot be read is none. */
export function evidenceCommitKeys(root: Root): ReadonlySet<string> {
  const lines = root.spec.services.filter((service) => service.role === 'evidence-commits').map((service) => service.publicKey);
  return new Set(lines.flatMap((line) => { const parsed = parseSshPublicKey(line); return parsed.ok ? [parsed.key.fingerprint] : []; }));
}

/** The key that signs a record under `root`: the next one as soon as it is listed. @returns null when none of ours is listed (T29) */
export function recordSignerUnder(root: Root, { records, next }: Pick<Signers, 'records' | 'next'>): RecordSigner | null {
  const listed = new Set(serviceKeys(root, 'decisions').map((key) => key.keyId));
  return [next?.records, records].find((signer) => signer !== undefined && listed.has(signer.keyId)) ?? null;
}

/** The key that signs an evidence commit on top of a log with this root. */
export function commitSignerUnder(root: Root, { commits, next }: Pick<Signers, 'commits' | 'next'>): CommitSigner {
  return next?.commits !== undefined && evidenceCommitKeys(root).has(next.commits.fingerprint) ? next.commits.sign : commits;
}

/**
 * Why this server could not go on under the next root: a root that it holds no keys for would end its log.
 * @param root in force, whose keys this server has been signing with
 */
export function ownKeysFault(root: Root, next: Root, signers: Signers): string | null {
  if (recordSignerUnder(next, signers) === null) return 'this server holds no key for decisions that the next root lists: set keys.nextDecisions and start it again';
  const listed = evidenceCommitKeys(next);
  const goesOn = [...evidenceCommitKeys(root)].some((fingerprint) => listed.has(fingerprint)) || (signers.next?.commits !== undefined && listed.has(signers.next.commits.fingerprint));
  return goesOn ? null : 'this server holds no key for evidence commits that the next root lists: set keys.nextEvidenceCommits and start it again';
}
