import { createPrivateKey, type KeyObject } from 'node:crypto';
import { WireReader } from '../../core/commit/wire-reader.ts';
import { KeyError } from './key-error.ts';

/** A private key file of OpenSSH: the kind of key, its public half in wire format, and the key itself where this process can sign with it. */
export type OpensshKey = { readonly type: string; readonly publicBlob: Uint8Array; readonly ed25519: KeyObject | null; readonly encrypted: boolean };

const BEGIN = '-----BEGIN OPENSSH PRIVATE KEY-----';
const END = '-----END OPENSSH PRIVATE KEY-----';
const MAGIC = 'openssh-key-v1\0';
/** PKCS #8 in front of the 32 bytes of an ed25519 seed (RFC 8410). */
const PKCS8_ED25519 = Buffer.from('302e020100300506032b657004220420', 'hex');

/**
 * Reads a private key in the format of OpenSSH. Source: OpenSSH PROTOCOL.key.
 * @throws KeyError `KeyUnreadable`
 */
export function parseOpensshKey(text: string, where: string): OpensshKey {
  const body = text.trim();
  if (!body.startsWith(BEGIN) || !body.endsWith(END)) throw new KeyError('KeyUnreadable', `${where} is not a private key in the format of OpenSSH: make one with ssh-keygen -t ed25519`);
  const bytes = Buffer.from(body.slice(BEGIN.length, -END.length).replace(/\s+/g, ''), 'base64');
  const reader = new WireReader(bytes);
  const magic = Buffer.from(reader.take(MAGIC.length)).toString('latin1');
  const cipher = reader.text();
  reader.text();
  reader.string();
  const keys = reader.uint32();
  const publicBlob = reader.string();
  const secret = reader.string();
  if (magic !== MAGIC || reader.failed || keys !== 1) throw new KeyError('KeyUnreadable', `${where} is damaged, or holds more than one key`);
  const type = new WireReader(publicBlob).text();
  const encrypted = cipher !== 'none';
  return { type, publicBlob, encrypted, ed25519: encrypted || type !== 'ssh-ed25519' ? null : ed25519Of(secret, publicBlob, where) };
}

function ed25519Of(secret: Uint8Array, publicBlob: Uint8Array, where: string): KeyObject {
  const reader = new WireReader(secret);
  const [check, again] = [reader.uint32(), reader.uint32()];
  const type = reader.text();
  const publicKey = reader.string();
  const pair = reader.string();
  const blob = new WireReader(publicBlob);
  blob.text();
  const isSound = !reader.failed && check === again && type === 'ssh-ed25519' && pair.length === 64 && Buffer.from(blob.string()).equals(publicKey) && Buffer.from(pair.subarray(32)).equals(publicKey);
  if (!isSound) throw new KeyError('KeyUnreadable', `${where} is damaged`);
  return createPrivateKey({ key: Buffer.concat([PKCS8_ED25519, pair.subarray(0, 32)]), format: 'der', type: 'pkcs8' });
}
