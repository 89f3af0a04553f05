import type { Digest } from '../model/digest.ts';
import { API_VERSION, documentDigest, isProtected, type AnyDocument, type DocumentOf, type TrustRootSpec } from '../model/documents.ts';
import { genesisDocumentsDigest } from '../model/preimages.ts';

/** What a person decides about a new log; the rest of the root follows from it. */
export type GenesisRules = Pick<TrustRootSpec, 'tenant' | 'keys' | 'threshold' | 'services' | 'quorums' | 'proposerCounts'> & {
  readonly minimums?: NonNullable<TrustRootSpec['minimums']>;
};
export type Genesis = {
  readonly root: DocumentOf<'TrustRoot'>;
  /** The log id: what servers, agents and auditors pin out of band (T13). */
  readonly pin: Digest;
};

/**
 * The genesis root of a new log over its first protected documents (TRUST "Log id").
 * @param p.id 64 random hexadecimal digits, so that no two logs are alike
 * @param p.documents every document that lies beside the root; unprotected ones are left out of it
 * @throws RangeError when `id` is not random bytes in hexadecimal digits
 */
export function makeGenesis(p: { readonly id: string; readonly rules: GenesisRules; readonly documents: readonly AnyDocument[]; readonly name?: string }): Genesis {
  if (!/^[0-9a-f]{64}$/.test(p.id)) throw new RangeError('the id of a log is 64 hexadecimal digits');
  const first = p.documents.filter((d) => isProtected(d.kind) && d.kind !== 'TrustRoot');
  const documents = genesisDocumentsDigest(first.map((d) => ({ kind: d.kind, name: d.metadata.name, digest: documentDigest(d) })));
  const { tenant, keys, threshold, services, quorums, proposerCounts, minimums } = p.rules;
  const spec: TrustRootSpec = {
    version: 1, previous: null, id: p.id, tenant, documents, keys, threshold, services, quorums, proposerCounts, ...(minimums === undefined ? {} : { minimums }),
  };
  const root: DocumentOf<'TrustRoot'> = { apiVersion: API_VERSION, kind: 'TrustRoot', metadata: { name: p.name ?? 'root' }, spec };
  return { root, pin: documentDigest(root) };
}
