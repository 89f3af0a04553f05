import type { Diagnostic } from './diagnostic.ts';
import { diagnosticAt, type DocumentLookup, type Located } from './document-lookup.ts';
import type { FieldPath } from './source-position.ts';

/** Says which keys a public key line, PEM or OpenPGP certificate holds, in whatever form it is written; null when it cannot be read or is too weak (T4, T5). */
export type KeyIdentities = (key: string) => readonly string[] | null;

/** `owner`: whoever can sign with the key. One owner may name a key in the root and in their own document. */
type Use = { readonly located: Located; readonly path: FieldPath; readonly key: string; readonly owner: string };

/** T10, T11: no key stands under two owners, and every key can be read. */
export function checkKeys(documents: DocumentLookup, keyIdentities: KeyIdentities): readonly Diagnostic[] {
  const found: Diagnostic[] = [];
  const first = new Map<string, Use>();
  const places = new Set<string>();
  for (const use of keyUses(documents)) {
    const identities = keyIdentities(use.key);
    if (identities === null) {
      found.push(unreadable(use));
      continue;
    }
    const clash = identities.map((identity) => first.get(identity)).find((before, i) => before !== undefined && (before.owner !== use.owner || places.has(`${use.located.key} ${identities[i]}`)));
    if (clash !== undefined) found.push(shared(use, clash));
    for (const identity of identities) {
      if (!first.has(identity)) first.set(identity, use);
      places.add(`${use.located.key} ${identity}`);
    }
  }
  return found;
}

function keyUses(documents: DocumentLookup): readonly Use[] {
  const uses: Use[] = [];
  for (const located of documents.all('Principal')) {
    const owner = `principal ${located.document.metadata.name}`;
    located.document.spec.keys.forEach(({ key }, i) => uses.push({ located: located as Located, path: ['spec', 'keys', i, 'key'], key, owner }));
  }
  for (const located of documents.all('TrustRoot')) {
    const { keys, services } = located.document.spec;
    keys.forEach(({ key, principal }, i) => uses.push({ located: located as Located, path: ['spec', 'keys', i, 'key'], key, owner: `principal ${principal}` }));
    // T29: keys for decisions, evidence commits and the agents' CA are separate.
    services.forEach(({ publicKey, role, name }, i) => uses.push({ located: located as Located, path: ['spec', 'services', i, 'publicKey'], key: publicKey, owner: `our key ${role} ${name}` }));
  }
  for (const located of documents.all('Agent')) {
    uses.push({ located: located as Located, path: ['spec', 'identityKey'], key: located.document.spec.identityKey, owner: `agent ${located.document.metadata.name}` });
  }
  return uses;
}

function unreadable(use: Use): Diagnostic {
  return diagnosticAt(use.located, use.path, {
    code: 'KeyUnreadable',
    message: `the key of ${use.owner} cannot be read, or is of a kind that may not sign`,
    remedy: 'Write an ed25519, ecdsa, sk- or RSA key of at least 3072 bits, as in the .pub file that ssh-keygen wrote, or what gpg --export --armor prints of one such key; agents and services have P-256 keys as PEM.',
  });
}

function shared(use: Use, before: Use): Diagnostic {
  const holder = before.owner === use.owner ? 'twice' : `to ${before.owner} (${before.located.file ?? before.located.key}) as well`;
  return diagnosticAt(use.located, use.path, {
    code: 'SharedKey',
    message: `this key of ${use.owner} belongs ${holder}, so a signature would not say who gave it`,
    remedy: 'Give each principal, service and agent a key of its own, and name it once.',
  });
}
