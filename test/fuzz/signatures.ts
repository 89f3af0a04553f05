import { parseCommit } from '../../src/core/commit/commit-object.ts';
import { createKeyCache, parseSshKeyBlob, parseSshPublicKey } from '../../src/core/commit/ssh-key.ts';
import { parseArmour, verifySshSignature } from '../../src/core/commit/ssh-signature.ts';
import { HEADERS, signedCommit, verifyRaw } from '../core/commit/commit-maker.ts';
import { armour, makeSignature, makeTestKey } from '../core/commit/signature-maker.ts';
import { demandSame, type Decoder, type Layer } from './decoder.ts';

const TYPES = ['ssh-ed25519', 'ecdsa-sha2-nistp256', 'ssh-rsa', 'sk-ssh-ed25519@openssh.com'];
const MESSAGE = Buffer.from('{"apiVersion":"stella/v1alpha1","kind":"Approval"}');
const ARMOUR_WORDS = ['-----BEGIN SSH SIGNATURE-----\n', '-----END SSH SIGNATURE-----\n', '\n', '\r\n', '\0', '=', '==', 'Comment: x\n\n', '-----BEGIN PGP SIGNATURE-----\n', ' '];
const WIRE_WORDS = ['SSHSIG', 'git', 'file', 'stella-approval', 'sha1', 'sha256', 'sha512', 'ssh-rsa', 'rsa-sha2-512', 'ssh-ed25519', Buffer.of(0, 0, 0, 0), Buffer.of(0, 0, 0, 1), Buffer.of(0xff, 0xff, 0xff, 0xff)];

function blobOf(armoured: string): Uint8Array {
  const parsed = parseArmour(armoured);
  if (!parsed.ok) throw new Error(`accepted an armour that cannot be read: ${parsed.code}`);
  return parsed.bytes;
}

/** SSHSIG and its armour. */
export const sshSignature: Decoder = {
  name: 'ssh-signature',
  open: async () => {
    const keys = createKeyCache();
    const samples = TYPES.map((type) => {
      const armoured = makeSignature(makeTestKey(type), MESSAGE, { namespace: 'stella-approval' });
      const blob = blobOf(armoured);
      return { bytes: Buffer.from(armoured), blob, layers: [{ bytes: blob, wrap: (changed: Buffer) => Buffer.from(armour(changed)) }] };
    });
    return {
      samples, words: [...ARMOUR_WORDS, ...WIRE_WORDS],
      read: (input) => {
        const armoured = Buffer.from(input).toString('latin1');
        const outcome = verifySshSignature({ armoured, message: MESSAGE, namespace: 'stella-approval', keys });
        return outcome.ok ? demandSame('a signature', [blobOf(armoured)], samples.map(({ blob }) => [blob])) : outcome.code;
      },
    };
  },
};

/** Public keys of principals, as lines and as blobs. */
export const sshKey: Decoder = {
  name: 'ssh-key',
  open: async () => {
    const keys = [...TYPES, 'ecdsa-sha2-nistp384', 'ecdsa-sha2-nistp521', 'sk-ecdsa-sha2-nistp256@openssh.com'].map((type) => makeTestKey(type));
    const samples = keys.map(({ line, blob, type }) => ({ bytes: Buffer.from(line), layers: [{ bytes: blob, wrap: (changed: Buffer) => Buffer.from(`${type} ${changed.toString('base64')} test`) }] }));
    return {
      samples, words: [...WIRE_WORDS, ' ', '\n', '\t', 'cert-authority ', 'ssh-ed25519-cert-v01@openssh.com', '# '],
      read: (input) => {
        const outcome = parseSshPublicKey(Buffer.from(input).toString('latin1'));
        if (!outcome.ok) return outcome.code;
        // Whatever is read as a key is that key again from its own bytes, and not a weak one.
        const again = parseSshKeyBlob(outcome.key.blob);
        if (!again.ok || again.key.fingerprint !== outcome.key.fingerprint) throw new Error('a key differs from its own blob');
        const bits = outcome.key.keyObject.asymmetricKeyDetails?.modulusLength;
        if (bits !== undefined && bits < 3072) throw new Error(`accepted an RSA key of ${bits} bits`);
        return 'Read';
      },
    };
  },
};

/** Raw commits with their headers and signatures. */
export const commit: Decoder = {
  name: 'commit',
  open: async () => {
    const samples = TYPES.map((type) => {
      const bytes = signedCommit(makeTestKey(type), HEADERS, 'Promote shop 1.4.0\n\nStella-Change: sha256:00\n');
      return { bytes, ...expected(bytes), layers: layersOf(bytes) };
    });
    return {
      samples, words: [...ARMOUR_WORDS, 'gpgsig ', 'gpgsig-sha256 ', 'gpgsig-x ', `tree ${'2'.repeat(40)}\n`, `parent ${'3'.repeat(40)}\n`, 'author ', 'committer ', 'encoding UTF-8\n', 'mergetag ', '\n\n', '\n ', '<', '>'],
      read: (input) => {
        const outcome = verifyRaw(input);
        if (!outcome.signed) return outcome.code;
        const { payload, blob } = expected(input);
        return demandSame('a commit', [payload, blob], samples.map((sample) => [sample.payload, sample.blob]));
      },
    };
  },
};

function expected(raw: Uint8Array): { readonly payload: Buffer; readonly blob: Uint8Array } {
  const parsed = parseCommit(raw, 'sha1');
  if (!parsed.ok || parsed.commit.signature.state !== 'present') throw new Error('accepted a commit without a signature');
  const { payload, armoured } = parsed.commit.signature;
  return { payload: Buffer.from(payload), blob: blobOf(armoured) };
}

/** The signature by itself, and the headers by themselves. */
function layersOf(raw: Buffer): readonly Layer[] {
  const text = raw.toString('latin1');
  const begin = text.indexOf('gpgsig ');
  const end = text.indexOf('\n\n');
  const { blob } = expected(raw);
  const wrapped = (changed: Buffer): Buffer => Buffer.from(`${text.slice(0, begin)}gpgsig ${armour(changed).trimEnd().replaceAll('\n', '\n ')}${text.slice(end)}`, 'latin1');
  return [{ bytes: blob, wrap: wrapped }, { bytes: Buffer.from(text.slice(0, begin), 'latin1'), wrap: (changed) => Buffer.concat([changed, raw.subarray(begin)]) }];
}
