import { canonicalBytes, type JsonObject } from '../../core/model/canonical-json.ts';
import type { Digest } from '../../core/model/digest.ts';
import { limits } from '../../core/model/limits.ts';
import { derivedId, type Uuid } from '../../core/model/uuid.ts';
import type { NewOrder, NewRun, Run, RunStore, StoredOrder, Transition } from '../../ports/run-store.ts';
import { StorageError } from '../../ports/storage-error.ts';
import { toJsonb, type Queries, type TenantDatabase } from './scope.ts';

const RUN = `id, environment, application, operation, promotion_digest AS "promotionDigest", generation, extension, decision_seq AS "decisionSeq",
  decision_digest AS "decisionDigest", n, state, opened_at AS "openedAt", ended_at AS "endedAt"`;

type RunColumns = Omit<Run, 'decision'> & { readonly decisionSeq: number; readonly decisionDigest: Digest };
const toRun = ({ decisionSeq, decisionDigest, ...rest }: RunColumns): Run => ({ ...rest, decision: { seq: decisionSeq, digest: decisionDigest } });

/** Runs of one log on Postgres (schema `run`). */
export function createRunStore(database: TenantDatabase): RunStore {
  const { logId } = database;
  const runs = (where: string, values: readonly unknown[]): Promise<readonly Run[]> => database.transaction(async (queries) =>
    (await queries.query<RunColumns>(`SELECT ${RUN} FROM run.runs WHERE log_id = $1 AND ${where} ORDER BY opened_at, id`, [logId, ...values])).rows.map(toRun));
  return {
    createRun: (run) => database.transaction((queries) => createRun(queries, database, run)),
    appendTransition: (run, transition) => database.transaction((queries) => appendTransition(queries, database, run, transition)),
    transitions: (run) => database.transaction(async (queries) =>
      (await queries.query<{ n: number; event: JsonObject; at: string }>('SELECT n, event, at FROM run.transitions WHERE run_id = $1 ORDER BY n', [run])).rows),
    openRuns: () => runs('ended_at IS NULL', []),
    runOf: async (promotionDigest, generation, extension) => (await runs('promotion_digest = $2 AND generation = $3 AND extension = $4', [promotionDigest, generation, extension]))[0] ?? null,
    run: async (id) => (await runs('id = $2', [id]))[0] ?? null,
    recordOrder: (order) => database.transaction((queries) => recordOrder(queries, database, order)),
    recordReceipt: (digest, receipt, answeredAt) => database.transaction((queries) => recordReceipt(queries, digest, receipt, answeredAt)),
    orders: (run) => database.transaction((queries) => orders(queries, run)),
  };
}

type Log = Pick<TenantDatabase, 'tenant' | 'logId'>;

async function createRun(queries: Queries, log: Log, run: NewRun): ReturnType<RunStore['createRun']> {
  const id = derivedId(log.logId, 'Run', run.promotionDigest, run.generation, ...(run.extension === 0 ? [] : [run.extension]));
  const inserted = await queries.query<RunColumns>(
    `INSERT INTO run.runs (tenant_id, log_id, id, environment, application, operation, promotion_digest, generation, extension, decision_seq, decision_digest, state, opened_at)
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) ON CONFLICT DO NOTHING RETURNING ${RUN}`,
    [log.tenant, log.logId, id, run.environment, run.application, run.operation, run.promotionDigest, run.generation, run.extension,
      run.decision.seq, run.decision.digest, stateJson(run.state), run.openedAt],
  );
  const created = inserted.rows[0];
  if (created !== undefined) return { ok: true, run: toRun(created), created: true };
  const there = (await queries.query<RunColumns>(`SELECT ${RUN} FROM run.runs WHERE id = $1`, [id])).rows[0];
  return there === undefined ? { ok: false, code: 'RunOpen' } : { ok: true, run: toRun(there), created: false };
}

/** Optimistic: the update takes the row only from the state that the caller saw, so two writers never both win. */
async function appendTransition(queries: Queries, log: Log, run: Uuid, transition: Transition): ReturnType<RunStore['appendTransition']> {
  const { n, at, ends } = transition;
  const event = stateJson(transition.event);
  const moved = await queries.query(
    'UPDATE run.runs SET n = $2, state = $3, ended_at = $4 WHERE id = $1 AND n = $2::bigint - 1 AND ended_at IS NULL',
    [run, n, stateJson(transition.state), ends ? at : null],
  );
  if (moved.rowCount === 1) {
    await queries.query('INSERT INTO run.transitions (tenant_id, run_id, n, event, at) VALUES ($1, $2, $3, $4, $5)', [log.tenant, run, n, event, at]);
    return { ok: true };
  }
  const { rows } = await queries.query<{ n: number; same: boolean }>(
    `SELECT r.n, r.n = $2 AND r.state = $4::jsonb AND EXISTS (
              SELECT FROM run.transitions t WHERE t.run_id = r.id AND t.n = $2 AND t.event = $3::jsonb) AS same
       FROM run.runs r WHERE r.id = $1`,
    [run, n, event, stateJson(transition.state)],
  );
  const found = rows[0];
  if (found === undefined) throw new StorageError('StorageFailed', `there is no run ${run}: create it first`);
  return found.same ? { ok: true } : { ok: false, code: 'RunMoved', n: found.n };
}

async function recordOrder(queries: Queries, log: Log, entry: NewOrder): Promise<void> {
  const { order } = entry;
  await queries.query(
    `INSERT INTO run.orders (tenant_id, run_id, digest, target, agent, operation, try, bytes, sent_at)
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (tenant_id, digest) DO NOTHING`,
    [log.tenant, entry.run, entry.digest, order.target, entry.agent, order.operation, order.try, Buffer.from(canonicalBytes(order)), entry.sentAt],
  );
}

async function recordReceipt(queries: Queries, digest: Digest, receipt: Uint8Array, answeredAt: string): Promise<void> {
  const bytes = Buffer.from(receipt);
  const stored = await queries.query<{ receipt: Buffer }>('SELECT receipt FROM run.orders WHERE digest = $1 FOR UPDATE', [digest]);
  const found = stored.rows[0];
  if (found === undefined) throw new StorageError('StorageFailed', `there is no order ${digest}: record it before it is sent`);
  if (found.receipt?.equals(bytes) === true) return;
  await queries.query('UPDATE run.orders SET receipt = $2, answered_at = $3 WHERE digest = $1', [digest, bytes, answeredAt]);
}

async function orders(queries: Queries, run: Uuid): Promise<readonly StoredOrder[]> {
  const { rows } = await queries.query<Omit<StoredOrder, 'order'> & { bytes: Buffer }>(
    `SELECT run_id AS run, digest, agent, bytes, sent_at AS "sentAt", receipt, answered_at AS "answeredAt" FROM run.orders WHERE run_id = $1 ORDER BY sent_at, digest`, [run]);
  return rows.map(({ bytes, ...rest }) => ({ ...rest, order: JSON.parse(bytes.toString('utf8')) as StoredOrder['order'] }));
}

function stateJson(value: JsonObject): string {
  const text = toJsonb(value);
  if (Buffer.byteLength(text) > limits.runStateBytes) throw new StorageError('LimitExceeded', `the state of a run is over ${limits.runStateBytes} bytes`);
  return text;
}
