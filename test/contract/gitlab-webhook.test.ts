import { createHmac } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { gitlabWebhook } from '../../src/adapters/forge/gitlab/webhook.ts';

const SECRET = 'a token that nobody guesses';
const KEY = Buffer.alloc(32, 7);
const SIGNING_TOKEN = `whsec_${KEY.toString('base64')}`;
const UUID = '13792a34-cac6-4fda-95a8-c58e00a3954e';

const project = { id: 7, name: 'Shop', web_url: 'https://gitlab.example/acme/ops/shop', path_with_namespace: 'acme/ops/shop', default_branch: 'main', visibility_level: 0 };

/** Shapes as GitLab documents them for project webhooks; the values are ours. */
const MERGE_REQUEST = {
  object_kind: 'merge_request', event_type: 'merge_request', user: { id: 1, name: 'Alice', username: 'alice' }, project,
  object_attributes: {
    id: 99, iid: 12, target_branch: 'main', source_branch: 'promote/prod-shop', source_project_id: 7, target_project_id: 7, author_id: 1, title: 'Promote shop 1.4.0 to prod',
    state: 'opened', draft: false, action: 'update', oldrev: '1'.repeat(40), merge_commit_sha: null, last_commit: { id: '2'.repeat(40), message: 'Promote', timestamp: '2026-01-03T23:36:29+02:00' },
    source: { path_with_namespace: 'mallory/shop' }, target: { path_with_namespace: 'acme/ops/shop' },
  },
  labels: [], changes: {}, repository: { name: 'Shop', homepage: 'https://gitlab.example/acme/ops/shop' },
};
const NOTE = {
  object_kind: 'note', event_type: 'note', user: { id: 2, username: 'bob' }, project_id: 7, project,
  object_attributes: { id: 1244, note: '/stella plan', noteable_type: 'MergeRequest', project_id: 7, system: false, action: 'create' }, merge_request: { id: 99, iid: 12, state: 'opened' },
};
const NOTE_ON_ISSUE = { ...NOTE, merge_request: undefined, object_attributes: { ...NOTE.object_attributes, noteable_type: 'Issue' }, issue: { id: 92, iid: 17 } };
const PUSH = { object_kind: 'push', event_name: 'push', before: '1'.repeat(40), after: '2'.repeat(40), ref: 'refs/heads/main', checkout_sha: '2'.repeat(40), project_id: 7, project, commits: [], total_commits_count: 1 };
const PIPELINE = { object_kind: 'pipeline', object_attributes: { id: 31, ref: 'main', status: 'success' }, project, merge_request: { iid: 12 } };

const bytes = (payload: unknown): Buffer => Buffer.from(JSON.stringify(payload));

type Given = { readonly event?: string; readonly body?: Uint8Array; readonly headers?: Readonly<Record<string, string>>; readonly secret?: string };

function deliver({ event = 'Merge Request Hook', body = bytes(MERGE_REQUEST), headers = {}, secret = SECRET }: Given): ReturnType<typeof gitlabWebhook.read> {
  const all: Readonly<Record<string, string>> = { 'x-gitlab-event': event, 'x-gitlab-token': SECRET, 'x-gitlab-event-uuid': UUID, 'idempotency-key': 'f5e5f430-f57b-4e6e-9fac-d9128cd7232f', ...headers };
  return gitlabWebhook.read({ headers: (name) => all[name] ?? '', body, secret });
}

/** Headers of a delivery that GitLab signs with `key`. */
function signed(body: Uint8Array, key: Uint8Array = KEY, id = 'f5e5f430-f57b-4e6e-9fac-d9128cd7232f'): Readonly<Record<string, string>> {
  const at = '1767225600';
  const signature = createHmac('sha256', key).update(`${id}.${at}.`).update(body).digest('base64');
  return { 'x-gitlab-token': '', 'webhook-id': id, 'webhook-timestamp': at, 'webhook-signature': `v1,${signature}` };
}

const codeOf = (read: ReturnType<typeof gitlabWebhook.read>): string => (read.ok ? 'accepted' : read.code);

