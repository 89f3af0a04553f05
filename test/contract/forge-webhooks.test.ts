import { createHmac } from 'node:crypto';
import { createRequire } from 'node:module';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isForgeType, webhookReaderOf } from '../../src/adapters/forge/open-forge.ts';
import { giteaWebhook } from '../../src/adapters/forge/gitea/webhook.ts';
import { githubWebhook } from '../../src/adapters/forge/github/webhook.ts';
import { limits } from '../../src/core/model/limits.ts';
import { FORGE_TYPES, type WebhookReader } from '../../src/ports/forge.ts';

const SECRET = 'what the forge and the server both know';
const ID = '72d3162e-cc78-11e3-81ab-4c9367dc0958';

type Example = { readonly name: string; readonly examples: readonly Readonly<Record<string, unknown>>[] };
type Read = ReturnType<WebhookReader['read']>;
type Sent = { readonly event: string; readonly body: Uint8Array; readonly headers?: Readonly<Record<string, string>>; readonly signedWith?: string };

const require = createRequire(import.meta.url);

/** Payloads that GitHub sent (npm: `@octokit/webhooks-examples`), of github.com and of an Enterprise server. */
const published: readonly (readonly [string, readonly Example[]])[] = ['api.github.com', 'ghes-35'].map((host) => [host, require(`@octokit/webhooks-examples/${host}/index.json`) as readonly Example[]]);

const bytes = (payload: unknown): Buffer => Buffer.from(JSON.stringify(payload));
const hmac = (body: Uint8Array, secret: string): string => createHmac('sha256', secret).update(body).digest('hex');
const outcome = (read: Read): string => (read.ok ? 'accepted' : read.code);

function toGitHub({ event, body, headers = {}, signedWith = SECRET }: Sent): Read {
  const all: Readonly<Record<string, string>> = { 'x-github-event': event, 'x-github-delivery': ID, 'x-hub-signature-256': `sha256=${hmac(body, signedWith)}`, ...headers };
  return githubWebhook.read({ headers: (name) => all[name] ?? '', body, secret: SECRET });
}

function toGitea({ event, body, headers = {}, signedWith = SECRET }: Sent): Read {
  const all: Readonly<Record<string, string>> = { 'x-gitea-event': event, 'x-gitea-delivery': ID, 'x-gitea-signature': hmac(body, signedWith), ...headers };
  return giteaWebhook.read({ headers: (name) => all[name] ?? '', body, secret: SECRET });
}

describe.each(published)('what GitHub sends from %s', (_host, examples) => {
  const of = (name: string): readonly Readonly<Record<string, unknown>>[] => examples.find((one) => one.name === name)?.examples ?? [];
  const fullName = (payload: Readonly<Record<string, unknown>>): unknown => (payload['repository'] as { readonly full_name?: string } | undefined)?.full_name ?? null;

  it('is accepted, whichever event it is, and names its repository', () => {
    let count = 0;
    for (const { name, examples: payloads } of examples) {
      for (const payload of payloads) {
        const read = toGitHub({ event: name, body: bytes(payload) });
        expect([name, outcome(read)]).toEqual([name, 'accepted']);
        if (read.ok) expect(read.delivery).toMatchObject({ id: ID, repository: fullName(payload) });
        count += 1;
      }
    }
    expect(count).toBeGreaterThan(50);
  });

  it('says which pull request changed, in every action of one', () => {
    const payloads = of('pull_request');
    expect(payloads.length).toBeGreaterThan(3);
    for (const payload of payloads) expect(toGitHub({ event: 'pull_request', body: bytes(payload) })).toMatchObject({ ok: true, delivery: { event: 'proposal', number: payload['number'] } });
  });

  it('says that a branch moved', () => {
    expect(of('push').length).toBeGreaterThan(0);
    for (const payload of of('push')) expect(toGitHub({ event: 'push', body: bytes(payload) })).toMatchObject({ ok: true, delivery: { event: 'push', number: null } });
  });

  it('tells comments on pull requests from comments on issues', () => {
    const payloads = of('issue_comment') as readonly { readonly issue: { readonly number: number; readonly pull_request?: unknown } }[];
    expect(payloads.length).toBeGreaterThan(0);
    for (const payload of payloads) {
      const onIssue = { ...payload, issue: { ...payload.issue, pull_request: undefined } };
      const onPull = { ...payload, issue: { ...payload.issue, pull_request: { url: 'https://api.github.com/repos/Codertocat/Hello-World/pulls/1' } } };
      expect(toGitHub({ event: 'issue_comment', body: bytes(onIssue) })).toMatchObject({ ok: true, delivery: { event: 'other', number: null } });
      expect(toGitHub({ event: 'issue_comment', body: bytes(onPull) })).toMatchObject({ ok: true, delivery: { event: 'comment', number: payload.issue.number } });
    }
  });
});

