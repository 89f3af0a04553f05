import { createPublicKey } from 'node:crypto';
import { OpenPgpUnavailable, type OpenPgpVerifier } from '../commit/openpgp.ts';
import { decodeBase64, encodeBase64 } from '../model/base64.ts';
import { canonicalBytes, parseCanonicalJson } from '../model/canonical-json.ts';
import { digestOfBytes, type Digest } from '../model/digest.ts';
import type { DocumentOf } from '../model/documents.ts';
import { rootOf } from '../evidence/log-state.ts';
import { foldChanges, type ChangesFault, type SeenChange } from './fold-changes.ts';

export type RootProof =
  | { readonly ok: true; readonly root: DocumentOf<'TrustRoot'>; /** To be remembered; null where the log had not begun. */ readonly last: SeenChange | null }
  | { readonly ok: false; readonly code: 'ChainMalformed' | ChangesFault['code']; readonly message: string };

/** Everything that proves which trust root is in force. */
export type RootChain = {
  /** Envelope files of every protected change, from genesis on; none while the log has not begun. */
  readonly changes: readonly Uint8Array[];
  /** The pinned genesis root, and the documents and approvals that the changes name. */
  readonly artifacts: readonly Uint8Array[];
};

/** The chain of trust roots as an agent gets it before it enrols. */
export function encodeRootChain({ changes, artifacts }: RootChain): Uint8Array {
  return canonicalBytes({ type: 'stella/root-chain/v1', changes: changes.map(encodeBase64), artifacts: artifacts.map(encodeBase64) });
}

/**
 * The root in force by the chain, from the pin alone (T13, T16): nothing of what a server says is believed. That no later root was withheld cannot be
 * shown; whoever has seen a later one refuses an earlier one.
 * @param p.pin log id that was pinned out of band @param p.known the last change that was accepted before
 */
export function proveRoot(bytes: Uint8Array, p: { readonly pin: Digest; readonly known: SeenChange | null; readonly openPgp: OpenPgpVerifier }): RootProof {
  try {
    const value = parseCanonicalJson(bytes) as { readonly type?: unknown; readonly changes?: unknown; readonly artifacts?: unknown } | undefined;
    const changes = value?.type === 'stella/root-chain/v1' ? decodeAll(value.changes) : null;
    const artifacts = decodeAll(value?.artifacts);
    if (changes === null || artifacts === null) return malformed('it is no chain of trust roots');
    // Kept under the digest that we compute ourselves.
    const byDigest = new Map(artifacts.map((artifact) => [digestOfBytes(artifact), artifact]));
    const folded = foldChanges(changes, { ...p, artifact: (digest) => byDigest.get(digest) });
    return folded.ok ? { ok: true, root: rootOf(folded.state), last: folded.last } : folded;
  } catch (cause) {
    if (cause instanceof OpenPgpUnavailable) throw cause;
    // A member of an unexpected shape: refuse, whatever it was (T12).
    return malformed(String(cause));
  }
}

function malformed(why: string): RootProof {
  return { ok: false, code: 'ChainMalformed', message: `the chain of trust roots cannot be read: ${why}` };
}

function decodeAll(value: unknown): readonly Uint8Array[] | null {
  if (!Array.isArray(value)) return null;
  const bytes = value.map((text: unknown) => (typeof text === 'string' ? decodeBase64(text) : null));
  return bytes.every((b): b is Uint8Array => b !== null) ? bytes : null;
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
