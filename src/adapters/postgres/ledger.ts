import type { CommitId } from '../../core/model/commit-id.ts';
import type { Digest } from '../../core/model/digest.ts';
import { limits } from '../../core/model/limits.ts';
import { predicateTypeOf } from '../../core/evidence/records.ts';
import type { Ledger, LogHead, MirrorArtifact, MirrorRecord } from '../../ports/ledger.ts';
import { StorageError } from '../../ports/storage-error.ts';
import { writeProjection } from './ledger-projection.ts';
import { toJsonb, type Queries, type TenantDatabase } from './scope.ts';

/** The ledger of one log on Postgres (schemas `evidence` and `release`). */
export function createLedger(database: TenantDatabase): Ledger {
  return {
    append: (records, artifacts) => database.transaction(async (queries) => {
      await lockLog(queries, database);
      return appendRecords(queries, database, records, artifacts);
    }),
    project: (projection) => database.transaction((queries) => writeProjection(queries, database, projection)),
    remember: (head) => database.transaction((queries) => remember(queries, database, head)),
    head: () => database.transaction((queries) => newestHead(queries, database)),
    tip: () => database.transaction((queries) => lastRecord(queries, database)),
  };
}

type Log = Pick<TenantDatabase, 'tenant' | 'logId'>;
type Tip = { readonly seq: number; readonly digest: Digest };

/** One writer of a log at a time, whichever server it is in. The same key as in `evidence.check_head`. */
async function lockLog(queries: Queries, log: Log): Promise<void> {
  await queries.query("SELECT pg_advisory_xact_lock(hashtextextended('stella.log/' || $1 || '/' || $2, 0))", [log.tenant, log.logId]);
}

async function appendRecords(queries: Queries, log: Log, records: readonly MirrorRecord[], artifacts: readonly MirrorArtifact[]): Promise<number> {
  for (const { record } of records) {
    const { tenant, logId, seq } = record.header;
    if (tenant !== log.tenant || logId !== log.logId) throw new StorageError('LedgerDiverged', `record ${seq} belongs to log ${logId} of tenant ${tenant}, not to this one`);
  }
  const fresh = await withoutKnown(queries, log, records);
  const last = await lastRecord(queries, log);
  let expected = last === null ? 0 : last.seq + 1;
  for (const { record } of fresh) {
    if (record.header.seq !== expected) throw new StorageError('LedgerGap', `record ${record.header.seq} came, but ${expected} is next: mirror the records in order`);
    expected += 1;
  }
  for (const artifact of artifacts) await insertArtifact(queries, log, artifact);
  for (const record of fresh) await insertRecord(queries, log, record);
  return fresh.length;
}

/** Drops the records that are here already. @throws StorageError `LedgerDiverged` when one of them is here with other content. */
async function withoutKnown(queries: Queries, log: Log, records: readonly MirrorRecord[]): Promise<readonly MirrorRecord[]> {
  const { rows } = await queries.query<Tip>('SELECT seq, digest FROM evidence.records WHERE log_id = $1 AND seq = ANY($2)', [log.logId, records.map(({ record }) => record.header.seq)]);
  const known = new Map(rows.map(({ seq, digest }) => [seq, digest]));
  return records.filter(({ record }) => {
    const digest = known.get(record.header.seq);
    if (digest !== undefined && digest !== record.digest) {
      throw new StorageError('LedgerDiverged', `record ${record.header.seq} is ${record.digest} on the evidence branch, but was mirrored as ${digest}: find out who rewrote the branch; a new database can be rebuilt from it`);
    }
    return digest === undefined;
  });
}

async function insertRecord(queries: Queries, log: Log, { record, statement, envelope }: MirrorRecord): Promise<void> {
  const { seq, prev, asOf, commit } = record.header;
  await queries.query(
    `INSERT INTO evidence.records (tenant_id, log_id, seq, digest, prev, type, predicate_type, statement, envelope, as_of, commit)
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)`,
    [log.tenant, log.logId, seq, record.digest, prev, record.type, predicateTypeOf(record.type), toJsonb(statement), Buffer.from(envelope), asOf, commit],
  );
  if (record.type !== 'observation' || record.predicate.type !== 'approval') return;
  const seen = record.predicate;
  await queries.query(
    `INSERT INTO release.approvals (tenant_id, log_id, seq, document_digest, artifact_digest, payload_digest, action, approves_type,
       approves_digest, environment, application, principal, fingerprint, observed_at)
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)`,
    [log.tenant, log.logId, seq, seen.document, seen.artifact, seen.payload, seen.action, seen.approves.type,
      seen.approves.digest, seen.subject?.environment ?? null, seen.subject?.application ?? null, seen.principal, seen.fingerprint, asOf],
  );
}

async function insertArtifact(queries: Queries, log: Log, { digest, bytes }: MirrorArtifact): Promise<void> {
  const kept = bytes.byteLength <= limits.mirroredArtifactBytes ? Buffer.from(bytes) : null;
  await queries.query(
    'INSERT INTO evidence.artifacts (tenant_id, log_id, digest, size_bytes, bytes) VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING',
    [log.tenant, log.logId, digest, bytes.byteLength, kept],
  );
}

async function lastRecord(queries: Queries, log: Log): Promise<Tip | null> {
  const { rows } = await queries.query<Tip>('SELECT seq, digest FROM evidence.records WHERE log_id = $1 ORDER BY seq DESC LIMIT 1', [log.logId]);
  return rows[0] ?? null;
}

/** T16: the table refuses what would go back. The same head again adds no row. */
async function remember(queries: Queries, log: Log, head: LogHead): Promise<void> {
  await lockLog(queries, log);
  const last = await newestHead(queries, log);
  if (last !== null && sameHead(last, head)) return;
  await queries.query(
    `INSERT INTO evidence.log_heads (tenant_id, log_id, seq, digest, evidence_commit, target_tip, root_version, root_digest, remembered_at)
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)`,
    [log.tenant, log.logId, head.seq, head.digest, head.evidenceCommit, head.targetTip, head.rootVersion, head.rootDigest, head.rememberedAt],
  );
}

function sameHead(a: LogHead, b: LogHead): boolean {
  return a.seq === b.seq && a.digest === b.digest && a.evidenceCommit === b.evidenceCommit && a.targetTip === b.targetTip
    && a.rootVersion === b.rootVersion && a.rootDigest === b.rootDigest;
}

async function newestHead(queries: Queries, log: Log): Promise<LogHead | null> {
  const { rows } = await queries.query<LogHead & { evidenceCommit: CommitId }>(
    `SELECT seq, digest, evidence_commit AS "evidenceCommit", target_tip AS "targetTip", root_version AS "rootVersion",
            root_digest AS "rootDigest", remembered_at AS "rememberedAt"
       FROM evidence.log_heads WHERE log_id = $1 ORDER BY n DESC LIMIT 1`,
    [log.logId],
  );
  return rows[0] ?? null;
}
