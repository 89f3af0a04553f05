import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { OpenApiDescription, Operation } from './openapi-check.ts';

/** A pull request, in words that all forges share. */
export type FakeProposal = {
  readonly number: number;
  title: string;
  body: string;
  state: 'open' | 'merged' | 'closed';
  isDraft: boolean;
  readonly author: string;
  branch: string;
  commit: string;
  /** `owner/name`; null where the repository is gone. */
  headRepository: string | null;
  base: string;
  mergeCommit: string | null;
  mergedAt: string | null;
  updatedAt: string;
};

export type FakeComment = { readonly id: number; readonly proposal: number; readonly author: string; body: string; readonly createdAt: string };
export type FakeStatus = { readonly commit: string; readonly context: string; readonly state: string; readonly description: string; readonly url: string | null };
export type FakeProtection = { readonly forcePushBlocked: boolean; readonly deletionBlocked: boolean; readonly proposalRequired: boolean; readonly requiredStatuses: readonly string[]; readonly pushers: readonly string[] | null };

/** Everything that a miniature forge remembers about one repository. */
export type FakeForge = {
  /** `owner/name`. */
  readonly repository: string;
  /** The only token that is good. */
  token: string;
  /** The account of the token. */
  readonly account: string;
  readonly permissions: Map<string, 'admin' | 'write' | 'read' | 'none'>;
  /** Branches of the repository, with their commits. */
  readonly branches: Map<string, string>;
  readonly proposals: FakeProposal[];
  readonly comments: FakeComment[];
  readonly statuses: FakeStatus[];
  readonly protections: Map<string, FakeProtection>;
  /** Rules of rulesets that hold for every branch, in the forge's own words; for the forge that has them. */
  rules: readonly unknown[];
  /** Refs of the merge queue, with their commits. */
  readonly queue: Map<string, string>;
  /** Whether the token may see settings. */
  isAdministrator: boolean;
  readonly now: () => Date;
};

/** What a forge answers to one request, before members that are required and do not matter here are filled in. */
export type FakeAnswer = { readonly status: number; readonly body?: unknown; readonly headers?: Readonly<Record<string, string>> };

export type FakeRequest = { readonly operation: Operation; readonly query: URLSearchParams; readonly body: Readonly<Record<string, unknown>>; readonly origin: string };

/** How one kind of forge speaks. */
export type ForgeDialect = {
  readonly type: string;
  readonly description: OpenApiDescription;
  /** Where the API lies under the server's origin, such as `/api/v1`; empty for the root. */
  readonly basePath: string;
  /** Whether a request carries the token. */
  readonly isAuthorized: (request: IncomingMessage, token: string) => boolean;
  /** By `METHOD template` of the description. */
  readonly routes: Readonly<Record<string, (forge: FakeForge, request: FakeRequest) => FakeAnswer>>;
  /** A refusal as this forge words it. */
  readonly refusal: (status: number, message: string) => FakeAnswer;
  /** A fault of our own answers where the forge itself is known to answer otherwise than it describes. */
  readonly undescribed?: RegExp;
};

export type FakeForgeServer = {
  readonly forge: FakeForge;
  /** Base URL of its API. */
  readonly url: string;
  /** What was not as the published description says, of requests and of our own answers; empty in a test that passes. */
  readonly faults: readonly string[];
  /** `METHOD /path?query`, in order. */
  readonly seen: readonly string[];
  /** Answers a request itself and returns true, or leaves it to the honest part. */
  readonly misbehave: (how: (request: IncomingMessage, response: ServerResponse) => boolean) => void;
  readonly stop: () => Promise<void>;
};

/** A forge with one repository, `acme/deploy`, whose account `stella` administers it. */
export function fakeForge(overrides: Partial<FakeForge> = {}): FakeForge {
  return {
    repository: 'acme/deploy', token: 'token-of-stella', account: 'stella', isAdministrator: true, now: () => new Date('2026-03-02T12:00:00.000Z'),
    permissions: new Map([['stella', 'admin'], ['alice', 'write'], ['mallory', 'read']]),
    branches: new Map([['main', '1'.repeat(40)]]), proposals: [], comments: [], statuses: [], protections: new Map(), rules: [], queue: new Map(),
    ...overrides,
  };
}