describe('a webhook of GitLab', () => {
  it.each([
    ['Merge Request Hook', MERGE_REQUEST, { event: 'proposal', repository: 'acme/ops/shop', number: 12 }],
    ['Note Hook', NOTE, { event: 'comment', repository: 'acme/ops/shop', number: 12 }],
    ['Note Hook', NOTE_ON_ISSUE, { event: 'other', repository: 'acme/ops/shop', number: null }],
    ['Push Hook', PUSH, { event: 'push', repository: 'acme/ops/shop', number: null }],
    ['Pipeline Hook', PIPELINE, { event: 'other', repository: 'acme/ops/shop', number: null }],
  ])('tells of a %s what a wake-up needs', (event, payload, hint) => {
    expect(deliver({ event, body: bytes(payload) })).toEqual({ ok: true, delivery: { id: 'f5e5f430-f57b-4e6e-9fac-d9128cd7232f', ...hint } });
  });

  it('takes the id of the event from a GitLab that knows no idempotency keys', () => {
    const read = deliver({ headers: { 'idempotency-key': '' } });
    expect(read).toMatchObject({ ok: true, delivery: { id: UUID } });
  });

  it('names the repository into which the merge request goes, and not the fork', () => {
    expect(deliver({})).toMatchObject({ ok: true, delivery: { repository: 'acme/ops/shop' } });
  });

  it('refuses a delivery without a token, with another one, and with a part of it', () => {
    const tokens = ['', 'another', SECRET.slice(0, -1), `${SECRET} `, SECRET.toUpperCase()];
    expect(tokens.map((token) => codeOf(deliver({ headers: { 'x-gitlab-token': token } })))).toEqual(['SignatureMissing', ...Array<string>(4).fill('SignatureInvalid')]);
  });

  it('refuses ids that are missing, too long, or hold what could end a line', () => {
    const ids = ['', 'a'.repeat(129), 'a\nb', 'a b', 'é'];
    expect(ids.map((id) => codeOf(deliver({ headers: { 'idempotency-key': id, 'x-gitlab-event-uuid': id } })))).toEqual(ids.map(() => 'DeliveryInvalid'));
  });

  it('refuses every body that was cut off, and never throws', () => {
    const whole = bytes(MERGE_REQUEST);
    fc.assert(fc.property(fc.integer({ min: 0, max: whole.length - 1 }), (length) => codeOf(deliver({ body: whole.subarray(0, length) })) === 'PayloadInvalid'));
    expect(['null', '[]', '"text"', '12', ''].map((text) => codeOf(deliver({ body: Buffer.from(text) })))).toEqual(Array<string>(5).fill('PayloadInvalid'));
    expect(codeOf(deliver({ body: Buffer.from([0x7b, 0xff, 0x7d]) }))).toBe('PayloadInvalid');
  });

  it('takes any JSON object for a hint at most', () => {
    fc.assert(fc.property(fc.dictionary(fc.constantFrom('project', 'object_attributes', 'merge_request', '__proto__'), fc.jsonValue()), fc.constantFrom('Merge Request Hook', 'Note Hook', 'Push Hook', ''), (payload, event) => {
      const read = deliver({ event, body: bytes(payload) });
      return read.ok && (read.delivery.number === null || Number.isSafeInteger(read.delivery.number)) && (read.delivery.repository === null || typeof read.delivery.repository === 'string');
    }));
  });
});

describe('a signed webhook of GitLab', () => {
  const body = bytes(MERGE_REQUEST);

  it('is accepted with the signature over id, time and body, and named by the signed id', () => {
    const read = deliver({ secret: SIGNING_TOKEN, body, headers: { ...signed(body, KEY, 'signed-id'), 'idempotency-key': 'another-id' } });
    expect(read).toEqual({ ok: true, delivery: { id: 'signed-id', event: 'proposal', repository: 'acme/ops/shop', number: 12 } });
  });

  it('is accepted while the key is exchanged and two signatures stand side by side', () => {
    const old = signed(body, Buffer.alloc(32, 9))['webhook-signature'] ?? '';
    const headers = signed(body);
    expect(codeOf(deliver({ secret: SIGNING_TOKEN, body, headers: { ...headers, 'webhook-signature': `${old} ${headers['webhook-signature'] ?? ''}` } }))).toBe('accepted');
  });

  it('is refused when key, body, id, time or form of the signature differ', () => {
    const headers = signed(body);
    const attempts: readonly Given[] = [
      { headers: signed(body, Buffer.alloc(32, 8)) },
      { headers, body: bytes(PUSH) },
      { headers: { ...headers, 'webhook-id': 'another-id' } },
      { headers: { ...headers, 'webhook-timestamp': '1767225601' } },
      { headers: { ...headers, 'webhook-signature': (headers['webhook-signature'] ?? '').replace('v1,', 'v2,') } },
      { headers: { ...headers, 'webhook-signature': 'v1,' } },
    ];
    expect(attempts.map((given) => codeOf(deliver({ secret: SIGNING_TOKEN, body, ...given })))).toEqual(attempts.map(() => 'SignatureInvalid'));
  });

  it('cannot be replaced by the plain token, nor by the signing token sent as one', () => {
    expect(codeOf(deliver({ secret: SIGNING_TOKEN, body }))).toBe('SignatureMissing');
    expect(codeOf(deliver({ secret: SIGNING_TOKEN, body, headers: { 'x-gitlab-token': SIGNING_TOKEN } }))).toBe('SignatureMissing');
  });

  it('is refused when the configured signing token is malformed, even where a signature fits its bytes', () => {
    const short = Buffer.alloc(8, 7);
    expect(codeOf(deliver({ secret: `whsec_${short.toString('base64')}`, body, headers: signed(body, short) }))).toBe('SignatureInvalid');
    expect(codeOf(deliver({ secret: 'whsec_', body, headers: signed(body, Buffer.alloc(0)) }))).toBe('SignatureInvalid');
  });
});
