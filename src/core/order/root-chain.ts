import { createPublicKey } from 'node:crypto';
import { decodeBase64, encodeBase64 } from '../model/base64.ts';
import { canonicalBytes, parseCanonicalJson } from '../model/canonical-json.ts';
import { digestOfBytes, type Digest } from '../model/digest.ts';
import { documentDigest, type DocumentOf } from '../model/documents.ts';

export type RootProof =
  | { readonly ok: true; readonly root: DocumentOf<'TrustRoot'> }
  | { readonly ok: false; readonly code: 'ChainMalformed' | 'GenesisNotPinned' | 'RootChangeUnsupported'; readonly message: string };

/** The chain of trust roots from genesis on, as an agent gets it before it enrols. @param roots preimages of the documents, oldest first */
export function encodeRootChain(roots: readonly Uint8Array[]): Uint8Array {
  return canonicalBytes({ type: 'stella/root-chain/v1', roots: roots.map(encodeBase64) });
}

/**
 * The root in force by the chain, from the pin alone (T13): nothing of what a server says is believed.
 * @param pin log id that was pinned out of band
 */
export function proveRoot(bytes: Uint8Array, pin: Digest): RootProof {
  const value = parseCanonicalJson(bytes) as { readonly type?: unknown; readonly roots?: unknown } | undefined;
  const texts = value?.type === 'stella/root-chain/v1' && Array.isArray(value.roots) ? value.roots : [];
  const roots = texts.map((text: unknown) => (typeof text === 'string' ? decodeBase64(text) : null));
  const [genesis] = roots;
  if (genesis === undefined || genesis === null) return { ok: false, code: 'ChainMalformed', message: 'the chain of trust roots cannot be read' };
  if (digestOfBytes(genesis) !== pin) return { ok: false, code: 'GenesisNotPinned', message: 'the chain does not begin with the pinned genesis root' };
  // T16: a later root needs the threshold of both; until roots can change, another one proves nothing.
  if (roots.length > 1) return { ok: false, code: 'RootChangeUnsupported', message: 'this version cannot prove a root after genesis' };
  const root = parseCanonicalJson(genesis) as DocumentOf<'TrustRoot'> | undefined;
  if (root?.kind !== 'TrustRoot' || documentDigest(root) !== pin) return { ok: false, code: 'ChainMalformed', message: 'the pinned document is no trust root' };
  return { ok: true, root };
}

/** Whether the root lists this key for the agents' authority (T29). @param spki DER */
export function isAgentAuthority(root: DocumentOf<'TrustRoot'>, spki: Uint8Array): boolean {
  return root.spec.services.some(({ role, publicKey }) => role === 'agent-ca' && Buffer.from(spkiOf(publicKey)).equals(spki));
}

function spkiOf(pem: string): Uint8Array {
  try {
    return createPublicKey(pem).export({ type: 'spki', format: 'der' });
  } catch {
    // T12: a key that cannot be read is nobody's.
    return new Uint8Array();
  }
}
