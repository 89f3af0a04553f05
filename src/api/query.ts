import type { Context } from 'koa';
import { limits } from '../core/model/limits.ts';
import type { PageRequest } from '../ports/ledger.ts';
import { Problem } from './problem.ts';

/** The parameters of a query, each at most once. @throws Problem `QueryInvalid` for one that the route does not know */
export function queryOf(context: Context, known: readonly string[]): Readonly<Record<string, string | undefined>> {
  for (const [name, value] of Object.entries(context.query)) {
    if (!known.includes(name)) throw new Problem('QueryInvalid', `there is no parameter ${name.slice(0, 50)} here: known are ${known.join(', ') || 'none'}`);
    if (typeof value !== 'string') throw new Problem('QueryInvalid', `${name} is given more than once`);
  }
  return context.query as Readonly<Record<string, string | undefined>>;
}

/** A whole number from `least` on; undefined when it was not given. @throws Problem `QueryInvalid` */
export function wholeNumber(name: string, text: string | undefined, least: number, most = Number.MAX_SAFE_INTEGER): number | undefined {
  if (text === undefined) return undefined;
  const value = /^\d{1,15}$/.test(text) ? Number(text) : Number.NaN;
  if (!(value >= least && value <= most)) throw new Problem('QueryInvalid', `${name} must be a whole number from ${least} to ${most}`);
  return value;
}

/** @throws Problem `QueryInvalid` */
export function pageOf(query: Readonly<Record<string, string | undefined>>): PageRequest {
  const page = wholeNumber('page', query['page'], 1, 1_000_000);
  const pageSize = wholeNumber('pageSize', query['pageSize'], 1, limits.pageItems);
  return { ...(page === undefined ? {} : { page }), ...(pageSize === undefined ? {} : { pageSize }) };
}

/** One of a closed list; undefined when it was not given. @throws Problem `QueryInvalid` */
export function choice<T extends string>(name: string, text: string | undefined, choices: readonly T[]): T | undefined {
  const found = choices.find((one) => one === text);
  if (text !== undefined && found === undefined) throw new Problem('QueryInvalid', `${name} must be one of ${choices.join(', ')}`);
  return found;
}