it('knows what GitHub says of its merge queue', () => {
  const payloads = published.flatMap(([, examples]) => examples.filter(({ name }) => name === 'merge_group').flatMap((one) => one.examples));
  expect(payloads.length).toBeGreaterThan(0);
  for (const payload of payloads) expect(toGitHub({ event: 'merge_group', body: bytes(payload) })).toMatchObject({ ok: true, delivery: { event: 'merge-queue' } });
});

// Shapes of Gitea's documentation of webhooks; the values are ours.
const giteaRepository = { id: 140, name: 'deploy', full_name: 'acme/deploy', owner: { id: 1, login: 'acme' }, private: true, clone_url: 'https://gitea.example/acme/deploy.git' };
const giteaPull = { action: 'synchronized', number: 12, pull_request: { id: 3, number: 12, title: 'Promote', state: 'open' }, repository: giteaRepository, sender: { login: 'alice' }, commit_id: '', review: null };
const giteaComment = { action: 'created', is_pull: true, issue: { id: 4, number: 12, title: 'Promote', pull_request: { merged: false } }, comment: { id: 9, body: '/stella plan' }, repository: giteaRepository, sender: { login: 'alice' } };
const giteaPush = { ref: 'refs/heads/main', before: '1'.repeat(40), after: '2'.repeat(40), commits: [], repository: giteaRepository, pusher: { login: 'alice' }, sender: { login: 'alice' } };

describe('what Gitea and Forgejo send', () => {
  it.each([
    ['pull_request', giteaPull, { event: 'proposal', number: 12 }],
    ['pull_request_sync', giteaPull, { event: 'proposal', number: 12 }],
    ['issue_comment', giteaComment, { event: 'comment', number: 12 }],
    ['pull_request_comment', giteaComment, { event: 'comment', number: 12 }],
    ['issue_comment', { ...giteaComment, is_pull: false }, { event: 'other', number: null }],
    ['push', giteaPush, { event: 'push', number: null }],
    ['release', { action: 'published', repository: giteaRepository }, { event: 'other', number: null }],
  ] as const)('is read as what it is: %s', (event, payload, expected) => {
    expect(toGitea({ event, body: bytes(payload) })).toEqual({ ok: true, delivery: { id: ID, repository: 'acme/deploy', ...expected } });
  });

  it('is read by the names that Forgejo gives its headers as well', () => {
    const body = bytes(giteaPull);
    const headers: Readonly<Record<string, string>> = { 'x-forgejo-event': 'pull_request', 'x-forgejo-delivery': ID, 'x-forgejo-signature': hmac(body, SECRET) };
    expect(giteaWebhook.read({ headers: (name) => headers[name] ?? '', body, secret: SECRET })).toMatchObject({ ok: true, delivery: { event: 'proposal', number: 12 } });
  });

  it('is not accepted for a good signature beside a wrong one', () => {
    const body = bytes(giteaPull);
    expect(outcome(toGitea({ event: 'push', body, headers: { 'x-forgejo-signature': hmac(body, 'another secret') } }))).toBe('SignatureInvalid');
  });
});

const prove: readonly (readonly [string, (sent: Sent) => Read, string, string])[] = [
  ['GitHub', toGitHub, 'x-hub-signature-256', 'sha256='],
  ['Gitea', toGitea, 'x-gitea-signature', ''],
];

