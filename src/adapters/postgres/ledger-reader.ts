import type { JsonObject } from '../../core/model/canonical-json.ts';
import { trustsReconciler } from '../../core/decision/clauses.ts';
import type { DocumentOf } from '../../core/model/documents.ts';
import { limits } from '../../core/model/limits.ts';
import { isUuid } from '../../core/model/uuid.ts';
import type {
  ApprovalRow, Condition, DocumentRow, EnvironmentView, Identified, LedgerReader, Page, PageRequest, PromotionRow, RecordView, ReleaseRow, StateRow,
} from '../../ports/ledger.ts';
import type { Queries, TenantDatabase } from './scope.ts';

const RELEASE = `id, name, application, version, display_name AS "displayName", components, source_ref AS "sourceRef", metadata,
  deprecated_reason AS "deprecatedReason", status, release_spec_digest AS "releaseSpecDigest", lock_digest AS "lockDigest", lock_seq AS "lockSeq",
  locked_at AS "lockedAt", created_at AS "createdAt", created_by AS "createdBy"`;

const STATE = `id, environment, application, release, generation, lock_digest AS "lockDigest", runs_digest AS "runsDigest", clean, status,
  deployed_at AS "deployedAt", deployed_by AS "deployedBy", promotion_digest AS "promotionDigest", evidence_seq AS "evidenceSeq"`;

const PROMOTION = `id, environment, application, document_digest AS "documentDigest", generation, operation, release, lock_digest AS "lockDigest",
  plan_digest AS "planDigest", promotion_digest AS "promotionDigest", outcome, reasons, gates, requesters, requested_at AS "requestedAt",
  decided_at AS "decidedAt", decision_seq AS "decisionSeq", decision_digest AS "decisionDigest", not_after AS "notAfter",
  next_change_at AS "nextChangeAt", result, outcome_seq AS "outcomeSeq"`;

const DOCUMENT = 'kind, name, count, digest, document, seq, in_force_since AS "inForceSince"';

const RECORD = 'seq, digest, prev, type, predicate_type AS "predicateType", as_of AS "asOf", commit, statement';

/** The reads of one log on Postgres. Every list has an order and a bound. */
export function createLedgerReader(database: TenantDatabase): LedgerReader {
  const { logId } = database;
  const rows = <Row extends object>(text: string, values: readonly unknown[] = []): Promise<readonly Row[]> =>
    database.transaction(async (queries) => (await queries.query<Row>(text, [logId, ...values])).rows);
  const first = async <Row extends object>(text: string, values: readonly unknown[]): Promise<Row | null> => (await rows<Row>(text, values))[0] ?? null;

  return {
    releases: (filter = {}) => database.transaction((queries) => page<Identified<ReleaseRow>>(
      queries, { columns: RELEASE, table: 'release.releases', order: 'created_at DESC, name', logId, filter: { application: filter.application, status: filter.status } }, filter,
    )),
    release: (nameOrId) => isUuid(nameOrId)
      ? first(`SELECT ${RELEASE} FROM release.releases WHERE log_id = $1 AND id = $2`, [nameOrId])
      : first(`SELECT ${RELEASE} FROM release.releases WHERE log_id = $1 AND name = $2`, [nameOrId]),
    environments: () => database.transaction((queries) => environments(queries, logId)),
    promotions: (filter = {}) => database.transaction((queries) => page<Identified<PromotionRow>>(
      queries, { columns: PROMOTION, table: 'release.promotions', order: 'decision_seq DESC, id', logId, filter: { environment: filter.environment, application: filter.application } }, filter,
    )),
    promotion: (id) => database.transaction((queries) => promotion(queries, logId, id)),
    documents: (kind) => rows<DocumentRow>(`SELECT ${DOCUMENT} FROM release.documents WHERE log_id = $1 AND ($2::text IS NULL OR kind = $2) ORDER BY kind, name`, [kind ?? null]),
    conditions: () => rows<Condition & { since: string }>(
      'SELECT kind, name, type, status, reason, message, file, line, since FROM release.conditions WHERE log_id = $1 ORDER BY kind, name, type'),
    evidence: ({ fromSeq = 0, limit = limits.pageItems, type } = {}) => rows<RecordView>(
      `SELECT ${RECORD} FROM evidence.records WHERE log_id = $1 AND seq >= $2 AND ($3::text IS NULL OR type = $3) ORDER BY seq LIMIT $4`,
      [fromSeq, type ?? null, bounded(limit)]),
    record: (seq) => first(`SELECT ${RECORD}, envelope FROM evidence.records WHERE log_id = $1 AND seq = $2`, [seq]),
    artifact: async (digest) =>
      (await first<{ bytes: Uint8Array | null }>('SELECT bytes FROM evidence.artifacts WHERE log_id = $1 AND digest = $2', [digest]))?.bytes ?? null,
  };
}

