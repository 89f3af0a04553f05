import type { Context } from 'koa';
import { encodeBase64 } from '../core/model/base64.ts';
import { isProtected, KINDS } from '../core/model/documents.ts';
import { limits } from '../core/model/limits.ts';
import type { RecordType } from '../core/evidence/records.ts';
import type { Page, ReleaseStatus } from '../ports/ledger.ts';
import { Problem } from './problem.ts';
import { choice, pageOf, queryOf, wholeNumber } from './query.ts';
import type { ApiWorld } from './world.ts';

export type Read = (context: Context, world: ApiWorld, id: string) => Promise<object>;

const STATUSES: readonly ReleaseStatus[] = ['draft', 'ready', 'promoting', 'deployed', 'deprecated', 'archived'];
const RECORD_TYPES: readonly RecordType[] = ['observation', 'release-lock', 'promotion-decision', 'protected-change', 'deployment-outcome', 'anchor', 'review'];
const DEFAULT_RECORDS = 50;

const paged = <T>({ items, total, page, pageSize }: Page<T>): object => ({ data: items, meta: { total, page, pageSize } });
const listed = <T>(items: readonly T[]): object => ({ data: items, meta: { total: items.length } });

function found<T>(value: T | null | undefined, what: string): T {
  if (value === null || value === undefined) throw new Problem('NotFound', `there is no ${what}`);
  return value;
}

export const readReleases: Read = async (context, { reader }) => {
  const query = queryOf(context, ['page', 'pageSize', 'application', 'status']);
  const { application } = query;
  const status = choice('status', query['status'], STATUSES);
  return paged(await reader.releases({ ...pageOf(query), ...(application === undefined ? {} : { application }), ...(status === undefined ? {} : { status }) }));
};

export const readRelease: Read = async (context, { reader }, id) => {
  queryOf(context, []);
  return { data: found(await reader.release(id), 'such release') };
};

export const readEnvironments: Read = async (context, { reader }) => {
  queryOf(context, []);
  return listed(await reader.environments());
};

export const readEnvironment: Read = async (context, { reader }, id) => {
  queryOf(context, []);
  return { data: found((await reader.environments()).find(({ name }) => name === id), 'such environment') };
};

export const readPromotions: Read = async (context, { reader }) => {
  const query = queryOf(context, ['page', 'pageSize', 'environment', 'application']);
  const { environment, application } = query;
  return paged(await reader.promotions({ ...pageOf(query), ...(environment === undefined ? {} : { environment }), ...(application === undefined ? {} : { application }) }));
};

export const readPromotion: Read = async (context, { reader, explain }, id) => {
  queryOf(context, []);
  const promotion = found(await reader.promotion(id), 'such promotion');
  return { data: { ...promotion, explanation: await explain(promotion) } };
};

/** @param id `Environment/prod` */
export const readDocument: Read = (context, { explainDocument }, id) => {
  queryOf(context, []);
  const [slash, kind] = [id.indexOf('/'), KINDS.find((one) => isProtected(one) && id.startsWith(`${one}/`))];
  const [name, known] = [id.slice(slash + 1), found(kind, 'such kind of protected documents')];
  return Promise.resolve({ data: { kind: known, name, explanation: explainDocument(known, name) } });
};

export const readEvidence: Read = async (context, { reader }) => {
  const query = queryOf(context, ['fromSeq', 'limit', 'type']);
  const fromSeq = wholeNumber('fromSeq', query['fromSeq'], 0) ?? 0;
  const limit = wholeNumber('limit', query['limit'], 1, limits.pageItems) ?? DEFAULT_RECORDS;
  const type = choice('type', query['type'], RECORD_TYPES);
  const records = await reader.evidence({ fromSeq, limit, ...(type === undefined ? {} : { type }) });
  const last = records.at(-1);
  return { data: records, meta: { fromSeq, limit, next: records.length < limit || last === undefined ? null : last.seq + 1 } };
};

export const readRecord: Read = async (context, { reader }, id) => {
  queryOf(context, []);
  const record = /^\d{1,15}$/.test(id) ? await reader.record(Number(id)) : null;
  const one = found(record, 'such record');
  return { data: { ...one, envelope: encodeBase64(one.envelope) } };
};

export const readConditions: Read = async (context, { reader }) => {
  queryOf(context, []);
  return listed(await reader.conditions());
};

export const readAgents: Read = async (context, world) => {
  queryOf(context, []);
  const connected = new Set(world.connected().map(({ agent }) => agent));
  return listed((await world.agents()).map((entry) => ({ ...entry, connected: connected.has(entry.agent) })));
};
