import type { CommitId } from '../core/model/commit-id.ts';
import { digestOfBytes, type Digest } from '../core/model/digest.ts';
import type { DocumentOf } from '../core/model/documents.ts';
import { limits } from '../core/model/limits.ts';
import { applyRecord, type LogSources } from '../core/evidence/fold.ts';
import { assembleEnvelope, IN_TOTO_PAYLOAD_TYPE, preAuthEncoding } from '../core/evidence/dsse.ts';
import { artifactPath, recordPath } from '../core/evidence/layout.ts';
import { rootOf, type LogState } from '../core/evidence/log-state.ts';
import { projectionOf } from '../core/evidence/projection.ts';
import { recordPayload } from '../core/evidence/record-codec.ts';
import type { EvidenceRecord, RecordBody, RecordHeader } from '../core/evidence/records.ts';
import type { EvidenceFile } from '../ports/evidence-writer.ts';
import type { Signers } from '../ports/signing.ts';
import { ownKeysFault, recordSignerUnder } from './own-keys.ts';

export const ENGINE_NAME = 'stella-gitops';

export class LogBatchError extends Error {
  readonly code: 'RecordRefused' | 'RecordTooLarge' | 'ArtifactTooLarge' | 'KeyNotListed';
  readonly disposition = 'stall';
  constructor(code: LogBatchError['code'], message: string) {
    super(message);
    this.code = code;
  }
}

/** `before` and `after`: the log's state around the record. */
export type BatchRecord = { readonly record: EvidenceRecord; readonly envelope: Uint8Array; readonly payload: Uint8Array; readonly before: LogState; readonly after: LogState };

/**
 * Records that go into the log together: built, signed and folded one after the other on a copy of the state. Nothing has
 * happened until the batch is pushed; a batch that is dropped leaves no trace.
 */
export class LogBatch {
  #state: LogState;
  readonly #sources: LogSources;
  readonly #signers: Signers | null;
  readonly #context: { readonly commit: CommitId; readonly asOf: string; readonly engineVersion: string };
  readonly records: BatchRecord[] = [];
  readonly artifacts = new Map<Digest, Uint8Array>();
  readonly #held = new Map<Digest, Uint8Array>();
  readonly #projections = new Map<string, Uint8Array>();

  /** @param signers null for a rehearsal, whose records nobody signs and nobody keeps */
  constructor(state: LogState, signers: Signers | null, sources: LogSources, context: { commit: CommitId; asOf: string; engineVersion: string }) {
    this.#state = state;
    this.#signers = signers;
    this.#sources = sources;
    // Our clock may have been set back; the log's time never goes back.
    const asOf = state.asOf !== null && context.asOf < state.asOf ? state.asOf : context.asOf;
    this.#context = { ...context, asOf };
  }

  get openPgp(): LogSources['openPgp'] {
    return this.#sources.openPgp;
  }

  /** What judging reads, with the artifacts of this batch. */
  get sources(): LogSources {
    return { artifact: this.lookup, openPgp: this.openPgp };
  }

  /** The log's state with everything that was added so far. */
  get state(): LogState {
    return this.#state;
  }

  get asOf(): string {
    return this.#context.asOf;
  }

  get isEmpty(): boolean {
    return this.records.length === 0;
  }

  /** Stores bytes that a record is going to name. @throws LogBatchError `ArtifactTooLarge` */
  artifact(bytes: Uint8Array): Digest {
    if (bytes.length > limits.artifactBytes) {
      throw new LogBatchError('ArtifactTooLarge', `an artifact of ${bytes.length} bytes is over the limit of ${limits.artifactBytes}; ship large files in an image`);
    }
    const digest = digestOfBytes(bytes);
    this.artifacts.set(digest, bytes);
    return digest;
  }

  /** Keeps bytes that lie in the log already at hand while the batch is built, whatever a shared cache gives away meanwhile. */
  hold(bytes: ReadonlyMap<Digest, Uint8Array>): void {
    for (const [digest, held] of bytes) this.#held.set(digest, held);
  }

  readonly lookup = (digest: Digest): Uint8Array | undefined => this.artifacts.get(digest) ?? this.#held.get(digest) ?? this.#sources.artifact(digest);

  /** Why this server could not go on under `next`; null when it can. */
  ownKeysFault(next: DocumentOf<'TrustRoot'>): string | null {
    return this.#signers === null ? null : ownKeysFault(rootOf(this.#state), next, this.#signers);
  }

  /** Signs and folds one record. @throws LogBatchError `RecordRefused` when our own fold refuses it: a fault of ours, nothing is pushed */
  add(body: RecordBody): EvidenceRecord {
    const header = this.#header();
    const payload = recordPayload(header, body);
    const envelope = this.#signers === null ? payload : this.#envelopeOf(payload, this.#signers);
    // What nobody could read back would end the log.
    if (envelope.length > limits.recordBytes) throw new LogBatchError('RecordTooLarge', `a record of ${envelope.length} bytes is over the limit of ${limits.recordBytes}`);
    const record: EvidenceRecord = { digest: digestOfBytes(envelope), header, ...body };
    const result = applyRecord(this.#state, record, this.sources);
    if (!result.ok) throw new LogBatchError('RecordRefused', `${result.code}: ${result.message}`);
    this.records.push({ record, envelope, payload, before: this.#state, after: result.state });
    this.#state = result.state;
    for (const { path, bytes } of projectionOf(this.#state, record)) this.#projections.set(path, bytes);
    return record;
  }

  #envelopeOf(payload: Uint8Array, signers: Signers): Uint8Array {
    // T29: a record under a key that the root in force does not list would be read by nobody.
    const signer = recordSignerUnder(rootOf(this.#state), signers);
    if (signer === null) throw new LogBatchError('KeyNotListed', 'the trust root in force lists none of the keys that this server holds for decisions: check keys.decisions and keys.nextDecisions');
    return assembleEnvelope(payload, [{ keyid: signer.keyId, sig: signer.sign(preAuthEncoding(IN_TOTO_PAYLOAD_TYPE, payload)) }]);
  }

  /** Everything that the commit of this batch holds. */
  files(): readonly EvidenceFile[] {
    const files: EvidenceFile[] = this.records.map(({ record, envelope }) => ({ path: recordPath(record.header.seq), bytes: envelope }));
    for (const [digest, bytes] of this.artifacts) files.push({ path: artifactPath(digest), bytes });
    for (const [path, bytes] of this.#projections) files.push({ path, bytes });
    return files;
  }

  #header(): RecordHeader {
    const { size, head, logId, tenant, inForceDigests } = this.#state;
    const { commit, asOf, engineVersion } = this.#context;
    return { seq: size, prev: head, logId, tenant, ...inForceDigests, commit, asOf, rules: 1, engine: { name: ENGINE_NAME, version: engineVersion } };
  }
}