/** Adds an open pull request of a branch of the repository itself, unless `given` says otherwise. */
export function addProposal(forge: FakeForge, given: Partial<FakeProposal> = {}): FakeProposal {
  const number = Math.max(0, ...forge.proposals.map((one) => one.number)) + 1;
  const proposal: FakeProposal = {
    number, title: `Promote shop ${number}`, body: '', state: 'open', isDraft: false, author: 'alice', branch: `promote/${number}`,
    commit: String(number % 10).repeat(39) + 'a', headRepository: forge.repository, base: 'main', mergeCommit: null, mergedAt: null, updatedAt: forge.now().toISOString(), ...given,
  };
  forge.proposals.push(proposal);
  if (proposal.headRepository === forge.repository) forge.branches.set(proposal.branch, proposal.commit);
  return proposal;
}

export async function startFakeForge(dialect: ForgeDialect, forge: FakeForge): Promise<FakeForgeServer> {
  const faults: string[] = [];
  const seen: string[] = [];
  let misbehaviour: (request: IncomingMessage, response: ServerResponse) => boolean = () => false;
  const server = createServer((request, response) => {
    void (async () => {
      seen.push(`${request.method ?? ''} ${request.url ?? ''}`);
      const body = await bodyOf(request);
      if (misbehaviour(request, response)) return;
      send(response, answer(dialect, forge, request, body, faults));
    })().catch((cause: unknown) => {
      faults.push(`the miniature failed: ${String(cause)}`);
      response.destroy();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return {
    forge, faults, seen,
    url: `http://127.0.0.1:${port}${dialect.basePath}`,
    misbehave: (how) => {
      misbehaviour = how;
    },
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

async function bodyOf(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk);
  return Buffer.concat(chunks).toString('utf8');
}

function answer(dialect: ForgeDialect, forge: FakeForge, request: IncomingMessage, body: string, faults: string[]): FakeAnswer {
  const url = new URL(request.url ?? '', `http://${request.headers.host ?? ''}`);
  const method = request.method ?? '';
  const operation = url.pathname.startsWith(`${dialect.basePath}/`) ? dialect.description.find(method, url.pathname.slice(dialect.basePath.length)) : null;
  if (operation === null) {
    faults.push(`${method} ${url.pathname} is not in the published description`);
    return dialect.refusal(404, 'Not Found');
  }
  faults.push(...dialect.description.requestFaults(operation, { query: url.searchParams, contentType: request.headers['content-type'] ?? '', body }));
  if (!dialect.isAuthorized(request, forge.token)) return dialect.refusal(401, 'Bad credentials');
  const route = dialect.routes[`${method} ${operation.template}`];
  if (route === undefined) {
    faults.push(`${method} ${operation.template} is described, but the miniature does not know it`);
    return dialect.refusal(501, 'unknown to the miniature');
  }
  const fields = body === '' ? {} : (JSON.parse(body) as Readonly<Record<string, unknown>>);
  const { status, body: partial, headers = {} } = route(forge, { operation, query: url.searchParams, body: fields, origin: url.origin });
  const whole = partial === undefined ? undefined : dialect.description.complete(operation, status, partial);
  const ours = whole === undefined ? [] : dialect.description.answerFaults(operation, status, whole);
  faults.push(...ours.filter((fault) => dialect.undescribed?.test(fault) !== true).map((fault) => `our own answer: ${fault}`));
  const isKnown = headers['etag'] !== undefined && headers['etag'] === request.headers['if-none-match'];
  return isKnown ? { status: 304, headers } : { status, body: whole, headers };
}

function send(response: ServerResponse, { status, body, headers = {} }: FakeAnswer): void {
  response.writeHead(status, { 'content-type': 'application/json', ...headers });
  response.end(body === undefined ? '' : JSON.stringify(body));
}

/** One page of a list, with the Link header of RFC 8288 where there is another. */
export function pageOf<T>(items: readonly T[], request: FakeRequest, sizeParameter: string, path: string): { readonly items: readonly T[]; readonly headers: Readonly<Record<string, string>> } {
  const size = Number(request.query.get(sizeParameter) ?? 30);
  const page = Number(request.query.get('page') ?? 1);
  const hasMore = items.length > page * size;
  const next = `${request.origin}${path}?page=${page + 1}&${sizeParameter}=${size}`;
  return { items: items.slice((page - 1) * size, page * size), headers: hasMore ? { link: `<${next}>; rel="next"` } : {} };
}

/** Newest update first. */
export function newestFirst(proposals: readonly FakeProposal[]): readonly FakeProposal[] {
  return [...proposals].sort((one, other) => (one.updatedAt < other.updatedAt ? 1 : one.updatedAt > other.updatedAt ? -1 : other.number - one.number));
}
