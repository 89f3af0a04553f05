/** Why bytes are not accepted as signed. Closed: callers switch on it, records and `explain` show it. */
export type SignatureCode =
  | 'Unsigned'
  | 'CommitTooLarge'
  | 'CommitMalformed'
  | 'IdMismatch'
  | 'HeaderDuplicate'
  | 'HeaderUnknown'
  | 'HeaderMisplaced'
  | 'HeaderMalformed'
  | 'EncodingUnsupported'
  | 'NulByte'
  | 'NotUtf8'
  | 'SignatureTooLarge'
  | 'SignatureUnsupported'
  | 'ArmourMalformed'
  | 'SignatureMalformed'
  | 'SignatureTypeUnsupported'
  | 'SubpacketUnsupported'
  | 'IssuerMissing'
  | 'NamespaceMismatch'
  | 'DigestUnsupported'
  | 'AlgorithmUnsupported'
  | 'AlgorithmMismatch'
  | 'UserPresenceMissing'
  | 'KeyUnknown'
  | 'KeyUnsupported'
  | 'KeyUnbound'
  | 'KeyTooShort'
  | 'KeyMalformed'
  | 'SignatureInvalid';

/** A refusal as a value: `message` says what was found and what the signer can do about it. */
export interface SignatureRefusal {
  readonly code: SignatureCode;
  readonly message: string;
}

const messages: Readonly<Record<SignatureCode, string>> = {
  Unsigned: 'the commit carries no signature; sign it with `git commit -S`',
  CommitTooLarge: 'the commit object is larger than the limit for commits; shorten its message',
  CommitMalformed: 'the object is not a commit that Git would write; check the repository with `git fsck`',
  IdMismatch: 'the bytes do not have the object id under which they were read; check the repository with `git fsck`',
  HeaderDuplicate: 'a header of the commit occurs twice, so the signature does not count; write the commit again with plain Git',
  HeaderUnknown: 'the commit has a header that signed commits may not have, so the signature does not count; write it again with plain Git',
  HeaderMisplaced: 'a header of the commit is out of order, so the signature does not count; write the commit again with plain Git',
  HeaderMalformed: 'a header of the commit is malformed, so the signature does not count; write the commit again with plain Git',
  EncodingUnsupported: 'the commit declares an encoding other than UTF-8; set i18n.commitEncoding to UTF-8 and write it again',
  NulByte: 'the commit contains a NUL byte, so the signature does not count; write the commit again with plain Git',
  NotUtf8: 'the commit is not valid UTF-8; set i18n.commitEncoding to UTF-8 and write it again',
  SignatureTooLarge: 'the signature is larger than the limit for signatures',
  SignatureUnsupported: 'only SSH and OpenPGP signatures are supported; set gpg.format to ssh or openpgp and sign again',
  ArmourMalformed: 'the signature is not exactly one armoured signature as ssh-keygen and gpg write it, without comments; sign again',
  SignatureMalformed: 'the signature does not have the form of SSHSIG version 1 or of one OpenPGP signature packet; sign again with ssh-keygen or gpg',
  SignatureTypeUnsupported: 'the OpenPGP signature is not over the bytes themselves (type 0x00); sign again without --textmode',
  SubpacketUnsupported: 'the OpenPGP signature carries something that it demands to be understood and that is not supported; sign again without it',
  IssuerMissing: 'the OpenPGP signature does not name the full fingerprint of its key; sign again with GnuPG 2.1.16 or later',
  NamespaceMismatch: 'the signature was made for another purpose (namespace); sign again with the command that the message names',
  DigestUnsupported: 'the signature uses a digest that is too weak or not supported; sign again with SHA-256 or SHA-512 (gpg --digest-algo SHA512)',
  AlgorithmUnsupported: 'the signature algorithm is not supported; use ed25519, ecdsa or RSA with SHA-256 or SHA-512',
  AlgorithmMismatch: 'the signature algorithm is not one of the key that the signature names; sign again',
  UserPresenceMissing: 'the security key signed without a touch; sign again with a key that requires user presence',
  KeyUnknown: 'the OpenPGP key that the signature names is not one of a principal in force that may sign; sign with such a key, or have its certificate put in force',
  KeyUnbound: 'the OpenPGP certificate has no signature of its own that counts, such as one with SHA-1 alone; renew it with: gpg --quick-set-expire FINGERPRINT 2y',
  KeyUnsupported: 'the key type is not supported; use ed25519, ecdsa or rsa: of SSH also their sk- forms, without SSH certificates or options',
  KeyTooShort: 'the RSA key has fewer than 3072 bits; use a longer one, or ed25519',
  KeyMalformed: 'the public key is malformed or weak; write it as ssh-keygen or gpg --export --armor wrote it, or generate a new one',
  SignatureInvalid: 'the signature does not match the signed bytes',
};

/** Builds the refusal for `code`; `detail` (what exactly was found, never secret) is put behind the message. */
export function refusal(code: SignatureCode, detail?: string): SignatureRefusal {
  return { code, message: detail === undefined ? messages[code] : `${messages[code]} (${detail})` };
}
