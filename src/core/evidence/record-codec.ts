import type { JsonObject } from '../model/canonical-json.ts';
import { digestOfBytes, type Digest } from '../model/digest.ts';
import type { DocumentOf } from '../model/documents.ts';
import { IN_TOTO_PAYLOAD_TYPE, parseEnvelope, parseEnvelopeKey, verifyEnvelope, type EnvelopeKey } from './dsse.ts';
import { parseStatement, statementBytes, type Subject } from './statement.ts';
import { PREDICATE_TYPES, predicateTypeOf, type EvidenceRecord, type RecordBody, type RecordHeader, type RecordType } from './records.ts';

/** Keys that the root in force lists for one of our roles (T29). A key that cannot be read is no key. */
export function serviceKeys(root: DocumentOf<'TrustRoot'>, role: 'decisions' | 'agent-ca'): readonly EnvelopeKey[] {
  return root.spec.services.flatMap((service) => {
    const parsed = service.role === role ? parseEnvelopeKey(service.publicKey) : { ok: false as const };
    return parsed.ok ? [parsed.key] : [];
  });
}

/** The bytes that are signed as the payload of a record's envelope. */
export function recordPayload(header: RecordHeader, body: RecordBody): Uint8Array {
  return statementBytes({ subjects: subjectsOf(header, body), predicateType: predicateTypeOf(body.type), predicate: { header, content: body.predicate } as unknown as JsonObject });
}

export type RecordResult = { readonly ok: true; readonly record: EvidenceRecord } | { readonly ok: false; readonly code: 'RecordMalformed' | 'RecordUnsigned'; readonly message: string };

/**
 * Reads an envelope file: signature by one of `keys` first, content after (T1). The digest is that of the file's bytes,
 * which are never serialised again.
 */
export function readRecord(file: Uint8Array, keys: readonly EnvelopeKey[]): RecordResult {
  const parsed = parseEnvelope(file);
  if (!parsed.ok) return { ok: false, code: 'RecordMalformed', message: parsed.message };
  if (parsed.envelope.payloadType !== IN_TOTO_PAYLOAD_TYPE) return { ok: false, code: 'RecordMalformed', message: `payload type ${parsed.envelope.payloadType}` };
  if (verifyEnvelope(parsed.envelope, keys).length === 0) return { ok: false, code: 'RecordUnsigned', message: 'no key of the trust root for decisions signed this record' };
  const statement = parseStatement(parsed.envelope.payload);
  if (!statement.ok) return { ok: false, code: 'RecordMalformed', message: statement.message };
  const type = PREDICATE_TYPES.find((t) => predicateTypeOf(t) === statement.statement.predicateType);
  if (type === undefined) return { ok: false, code: 'RecordMalformed', message: `predicate type ${statement.statement.predicateType} is unknown` };
  const { header, content } = statement.statement.predicate as unknown as { header: RecordHeader; content: unknown };
  if (typeof header !== 'object' || header === null || typeof content !== 'object' || content === null) {
    return { ok: false, code: 'RecordMalformed', message: 'the predicate has no header or no content' };
  }
  return { ok: true, record: { digest: digestOfBytes(file), header, ...({ type: type as RecordType, predicate: content } as RecordBody) } };
}

/** Subjects by sha256; a commit stands alone in its digest set (EVIDENCE "A record"). */
function subjectsOf(header: RecordHeader, body: RecordBody): readonly Subject[] {
  const sha = (name: string, digest: Digest | null): Subject[] => (digest === null ? [] : [{ name, digest }]);
  switch (body.type) {
    case 'observation':
      return observationSubjects(body.predicate);
    case 'protected-change':
      return body.predicate.changes.flatMap((c) => sha(`${c.kind}/${c.name}`, c.to)).concat(sha('change', body.predicate.changeDigest ?? header.logId));
    case 'release-lock':
      return sha(`${body.predicate.application}/${body.predicate.release}`, body.predicate.lockDigest);
    case 'promotion-decision': {
      const { environment, application, decision, lock, input } = body.predicate;
      return [...sha(`${environment}/${application}`, decision.promotionDigest ?? input), ...sha('lock', lock)];
    }
    case 'deployment-outcome':
    case 'review':
      return sha(`${body.predicate.environment}/${body.predicate.application}`, body.predicate.promotionDigest);
    case 'anchor':
      return [...sha('rewrite', body.predicate.digest), { name: body.predicate.rewrite.ref, gitCommit: body.predicate.rewrite.to }];
  }
}

function observationSubjects(seen: Extract<RecordBody, { type: 'observation' }>['predicate']): readonly Subject[] {
  switch (seen.type) {
    case 'tip':
      return [{ name: seen.ref, gitCommit: seen.commit }];
    case 'approval':
      return [{ name: `approval by ${seen.principal}`, digest: seen.document }];
    case 'tag':
      return [{ name: `${seen.repository}:${seen.tag}`, digest: seen.digest }];
  }
}
