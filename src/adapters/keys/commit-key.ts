import { createHash, sign } from 'node:crypto';
import { concatBytes, wireString } from '../../core/commit/wire-reader.ts';
import type { CommitSigner } from '../../ports/evidence-writer.ts';
import type { NextCommitSigner } from '../../ports/signing.ts';
import { signWithSshKeygen, type SshEnvironment } from '../ssh/ssh-keygen.ts';
import { KeyError } from './key-error.ts';
import { parseOpensshKey } from './openssh-key.ts';

export type CommitKey = {
  /** The private key as OpenSSH writes it. */
  readonly text: string;
  /** Where it lies; null when it came from somewhere else, and then only ed25519 works. */
  readonly file: string | null;
  /** Names the key in errors. */
  readonly where: string;
  /** What `ssh-keygen` is given, for keys that this process cannot sign with. */
  readonly environment: SshEnvironment;
};

const NAMESPACE = 'git';
const DIGEST = 'sha512';
const LINE = 70;

/**
 * The key that signs evidence commits (T29). An unencrypted ed25519 key signs in this process, because starting a program for each commit is
 * dear; every other kind goes through `ssh-keygen`, which knows agents and security keys.
 * @throws KeyError
 */
export function openCommitSigner(key: CommitKey): CommitSigner {
  const parsed = parseOpensshKey(key.text, key.where);
  const { ed25519, publicBlob } = parsed;
  if (ed25519 !== null) return (payload) => armour(signatureBlob(publicBlob, payload, (signed) => sign(null, signed, ed25519)));
  const { file } = key;
  if (file === null) throw new KeyError(parsed.encrypted ? 'KeyEncrypted' : 'KeyUnsupported', `${key.where} is ${parsed.encrypted ? 'encrypted' : `of type ${parsed.type}`}: use an unencrypted ed25519 key, or name a file`);
  return (payload) => signWithSshKeygen({ key: { file }, namespace: NAMESPACE, payload, environment: key.environment });
}

/** The key that is to sign evidence commits next, with the fingerprint by which the trust root says when. @throws KeyError */
export function openNextCommitSigner(key: CommitKey): NextCommitSigner {
  const { publicBlob } = parseOpensshKey(key.text, key.where);
  return { fingerprint: `SHA256:${createHash('sha256').update(publicBlob).digest('base64').replace(/=+$/, '')}`, sign: openCommitSigner(key) };
}

/** Source: OpenSSH PROTOCOL.sshsig. */
function signatureBlob(publicBlob: Uint8Array, payload: Uint8Array, signer: (signed: Uint8Array) => Uint8Array): Uint8Array {
  const digest = createHash(DIGEST).update(payload).digest();
  const head = [wireString(NAMESPACE), wireString(''), wireString(DIGEST)];
  const signature = signer(concatBytes([Buffer.from('SSHSIG'), ...head, wireString(digest)]));
  const inner = concatBytes([wireString('ssh-ed25519'), wireString(signature)]);
  return concatBytes([Buffer.from('SSHSIG'), Uint8Array.of(0, 0, 0, 1), wireString(publicBlob), ...head, wireString(inner)]);
}

function armour(blob: Uint8Array): string {
  const text = Buffer.from(blob).toString('base64');
  const lines = Array.from({ length: Math.ceil(text.length / LINE) }, (_, index) => text.slice(index * LINE, (index + 1) * LINE));
  return `-----BEGIN SSH SIGNATURE-----\n${lines.join('\n')}\n-----END SSH SIGNATURE-----\n`;
}
