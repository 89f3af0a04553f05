import { limits } from '../../core/model/limits.ts';
import { NotifyError } from '../../ports/notifier.ts';
import { isLoopback } from '../oci/registry-address.ts';
import { hostAllowed, type NotifyNetwork } from './network.ts';

/**
 * One POST to one address: no redirect is followed, so what the address and the headers hold goes to its host alone (T18); the answer is read as far as the
 * limit. Messages name the host only, because the path of an address may be a secret.
 * @throws NotifyError
 */
export async function postJson(p: { readonly url: URL; readonly body: string; readonly headers: Readonly<Record<string, string>>; readonly network: NotifyNetwork; readonly signal: AbortSignal }): Promise<void> {
  const { url, network } = p;
  const isHttp = url.protocol === 'https:' || (url.protocol === 'http:' && isLoopback(url));
  if (!isHttp || url.username !== '' || url.password !== '') throw new NotifyError('Refused', `${url.host} is not asked: notifications go by https, without a user in the address`);
  if (!hostAllowed(network, url.host)) throw new NotifyError('OfflineRefused', `offline: true refuses the connection to ${url.host}; add it to allowHosts`);
  const signal = AbortSignal.any([p.signal, AbortSignal.timeout(limits.notificationSendMs)]);
  const answer = await fetch(url, { method: 'POST', redirect: 'manual', body: p.body, headers: { 'content-type': 'application/json; charset=utf-8', ...p.headers }, signal }).catch(() => {
    throw new NotifyError('Unavailable', `${url.host} did not answer`);
  });
  await drain(answer);
  if (answer.ok) return;
  const isLater = answer.status === 429 || answer.status === 408 || answer.status >= 500;
  throw new NotifyError(isLater ? 'Unavailable' : 'Refused', answer.status >= 300 && answer.status < 400 ? `${url.host} answered with a redirect, which is not followed` : `${url.host} answered ${answer.status}`);
}

/** A connection whose answer is not read cannot be used again; one that never ends is cut. */
async function drain({ body }: Response): Promise<void> {
  if (body === null) return;
  let bytes = 0;
  try {
    for await (const chunk of body) {
      bytes += chunk.length;
      if (bytes > limits.notificationAnswerBytes) break;
    }
  } catch {
    // The status is what counts; it has come already.
  }
}
