import { createHmac } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { bitbucketWebhook } from '../../src/adapters/forge/bitbucket/webhook.ts';

const SECRET = 'a token that nobody guesses';
const UUID = '9e9b2a3c-4f0d-4b8e-8c5a-0d9d7a7f5c11';

const repository = { type: 'repository', full_name: 'acme/shop', name: 'shop', uuid: '{21d0b6a0-6f2e-4b55-8b0c-2f6f6f4b3d0a}', scm: 'git', is_private: true, links: { html: { href: 'https://bitbucket.example/acme/shop' } } };
const actor = { type: 'user', display_name: 'Alice', uuid: '{c3a7a1de-0b86-4c49-a1c1-1a4a6f9b0b53}' };

/** Shapes as Bitbucket documents them for event payloads; the values are ours. */
const PULL_REQUEST = {
  id: 12, title: 'Promote shop 1.4.0 to prod', state: 'OPEN', author: actor, comment_count: 0,
  source: { branch: { name: 'promote/prod-shop' }, commit: { hash: '222222222222' }, repository: { ...repository, full_name: 'mallory/shop' } },
  destination: { branch: { name: 'main' }, commit: { hash: '111111111111' }, repository }, merge_commit: null, created_on: '2026-01-03T10:00:00+00:00', updated_on: '2026-01-03T10:00:00+00:00',
};
const CHANGED = { actor, repository, pullrequest: PULL_REQUEST };
const COMMENTED = { ...CHANGED, comment: { id: 17, content: { raw: '/stella plan', html: '<p>/stella plan</p>', markup: 'markdown' }, user: actor } };
const PUSHED = { actor, repository, push: { changes: [{ new: { type: 'branch', name: 'main', target: { type: 'commit', hash: '2'.repeat(40) } }, old: null, created: true, closed: false, forced: false }] } };

const bytes = (payload: unknown): Buffer => Buffer.from(JSON.stringify(payload));
const signatureOf = (body: Uint8Array, secret = SECRET): string => `sha256=${createHmac('sha256', secret).update(body).digest('hex')}`;

type Given = { readonly event?: string; readonly body?: Uint8Array; readonly headers?: Readonly<Record<string, string>> };

function deliver({ event = 'pullrequest:updated', body = bytes(CHANGED), headers = {} }: Given): ReturnType<typeof bitbucketWebhook.read> {
  const all: Readonly<Record<string, string>> = { 'x-event-key': event, 'x-request-uuid': UUID, 'x-attempt-number': '1', 'x-hub-signature': signatureOf(body), ...headers };
  return bitbucketWebhook.read({ headers: (name) => all[name] ?? '', body, secret: SECRET });
}

const codeOf = (read: ReturnType<typeof bitbucketWebhook.read>): string => (read.ok ? 'accepted' : read.code);

describe('a webhook of Bitbucket', () => {
  it.each([
    ['pullrequest:created', CHANGED, { event: 'proposal', number: 12 }],
    ['pullrequest:updated', CHANGED, { event: 'proposal', number: 12 }],
    ['pullrequest:fulfilled', CHANGED, { event: 'proposal', number: 12 }],
    ['pullrequest:rejected', CHANGED, { event: 'proposal', number: 12 }],
    ['pullrequest:comment_created', COMMENTED, { event: 'comment', number: 12 }],
    ['repo:push', PUSHED, { event: 'push', number: null }],
    ['repo:commit_status_updated', { actor, repository }, { event: 'other', number: null }],
  ])('tells of %s what a wake-up needs', (event, payload, hint) => {
    expect(deliver({ event, body: bytes(payload) })).toEqual({ ok: true, delivery: { id: UUID, repository: 'acme/shop', ...hint } });
  });

  it('keeps its id when it is sent again', () => {
    const again = deliver({ headers: { 'x-attempt-number': '2' } });
    expect(again).toEqual(deliver({}));
  });

  it('is refused when the signature is missing, of another secret, of another body or of another form', () => {
    const body = bytes(CHANGED);
    const right = signatureOf(body);
    const signatures = ['', signatureOf(body, 'another'), signatureOf(bytes(PUSHED)), right.slice(0, -2), right.replace('sha256=', ''), right.replace('sha256=', 'sha1='), right.toUpperCase(), `${right} `];
    expect(signatures.map((signature) => codeOf(deliver({ body, headers: { 'x-hub-signature': signature } })))).toEqual(['SignatureMissing', ...Array<string>(7).fill('SignatureInvalid')]);
  });

  it('is refused when one byte of a signed body changes', () => {
    const body = bytes(CHANGED);
    fc.assert(fc.property(fc.integer({ min: 0, max: body.length - 1 }), fc.integer({ min: 1, max: 255 }), (at, change) => {
      const changed = Buffer.from(body);
      changed[at] = (changed[at] ?? 0) ^ change;
      return codeOf(deliver({ body: changed, headers: { 'x-hub-signature': signatureOf(body) } })) === 'SignatureInvalid';
    }));
  });

  it('is refused when it was cut off before it was signed, and never throws', () => {
    const whole = bytes(CHANGED);
    fc.assert(fc.property(fc.integer({ min: 0, max: whole.length - 1 }), (length) => codeOf(deliver({ body: whole.subarray(0, length) })) === 'PayloadInvalid'));
    expect(['null', '[]', '"text"', ''].map((text) => codeOf(deliver({ body: Buffer.from(text) })))).toEqual(Array<string>(4).fill('PayloadInvalid'));
  });

  it('is refused with an id that is missing, too long or not printable', () => {
    const ids = ['', 'a'.repeat(129), 'a\nb', 'a b'];
    expect(ids.map((id) => codeOf(deliver({ headers: { 'x-request-uuid': id } })))).toEqual(ids.map(() => 'DeliveryInvalid'));
  });
});
