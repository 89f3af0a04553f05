import { readIssuerKey } from '../trust/identity-token.ts';
import { danglingIn } from './check-references.ts';
import type { Diagnostic } from './diagnostic.ts';
import { diagnosticAt, type DocumentLookup, type Located } from './document-lookup.ts';

/** T10, T12, T19: outside identities belong to one person each, and issuers have keys that can be read and services that exist. */
export function checkIdentities(documents: DocumentLookup): readonly Diagnostic[] {
  const issuers = documents.all('Integration').flatMap((located) => issuerFaults(located, documents));
  return [...issuers, ...identityFaults(documents)];
}

function issuerFaults(located: Located<'Integration'>, documents: DocumentLookup): readonly Diagnostic[] {
  const { spec } = located.document;
  if (spec.type !== 'identity-issuer') return [];
  const found: Diagnostic[] = [...danglingIn(located as Located, spec.services.map((name, i) => ({ path: ['spec', 'services', i], kind: 'Principal' as const, name })), documents)];
  spec.keys.forEach(({ id, publicKey }, i) => {
    if (readIssuerKey(publicKey) === null) {
      found.push(diagnosticAt(located as Located, ['spec', 'keys', i, 'publicKey'], { code: 'KeyUnreadable', message: `key ${id} cannot be read, or is of a kind that no token may be signed with`, remedy: 'Write a P-256 key, or an RSA key of at least 2048 bits, as PEM (SPKI).' }));
    }
    if (spec.keys.findIndex((other) => other.id === id) < i) found.push(diagnosticAt(located as Located, ['spec', 'keys', i, 'id'], { code: 'SharedKey', message: `two keys have the id ${id}`, remedy: 'Keep one of them.' }));
  });
  spec.services.forEach((name, i) => {
    if (documents.get('Principal', name)?.document.spec.type !== 'person') return;
    found.push(diagnosticAt(located as Located, ['spec', 'services', i], { code: 'InvalidValue', message: `${name} is a person, who asks in their own name`, remedy: 'Name a Principal of type service, or take it out.' }));
  });
  return found;
}

function identityFaults(documents: DocumentLookup): readonly Diagnostic[] {
  const first = new Map<string, Located<'Principal'>>();
  const issuers = new Set(documents.all('Integration').flatMap(({ document: { spec } }) => (spec.type === 'identity-issuer' ? [spec.issuer] : [])));
  return documents.all('Principal').flatMap((located) => {
    const { metadata, spec } = located.document;
    return (spec.identities ?? []).flatMap(({ issuer, subject }, i) => {
      const path = ['spec', 'identities', i];
      const before = first.get(`${issuer}\n${subject}`);
      first.set(`${issuer}\n${subject}`, located);
      const found: Diagnostic[] = [];
      if (spec.type !== 'person') found.push(diagnosticAt(located as Located, path, { code: 'UnsupportedField', message: `${metadata.name} is a service, and services act for people`, remedy: 'Write the identity into the Principal of a person.' }));
      if (before !== undefined) found.push(diagnosticAt(located as Located, path, { code: 'SharedKey', message: `${subject} at ${issuer} is ${before.document.metadata.name} as well`, remedy: 'Keep it with one person.' }));
      if (!issuers.has(issuer)) found.push(diagnosticAt(located as Located, [...path, 'issuer'], { code: 'DanglingReference', severity: 'warning', message: `no Integration of type identity-issuer is ${issuer}, so nothing acts for this identity`, remedy: 'Add one, or take the identity out.' }));
      return found;
    });
  });
}