describe.each(prove)('a delivery that pretends to come from %s', (_name, send, signatureHeader, prefix) => {
  const idHeader = signatureHeader === 'x-hub-signature-256' ? 'x-github-delivery' : 'x-gitea-delivery';
  const body = bytes(giteaPull);
  const event = 'pull_request';

  it('is refused without a signature', () => {
    expect(outcome(send({ event, body, headers: { [signatureHeader]: '' } }))).toBe('SignatureMissing');
  });

  it.each([
    ['of another secret', hmac(body, 'another secret')],
    ['of an empty secret', hmac(body, '')],
    ['of another body', hmac(bytes({}), SECRET)],
    ['that is too short', hmac(body, SECRET).slice(0, 62)],
    ['that is too long', `${hmac(body, SECRET)}00`],
    ['in capitals', hmac(body, SECRET).toUpperCase()],
    ['that is no hexadecimal number', 'z'.repeat(64)],
    ['of nothing', ''.padEnd(64, '0')],
  ])('is refused with a signature %s', (_what, signature) => {
    expect(outcome(send({ event, body, headers: { [signatureHeader]: `${prefix}${signature}` } }))).toBe('SignatureInvalid');
  });

  it('is refused with SHA-1', () => {
    const sha1 = createHmac('sha1', SECRET).update(body).digest('hex');
    expect(outcome(send({ event, body, headers: { [signatureHeader]: `sha1=${sha1}` } }))).toBe('SignatureInvalid');
  });

  it('is refused as soon as one bit of its body differs', () => {
    fc.assert(fc.property(fc.nat(body.length * 8 - 1), (bit) => {
      const changed = Uint8Array.from(body);
      changed[bit >> 3] = (changed[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      return outcome(send({ event, body: changed, headers: { [signatureHeader]: `${prefix}${hmac(body, SECRET)}` } })) === 'SignatureInvalid';
    }));
  });

  it.each([['none', ''], ['one that is too long', 'x'.repeat(limits.deliveryIdChars + 1)], ['one with a space', 'a b'], ['one with a line break', 'a\nb']])('is refused with no usable id: %s', (_what, id) => {
    expect(outcome(send({ event, body, headers: { [idHeader]: id } }))).toBe('DeliveryInvalid');
  });

  it('is refused where the server has an empty secret, which everybody knows', () => {
    const reader = signatureHeader === 'x-hub-signature-256' ? githubWebhook : giteaWebhook;
    const headers: Readonly<Record<string, string>> = { [signatureHeader]: `${prefix}${hmac(body, '')}`, [idHeader]: ID };
    expect(outcome(reader.read({ headers: (name) => headers[name] ?? '', body, secret: '' }))).toBe('SignatureInvalid');
  });

  it('keeps its id when it is sent again, so that a replay can be told', () => {
    const [first, second] = [send({ event, body }), send({ event, body })];
    expect(first.ok && second.ok && first.delivery.id === second.delivery.id).toBe(true);
  });

  it.each([
    ['cut off', body.subarray(0, body.length - 20)],
    ['empty', Buffer.alloc(0)],
    ['a list', Buffer.from('[1]')],
    ['null', Buffer.from('null')],
    ['a form', Buffer.from('payload=%7B%7D')],
    ['not UTF-8', Buffer.concat([Buffer.from('{"a":"'), Buffer.from([0xff, 0xfe]), Buffer.from('"}')])],
    ['cut in the middle of a nest', Buffer.from('['.repeat(400_000))],
  ])('is refused though its signature is right, because its body is %s', (_what, bad) => {
    expect(outcome(send({ event, body: bad }))).toBe('PayloadInvalid');
  });

  it('tells nothing where members are missing, of another kind, or of the prototype', () => {
    const odd: readonly unknown[] = [
      {}, { number: '12', repository: 'acme/deploy' }, { number: -1, repository: { full_name: 5 } }, { number: 1e300, repository: { full_name: '' } }, { number: 1.5, repository: { full_name: 'x'.repeat(limits.gitUrlChars + 1) } },
      { number: { valueOf: 12 }, repository: ['acme/deploy'] },
    ];
    const inherited = Buffer.from('{"__proto__":{"number":12,"repository":{"full_name":"acme/deploy"}},"constructor":{"number":12}}');
    for (const bad of [...odd.map(bytes), inherited]) {
      expect(send({ event, body: bad })).toEqual({ ok: true, delivery: { id: ID, event: 'proposal', repository: null, number: null } });
    }
    expect(({} as Readonly<Record<string, unknown>>)['number']).toBeUndefined();
  });

  it('does no more than others with a deep or a large body', () => {
    const deep = Buffer.from(`{"number":12,"a":${'['.repeat(200_000)}${']'.repeat(200_000)}}`);
    expect(send({ event, body: deep })).toMatchObject({ ok: true, delivery: { number: 12 } });
    const large = bytes({ ...giteaPull, padding: 'x'.repeat(limits.webhookBytes - 1_000) });
    expect(outcome(send({ event, body: large }))).toBe('accepted');
  });

  it('is not taken for an event by the name of a member of every object', () => {
    for (const name of ['__proto__', 'constructor', 'toString', '']) expect(send({ event: name, body })).toMatchObject({ ok: true, delivery: { event: 'other', number: null } });
  });
});

it('has a reader for each kind of forge, by its own name', async () => {
  expect(await Promise.all(FORGE_TYPES.map(async (type) => (await webhookReaderOf(type)).type))).toEqual(FORGE_TYPES);
  expect([...FORGE_TYPES, 'svn', '__proto__', ''].filter(isForgeType)).toEqual(FORGE_TYPES);
});
