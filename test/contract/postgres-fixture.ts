import { fileURLToPath } from 'node:url';
import pg from 'pg';
import { digestOfBytes, type Digest } from '../../src/core/model/digest.ts';
import { canonicalBytes, type JsonObject } from '../../src/core/model/canonical-json.ts';
import type { CommitId } from '../../src/core/model/commit-id.ts';
import type { Observation, RecordBody, RecordHeader } from '../../src/core/evidence/records.ts';
import { predicateTypeOf } from '../../src/core/evidence/records.ts';
import type { MirrorRecord, PromotionRow, ReleaseRow, StateRow } from '../../src/ports/ledger.ts';
import { migrate, readMigrations } from '../../src/adapters/postgres/migrate.ts';
import { prepareJobs } from '../../src/adapters/postgres/jobs-schema.ts';
import { freshDatabase, type ScratchDatabase } from '../fakes/postgres.ts';

export const MIGRATIONS = fileURLToPath(new URL('../../migrations', import.meta.url));
export const LOG = digestOfBytes('the log of these tests');
export const TENANT = 'acme';
export const AT = '2026-01-02T03:04:05.678Z';

/** A database with the whole schema, copied from one that was migrated once per run. */
export async function migratedDatabase(): Promise<ScratchDatabase> {
  return freshDatabase({
    key: 'storage',
    prepare: async (url) => {
      await migrate(url, await readMigrations(MIGRATIONS));
      await prepareJobs(url);
    },
  });
}

export async function sql<Row extends pg.QueryResultRow>(url: string, text: string, values: readonly unknown[] = []): Promise<Row[]> {
  const client = new pg.Client({ connectionString: url });
  client.on('error', () => undefined);
  await client.connect();
  try {
    const result: pg.QueryResult<Row> | pg.QueryResult<Row>[] = await client.query<Row>(text, [...values]);
    return (Array.isArray(result) ? result.at(-1)?.rows : result.rows) ?? [];
  } finally {
    await client.end();
  }
}

/** A chain of records; their content does not matter here, their digests and links do. */
export function chainOf(bodies: readonly RecordBody[], options: { readonly note?: string; readonly tenant?: string; readonly logId?: Digest } = {}): readonly MirrorRecord[] {
  const records: MirrorRecord[] = [];
  for (const [seq, body] of bodies.entries()) {
    const header: RecordHeader = {
      seq, prev: records[seq - 1]?.record.digest ?? null, logId: options.logId ?? LOG, tenant: options.tenant ?? TENANT, root: digestOfBytes('root'),
      principals: digestOfBytes('principals'), policy: digestOfBytes('policy'), commit: COMMIT, asOf: AT, rules: 1, engine: { name: 'stella', version: '0' },
    };
    const statement = { predicateType: predicateTypeOf(body.type), predicate: { header, body, note: options.note ?? '' } } as unknown as JsonObject;
    const envelope = canonicalBytes(statement);
    records.push({ record: { digest: digestOfBytes(envelope), header, ...body }, statement, envelope });
  }
  return records;
}

export const COMMIT = 'c'.repeat(40) as CommitId;
export const tip: RecordBody = { type: 'observation', predicate: { type: 'tip', ref: 'refs/heads/main', commit: COMMIT } };

export function approvalOf(promotionDigest: Digest, principal: string): RecordBody {
  const predicate: Observation = {
    type: 'approval', action: 'approve', document: digestOfBytes(`document of ${principal}`), artifact: digestOfBytes('artifact'),
    approves: { type: 'promotion', digest: promotionDigest }, subject: { environment: 'prod', application: 'shop' }, principal,
    fingerprint: 'SHA256:abc', payload: digestOfBytes('payload'),
  };
  return { type: 'observation', predicate };
}

export function releaseRow(version: string, changes: Partial<ReleaseRow> = {}): ReleaseRow {
  return {
    name: `shop/${version}`, application: 'shop', version, displayName: null,
    components: [{ name: 'api', repository: 'shop/api', registry: 'local', tag: version, digest: digestOfBytes(`api ${version}`) }],
    sourceRef: { repository: 'git://shop', commit: null }, metadata: { team: 'a' }, deprecatedReason: null, status: 'ready',
    releaseSpecDigest: digestOfBytes(`spec ${version}`), lockDigest: digestOfBytes(`lock ${version}`), lockSeq: 4, lockedAt: AT, createdAt: AT, createdBy: ['alice'],
    ...changes,
  };
}

export function stateRow(environment: string, changes: Partial<StateRow> = {}): StateRow {
  return {
    environment, application: 'shop', release: '1', generation: 1, lockDigest: digestOfBytes('lock 1'), runsDigest: digestOfBytes('runs 1'), clean: true,
    status: 'deployed', deployedAt: AT, deployedBy: ['alice'], promotionDigest: digestOfBytes('promotion 1'), evidenceSeq: 7, ...changes,
  };
}

export function promotionRow(environment: string, changes: Partial<PromotionRow> = {}): PromotionRow {
  return {
    environment, application: 'shop', documentDigest: digestOfBytes(`promotion document ${environment}`), generation: 1, operation: 'promote', release: '1',
    lockDigest: digestOfBytes('lock 1'), planDigest: digestOfBytes('plan 1'), promotionDigest: digestOfBytes('promotion 1'), outcome: 'pending',
    reasons: ['ApprovalsMissing'],
    gates: [{ gate: 'approvals', subject: 'environment/prod', outcome: 'pending', code: 'ApprovalsMissing', detail: { counted: 0 }, opensAt: null }],
    requesters: { people: ['alice'], unknown: 0 }, requestedAt: AT, decidedAt: AT, decisionSeq: 5, decisionDigest: digestOfBytes('decision 5'),
    notAfter: null, nextChangeAt: null, result: null, outcomeSeq: null, ...changes,
  };
}
