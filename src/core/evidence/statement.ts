import { canonicalBytes, CanonicalError, type Json, type JsonObject } from '../model/canonical-json.ts';
import { hexOf, isDigest, type Digest } from '../model/digest.ts';
import { limits } from '../model/limits.ts';

export const STATEMENT_TYPE = 'https://in-toto.io/Statement/v1';

/** What a statement is about: bytes by their sha256, or a Git commit by its id. Never both in one digest set. */
export type Subject =
  | { readonly name: string; readonly digest: Digest }
  | { readonly name: string; readonly gitCommit: string };

/** An in-toto Statement v1, without the constant `_type`. */
export interface Statement {
  readonly subjects: readonly Subject[];
  /** A versioned URI. */
  readonly predicateType: string;
  readonly predicate: JsonObject;
}

export type StatementOutcome =
  | { readonly ok: true; readonly statement: Statement }
  | { readonly ok: false; readonly code: 'StatementMalformed' | 'StatementNotCanonical'; readonly message: string };

const GIT_ID = /^(?:[0-9a-f]{40}|[0-9a-f]{64})$/;

/**
 * Canonical JSON of the statement: the payload of an envelope.
 * @throws CanonicalError when the predicate has no canonical form.
 */
export function statementBytes(statement: Statement): Uint8Array {
  return canonicalBytes({
    _type: STATEMENT_TYPE,
    subject: statement.subjects.map((subject) => ({
      name: subject.name,
      digest: 'digest' in subject ? { sha256: hexOf(subject.digest) } : { gitCommit: subject.gitCommit },
    })),
    predicateType: statement.predicateType,
    predicate: statement.predicate,
  });
}

/**
 * Reads the payload of one of our envelopes. The bytes must be exactly what {@link statementBytes} writes for their content.
 * A digest set holds one digest: an attacker who finds a SHA-1 collision gains nothing on a subject known by sha256.
 * Total, linear. Source: in-toto Statement v1.
 */
export function parseStatement(bytes: Uint8Array): StatementOutcome {
  if (bytes.length > limits.recordBytes) return refuse('StatementMalformed', `it has more than ${limits.recordBytes} bytes`);
  const json = parseJson(bytes);
  if (!isObject(json) || json['_type'] !== STATEMENT_TYPE) return refuse('StatementMalformed', `its _type is not ${STATEMENT_TYPE}`);
  const { subject, predicateType, predicate } = json;
  if (typeof predicateType !== 'string' || predicateType === '') return refuse('StatementMalformed', 'it has no predicateType');
  if (!isObject(predicate)) return refuse('StatementMalformed', 'its predicate is not an object');
  const subjects = Array.isArray(subject) ? (subject as readonly Json[]).map(readSubject) : [];
  if (subjects.length === 0 || !subjects.every((item) => item !== null)) {
    return refuse('StatementMalformed', 'its subjects are not a list of names with one sha256 or one gitCommit each');
  }
  const statement = { subjects, predicateType, predicate };
  if (!isWrittenAs(statement, bytes)) return refuse('StatementNotCanonical', 'its bytes are not the canonical form of its content');
  return { ok: true, statement };
}

function readSubject(value: Json): Subject | null {
  if (!isObject(value) || typeof value['name'] !== 'string' || value['name'] === '' || !isObject(value['digest'])) return null;
  const { name, digest } = value;
  const [[algorithm, hex] = [], ...others] = Object.entries(digest);
  if (typeof hex !== 'string' || others.length > 0) return null;
  if (algorithm === 'gitCommit') return GIT_ID.test(hex) ? { name, gitCommit: hex } : null;
  const sha256 = `sha256:${hex}`;
  return algorithm === 'sha256' && isDigest(sha256) ? { name, digest: sha256 } : null;
}

function isWrittenAs(statement: Statement, bytes: Uint8Array): boolean {
  try {
    return Buffer.compare(statementBytes(statement), bytes) === 0;
  } catch (error) {
    // A float, or nesting beyond the stack: neither is anything that we write.
    if (error instanceof CanonicalError || error instanceof RangeError) return false;
    throw error;
  }
}

function parseJson(bytes: Uint8Array): Json {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)) as Json;
  } catch {
    // Invalid UTF-8 or JSON: the caller refuses what is not an object.
    return null;
  }
}

function isObject(value: Json | undefined): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function refuse(code: 'StatementMalformed' | 'StatementNotCanonical', reason: string): StatementOutcome {
  return { ok: false, code, message: `the payload is not a statement of ours: ${reason}` };
}
