import { derivedId } from '../../core/model/uuid.ts';
import type { PromotionRow, Projection, ReleaseRow, StateRow } from '../../ports/ledger.ts';
import { toJsonb, type Queries, type TenantDatabase } from './scope.ts';

type Log = Pick<TenantDatabase, 'tenant' | 'logId'>;
type ColumnType = 'text' | 'uuid' | 'bigint' | 'integer' | 'boolean' | 'jsonb' | 'timestamptz';

/** A table that is written from whole rows. A column is the snake_case of the row's member. */
type ProjectedTable = {
  readonly table: string;
  readonly key: readonly string[];
  readonly columns: Readonly<Record<string, ColumnType>>;
  /** Columns that do not follow the new row but this expression over `old` and EXCLUDED. They alone never cause an update. */
  readonly special?: Readonly<Record<string, string>>;
};

const RELEASES: ProjectedTable = {
  table: 'release.releases',
  key: ['name'],
  columns: {
    id: 'uuid', name: 'text', application: 'text', version: 'text', display_name: 'text', components: 'jsonb', source_ref: 'jsonb',
    metadata: 'jsonb', deprecated_reason: 'text', status: 'text', release_spec_digest: 'text', lock_digest: 'text', lock_seq: 'bigint',
    locked_at: 'timestamptz', created_at: 'timestamptz', created_by: 'jsonb',
  },
};

const STATES: ProjectedTable = {
  table: 'release.environment_state',
  key: ['environment', 'application'],
  columns: {
    id: 'uuid', environment: 'text', application: 'text', release: 'text', generation: 'bigint', lock_digest: 'text', runs_digest: 'text',
    clean: 'boolean', status: 'text', deployed_at: 'timestamptz', deployed_by: 'jsonb', promotion_digest: 'text', evidence_seq: 'bigint',
  },
};

const PROMOTIONS: ProjectedTable = {
  table: 'release.promotions',
  key: ['id'],
  columns: {
    id: 'uuid', environment: 'text', application: 'text', document_digest: 'text', generation: 'bigint', operation: 'text', release: 'text',
    lock_digest: 'text', plan_digest: 'text', promotion_digest: 'text', outcome: 'text', reasons: 'jsonb', gates: 'jsonb', requesters: 'jsonb',
    requested_at: 'timestamptz', decided_at: 'timestamptz', decision_seq: 'bigint', decision_digest: 'text', not_after: 'timestamptz',
    next_change_at: 'timestamptz', result: 'text', outcome_seq: 'bigint',
  },
};

const DOCUMENTS: ProjectedTable = {
  table: 'release.documents',
  key: ['kind', 'name'],
  columns: { kind: 'text', name: 'text', count: 'bigint', digest: 'text', document: 'jsonb', seq: 'bigint', in_force_since: 'timestamptz' },
};

const CONDITIONS: ProjectedTable = {
  table: 'release.conditions',
  key: ['kind', 'name', 'type'],
  columns: {
    kind: 'text', name: 'text', type: 'text', status: 'text', reason: 'text', message: 'text', file: 'text', line: 'integer', since: 'timestamptz',
  },
  special: { since: 'CASE WHEN old.status = EXCLUDED.status THEN old.since ELSE EXCLUDED.since END' },
};

/** Writes all parts in the caller's transaction; a row that is equal already is not touched. */
export async function writeProjection(queries: Queries, log: Log, projection: Projection): Promise<void> {
  const { complete } = projection;
  const parts: readonly (readonly [ProjectedTable, Rows])[] = [
    [DOCUMENTS, rowsOf(projection.documents, complete)],
    [RELEASES, rowsOf(projection.releases, complete, (row: ReleaseRow) => ({ ...row, id: releaseId(log, row) }))],
    [STATES, rowsOf(projection.states, complete, (row: StateRow) => ({ ...row, id: stateId(log, row) }))],
    [PROMOTIONS, rowsOf(projection.promotions, false, (row: PromotionRow) => ({ ...row, id: promotionId(log, row) }))],
    [CONDITIONS, rowsOf(projection.conditions, complete, (row: object) => ({ ...row, since: projection.asOf }))],
  ];
  for (const [table, rows] of parts) await writeRows(queries, log, table, rows);
}

