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
  | 'NamespaceMismatch'
  | 'DigestUnsupported'
  | 'AlgorithmUnsupported'
  | 'AlgorithmMismatch'
  | 'UserPresenceMissing'
  | 'KeyUnsupported'
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
  SignatureUnsupported: 'only SSH signatures are supported; set gpg.format to ssh and sign again',
  ArmourMalformed: 'the signature is not exactly one armoured SSH signature as ssh-keygen writes it; sign again',
  SignatureMalformed: 'the SSH signature does not have the form of SSHSIG version 1; sign again with ssh-keygen',
  NamespaceMismatch: 'the signature was made for another purpose (namespace); sign again with the command that the message names',
  DigestUnsupported: 'the signature uses a digest other than sha256 or sha512; sign again with a current ssh-keygen',
  AlgorithmUnsupported: 'the signature algorithm is not supported; use ed25519, ecdsa, rsa-sha2-256 or rsa-sha2-512',
  AlgorithmMismatch: 'the signature algorithm is not one of the key that the signature names; sign again',
  UserPresenceMissing: 'the security key signed without a touch; sign again with a key that requires user presence',
  KeyUnsupported: 'the key type is not supported; use ed25519, ecdsa or rsa, or their sk- forms, without certificates or options',
  KeyTooShort: 'the RSA key has fewer than 3072 bits; use a longer one, or ed25519',
  KeyMalformed: 'the public key is malformed or weak; generate a new one with ssh-keygen',
  SignatureInvalid: 'the signature does not match the signed bytes',
};

/** Builds the refusal for `code`; `detail` (what exactly was found, never secret) is put behind the message. */
export function refusal(code: SignatureCode, detail?: string): SignatureRefusal {
  return { code, message: detail === undefined ? messages[code] : `${messages[code]} (${detail})` };
}