const bounded = (count: number): number => Math.min(Math.max(1, Math.trunc(count)), limits.pageItems);

type Listing = { readonly columns: string; readonly table: string; readonly order: string; readonly logId: string; readonly filter: Readonly<Record<string, string | undefined>> };

async function page<Row extends object>(queries: Queries, { columns, table, order, logId, filter }: Listing, request: PageRequest): Promise<Page<Row>> {
  const pageSize = bounded(request.pageSize ?? 50);
  const pageNumber = Math.max(1, Math.trunc(request.page ?? 1));
  const given = Object.entries(filter).filter(([, value]) => value !== undefined);
  const where = ['log_id = $1', ...given.map(([column], index) => `${column} = $${index + 2}`)].join(' AND ');
  const values = [logId, ...given.map(([, value]) => value)];
  const counted = await queries.query<{ total: number }>(`SELECT count(*) AS total FROM ${table} WHERE ${where}`, values);
  const { rows } = await queries.query<Row>(`SELECT ${columns} FROM ${table} WHERE ${where} ORDER BY ${order} LIMIT ${pageSize} OFFSET ${(pageNumber - 1) * pageSize}`, values);
  return { items: rows, total: counted.rows[0]?.total ?? 0, page: pageNumber, pageSize };
}

/** Environments in force, in their order, and places where something runs without one. */
async function environments(queries: Queries, logId: string): Promise<readonly EnvironmentView[]> {
  const documents = await queries.query<{ name: string; order: number; document: JsonObject }>(
    `SELECT name, (document #>> '{spec,order}')::numeric::float8 AS "order", document FROM release.documents WHERE log_id = $1 AND kind = 'Environment' ORDER BY 2, name`, [logId]);
  const states = await queries.query<Identified<StateRow>>(`SELECT ${STATE} FROM release.environment_state WHERE log_id = $1 ORDER BY environment, application`, [logId]);
  const roots = await queries.query<{ document: JsonObject }>(`SELECT document FROM release.documents WHERE log_id = $1 AND kind = 'TrustRoot'`, [logId]);
  const root = roots.rows[0]?.document as unknown as DocumentOf<'TrustRoot'> | undefined;
  const isReconcilerTrusted = (name: string, document: JsonObject | null): boolean =>
    trustsReconciler({ minimums: root?.spec.minimums, name, environment: document as unknown as DocumentOf<'Environment'> | null });
  const inForce = documents.rows.map((row) => ({ ...row, reconcilerTrusted: isReconcilerTrusted(row.name, row.document), states: states.rows.filter((state) => state.environment === row.name) }));
  const known = new Set(inForce.map(({ name }) => name));
  const others = [...new Set(states.rows.map(({ environment }) => environment))].filter((name) => !known.has(name));
  return [...inForce, ...others.map((name) => ({ name, order: null, document: null, reconcilerTrusted: isReconcilerTrusted(name, null), states: states.rows.filter((state) => state.environment === name) }))];
}

async function promotion(queries: Queries, logId: string, id: string): Promise<(Identified<PromotionRow> & { readonly approvals: readonly ApprovalRow[] }) | null> {
  if (!isUuid(id)) return null;
  const { rows } = await queries.query<Identified<PromotionRow>>(`SELECT ${PROMOTION} FROM release.promotions WHERE log_id = $1 AND id = $2`, [logId, id]);
  const found = rows[0];
  if (found === undefined) return null;
  const approvals = await queries.query<ApprovalRow>(
    `SELECT seq, document_digest AS "documentDigest", action, principal, fingerprint, observed_at AS "observedAt"
       FROM release.approvals WHERE log_id = $1 AND approves_type = 'promotion' AND approves_digest = $2 ORDER BY seq`, [logId, found.promotionDigest]);
  return { ...found, approvals: approvals.rows };
}