/** Id of a release in API and tables. */
export function releaseId(log: Log, row: Pick<ReleaseRow, 'name'>): string {
  return derivedId(log.logId, 'Release', row.name, 0);
}

/** Id of what runs in one place. */
export function stateId(log: Log, row: Pick<StateRow, 'environment' | 'application'>): string {
  return derivedId(log.logId, 'State', `${row.environment}/${row.application}`, 0);
}

/** Id of a subject of decisions. The document is in the name, because a promotion that is replaced before its run leaves the generation as it is. */
export function promotionId(log: Log, row: Pick<PromotionRow, 'environment' | 'application' | 'documentDigest' | 'generation'>): string {
  return derivedId(log.logId, 'Promotion', `${row.environment}/${row.application}/${row.documentDigest}`, row.generation);
}

type Rows = { readonly set: readonly object[]; readonly remove: readonly object[]; readonly onlyThese: boolean };

function rowsOf<Row extends object>(
  changes: { readonly set?: readonly Row[]; readonly remove?: readonly object[] } | undefined,
  complete: boolean,
  finish: (row: Row) => object = (row) => row,
): Rows {
  return { set: (changes?.set ?? []).map(finish), remove: changes?.remove ?? [], onlyThese: complete };
}

async function writeRows(queries: Queries, log: Log, table: ProjectedTable, rows: Rows): Promise<void> {
  const set = toJsonb(rows.set.map((row) => toColumns(row, Object.keys(table.columns))));
  if (rows.onlyThese) await queries.query(removeOthersSql(table), [log.logId, set]);
  else if (rows.remove.length > 0) await queries.query(removeSql(table), [log.logId, toJsonb(rows.remove.map((row) => toColumns(row, table.key)))]);
  if (rows.set.length > 0) await queries.query(upsertSql(table), [log.tenant, log.logId, set]);
}

function toColumns(row: object, columns: readonly string[]): object {
  const members = row as Readonly<Record<string, unknown>>;
  return Object.fromEntries(columns.map((column) => [column, members[column.replace(/_(.)/g, (_, letter: string) => letter.toUpperCase())]]));
}

const declared = (table: ProjectedTable, columns: readonly string[]): string =>
  columns.map((column) => `${column} ${table.columns[column]}`).join(', ');

function upsertSql(table: ProjectedTable): string {
  const columns = Object.keys(table.columns);
  const special = table.special ?? {};
  const following = columns.filter((column) => !table.key.includes(column) && special[column] === undefined);
  const assignments = [...following.map((column) => `${column} = EXCLUDED.${column}`), ...Object.entries(special).map(([column, expression]) => `${column} = ${expression}`)];
  return `INSERT INTO ${table.table} AS old (tenant_id, log_id, ${columns.join(', ')})
    SELECT $1, $2, ${columns.map((column) => `new.${column}`).join(', ')} FROM jsonb_to_recordset($3::jsonb) AS new(${declared(table, columns)})
    ON CONFLICT (tenant_id, log_id, ${table.key.join(', ')}) DO UPDATE SET ${assignments.join(', ')}
    WHERE (${following.map((column) => `old.${column}`).join(', ')}) IS DISTINCT FROM (${following.map((column) => `EXCLUDED.${column}`).join(', ')})`;
}

const sameKey = (table: ProjectedTable): string => table.key.map((column) => `old.${column} = listed.${column}`).join(' AND ');

function removeSql(table: ProjectedTable): string {
  return `DELETE FROM ${table.table} AS old USING jsonb_to_recordset($2::jsonb) AS listed(${declared(table, table.key)})
    WHERE old.log_id = $1 AND ${sameKey(table)}`;
}

function removeOthersSql(table: ProjectedTable): string {
  return `DELETE FROM ${table.table} AS old WHERE old.log_id = $1
    AND NOT EXISTS (SELECT FROM jsonb_to_recordset($2::jsonb) AS listed(${declared(table, table.key)}) WHERE ${sameKey(table)})`;
}
