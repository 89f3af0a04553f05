import { createHmac } from 'node:crypto';
import { bitbucketWebhook } from '../../src/adapters/forge/bitbucket/webhook.ts';
import { giteaWebhook } from '../../src/adapters/forge/gitea/webhook.ts';
import { githubWebhook } from '../../src/adapters/forge/github/webhook.ts';
import { limits } from '../../src/core/model/limits.ts';
import type { WebhookReader } from '../../src/ports/forge.ts';
import { type Decoder, demandSame } from './decoder.ts';

const SECRET = 'what the forge and the server both know';

type Sender = { readonly reader: WebhookReader; readonly signatureHeader: string; readonly prefix: string; readonly headers: Readonly<Record<string, string>>; readonly payload: unknown };

const repository = { full_name: 'acme/deploy' };
const senders: Readonly<Record<string, Sender>> = {
  github: { reader: githubWebhook, signatureHeader: 'x-hub-signature-256', prefix: 'sha256=', headers: { 'x-github-event': 'pull_request', 'x-github-delivery': 'd-1' }, payload: { action: 'opened', number: 12, pull_request: { number: 12 }, repository } },
  gitea: { reader: giteaWebhook, signatureHeader: 'x-gitea-signature', prefix: '', headers: { 'x-gitea-event': 'issue_comment', 'x-gitea-delivery': 'd-2' }, payload: { is_pull: true, issue: { number: 12 }, repository } },
  bitbucket: { reader: bitbucketWebhook, signatureHeader: 'x-hub-signature', prefix: 'sha256=', headers: { 'x-event-key': 'pullrequest:updated', 'x-request-uuid': 'd-3' }, payload: { pullrequest: { id: 12 }, repository } },
};

/** Deliveries as they arrive: the kind of forge, headers one a line, an empty line, the body. What is accepted is a body that the forge signed. */
export const forgeWebhook: Decoder = {
  name: 'forge-webhook',
  open: () => {
    const bodies = Object.values(senders).map(({ payload }) => [Buffer.from(JSON.stringify(payload))]);
    return Promise.resolve({
      samples: Object.entries(senders).map(([kind, sender]) => ({ bytes: deliveryOf(kind, sender) })),
      words: ['"', ':', ',', '{', '}', '[', 'null', '-1', '1e999', '12', 'sha256=', '\n', '\n\n', 'issue_comment', 'push', '"__proto__":', '"number":', '"issue":', 'github', 'gitea', 'bitbucket'],
      read: (input) => {
        const { sender, headers, body } = parse(input);
        if (sender === undefined) return 'NoForge';
        const read = sender.reader.read({ headers: (name) => headers.get(name) ?? '', body, secret: SECRET });
        demandHarmless(sender, headers, body);
        return read.ok ? demandSame('a delivery', [body], bodies) : read.code;
      },
    });
  },
};

/** Whatever the forge itself may sign, what is read of it stays within bounds. */
function demandHarmless({ reader, signatureHeader, prefix }: Sender, headers: ReadonlyMap<string, string>, body: Uint8Array): void {
  const signature = prefix + createHmac('sha256', SECRET).update(body).digest('hex');
  const read = reader.read({ headers: (name) => (name === signatureHeader ? signature : name.includes('forgejo') ? '' : (headers.get(name) ?? '')), body, secret: SECRET });
  if (!read.ok) {
    if (read.code === 'PayloadInvalid' || read.code === 'DeliveryInvalid') return;
    throw new Error(`a genuine delivery is refused with ${read.code}`);
  }
  const { id, number, repository: named } = read.delivery;
  if (id.length > limits.deliveryIdChars || (number !== null && !(Number.isSafeInteger(number) && number > 0)) || (named !== null && named.length > limits.gitUrlChars)) throw new Error('what was read is out of bounds');
}

function deliveryOf(kind: string, { signatureHeader, prefix, headers, payload }: Sender): Buffer {
  const body = JSON.stringify(payload);
  const signature = prefix + createHmac('sha256', SECRET).update(body).digest('hex');
  const lines = Object.entries({ ...headers, [signatureHeader]: signature }).map(([name, value]) => `${name}: ${value}`);
  return Buffer.from([kind, ...lines, '', body].join('\n'));
}

function parse(input: Uint8Array): { readonly sender: Sender | undefined; readonly headers: ReadonlyMap<string, string>; readonly body: Uint8Array } {
  const bytes = Buffer.from(input);
  const end = bytes.indexOf('\n\n');
  const [kind = '', ...lines] = bytes.subarray(0, end < 0 ? bytes.length : end).toString('latin1').split('\n');
  const headers = new Map(lines.map((line) => [line.split(': ', 1)[0] ?? '', line.slice(line.indexOf(': ') + 2)]));
  return { sender: Object.hasOwn(senders, kind) ? senders[kind] : undefined, headers, body: end < 0 ? Buffer.alloc(0) : bytes.subarray(end + 2) };
}
