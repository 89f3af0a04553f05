import Router from '@koa/router';
import Koa, { type Context } from 'koa';
import { FORGE_TYPES } from '../ports/forge.ts';
import { StorageError } from '../ports/storage-error.ts';
import { answerHealth, answerReadiness } from './health.ts';
import { answerProblem, Problem } from './problem.ts';
import {
  readAgents, readConditions, readDocument, readEnvironment, readEnvironments, readEvidence, readPromotion, readPromotions, readRecord, readRelease, readReleases, type Read,
} from './reads.ts';
import { answerForgeWebhook, answerWebhook, SeenDeliveries } from './webhook.ts';
import type { ApiWorld } from './world.ts';

export type Route = { readonly method: 'get' | 'post'; readonly path: string; readonly answer: (context: Context, world: ApiWorld, seen: SeenDeliveries) => Promise<void> | void };

const read = (path: string, reads: Read): Route => ({
  method: 'get', path: `/api/v1/${path}`,
  answer: async (context, world) => {
    context.body = await reads(context, world, String((context as Context & { params?: Record<string, string> }).params?.['id'] ?? ''));
  },
});

/** Everything that the API answers; `schemas/openapi.json` describes the same. */
export const ROUTES: readonly Route[] = [
  { method: 'get', path: '/healthz', answer: answerHealth },
  { method: 'get', path: '/readyz', answer: answerReadiness },
  { method: 'get', path: '/metrics', answer: answerMetrics },
  { method: 'post', path: '/api/v1/webhooks/generic', answer: answerWebhook },
  ...FORGE_TYPES.map((type): Route => ({ method: 'post', path: `/api/v1/webhooks/${type}`, answer: (context, world, seen) => answerForgeWebhook(context, world, seen, type) })),
  read('releases', readReleases), read('releases/:id', readRelease),
  read('environments', readEnvironments), read('environments/:id', readEnvironment),
  read('promotions', readPromotions), read('promotions/:id', readPromotion),
  read('documents/:id', readDocument),
  read('evidence', readEvidence), read('evidence/:id', readRecord),
  read('conditions', readConditions), read('agents', readAgents),
];

const HEADERS = {
  'Cache-Control': 'no-store', 'Content-Security-Policy': "default-src 'none'; frame-ancestors 'none'", 'Cross-Origin-Resource-Policy': 'same-origin',
  'Referrer-Policy': 'no-referrer', 'X-Content-Type-Options': 'nosniff', 'X-Frame-Options': 'DENY',
} as const;

/** The API: reads and one wake-up. It has no power that Git does not have. */
export function createApi(world: ApiWorld): Koa {
  const app = new Koa();
  const router = new Router();
  const seen = new SeenDeliveries();
  for (const { method, path, answer } of ROUTES) router[method](path, (context) => answer(context as unknown as Context, world, seen));
  app.use((context, next) => guard(context, next, world));
  app.use(router.routes());
  app.on('error', () => undefined); // a client that goes away in the middle is no fault of ours
  return app;
}

async function answerMetrics(context: Context, world: ApiWorld): Promise<void> {
  const { type, text } = await world.metrics();
  context.set('Content-Type', type);
  context.body = text;
}

/** Headers on every answer, and problem details for whatever went wrong. */
async function guard(context: Context, next: () => Promise<unknown>, world: ApiWorld): Promise<void> {
  context.set(HEADERS);
  try {
    await next();
    if (context.status === 404 && context.body === undefined) throw missing(context);
  } catch (cause) {
    const problem = problemOf(cause);
    if (problem.code === 'InternalError') world.onError(cause);
    answerProblem(context, problem);
    // A body that was not read to its end leaves a connection that cannot be used again.
    if (problem.code === 'BodyTooLarge') context.set('Connection', 'close');
  }
}

function missing(context: Context): Problem {
  const known = ROUTES.some(({ path }) => new RegExp(`^${path.replace(':id', '[^/]+')}$`).test(context.path));
  if (!known) return new Problem('NotFound', 'this API has nothing under that path: see schemas/openapi.json');
  return new Problem('MethodNotAllowed', `${context.method} is not possible here: what should change is proposed in Git`);
}

function problemOf(cause: unknown): Problem {
  if (cause instanceof Problem) return cause;
  if (cause instanceof URIError) return new Problem('QueryInvalid', 'the path is not well-formed');
  if (cause instanceof StorageError && (cause.disposition !== 'stall' || cause.code === 'Closed')) return new Problem('StorageUnavailable', 'Postgres does not answer now; nothing is lost, and reads come back by themselves', cause);
  return new Problem('InternalError', 'see the log of the server', cause);
}
