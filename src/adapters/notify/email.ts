import { createTransport } from 'nodemailer';
import { limits } from '../../core/model/limits.ts';
import { wordsOf } from '../../core/proposal/notification.ts';
import { NotifyError } from '../../ports/notifier.ts';
import { isLoopback } from '../oci/registry-address.ts';
import { hostAllowed } from './network.ts';
import type { Sender } from './sender.ts';

const PORTS = { starttls: 587, tls: 465, none: 25 } as const;

/** A mail in plain text, so there is no markup to break out of. Without encryption only to this machine itself; the certificate must be that of the declared host. */
export const sendEmail: Sender<'notifier-email'> = async (spec, notification, { secret, network, signal, certificates }) => {
  const { security = 'starttls' } = spec;
  const url = new URL(`smtp://${spec.host}`);
  const host = url.hostname.replace(/^\[|\]$/g, '');
  const port = url.port === '' ? PORTS[security] : Number(url.port);
  if (security === 'none' && !isLoopback(url)) throw new NotifyError('Refused', `${spec.host} is not asked without encryption: set security to starttls or tls`);
  if (!hostAllowed(network, url.host)) throw new NotifyError('OfflineRefused', `offline: true refuses the connection to ${url.host}; add it to allowHosts`);
  const { subject, text } = wordsOf(spec, notification);
  const transport = createTransport({
    host, port, secure: security === 'tls', requireTLS: security === 'starttls', ignoreTLS: security === 'none', disableFileAccess: true, disableUrlAccess: true,
    connectionTimeout: limits.notificationSendMs, greetingTimeout: limits.notificationSendMs, socketTimeout: limits.notificationSendMs, tls: { minVersion: 'TLSv1.2', ...(certificates === undefined ? {} : { ca: [...certificates] }) },
    ...(spec.credentials === undefined ? {} : { auth: { user: spec.credentials.username, pass: await secret(spec.credentials.passwordRef) } }),
  });
  const stop = (): void => transport.close();
  signal.addEventListener('abort', stop, { once: true });
  try {
    // A subject is one line here already; no value reaches another header.
    await transport.sendMail({ from: { name: '', address: spec.from }, to: spec.to.map((address) => ({ name: '', address })), subject: subject.replace(/[\r\n]+/g, ' '), text, messageId: `<${notification.id}@${domainOf(spec.from)}>`, date: new Date(notification.at), headers: { 'Auto-Submitted': 'auto-generated' } });
  } catch (cause) {
    throw errorOf(spec.host, cause);
  } finally {
    signal.removeEventListener('abort', stop);
    transport.close();
  }
};

function domainOf(address: string): string {
  return address.slice(address.lastIndexOf('@') + 1);
}

/** What a mail server answers may repeat what it was sent: only its number is told. */
function errorOf(host: string, cause: unknown): NotifyError {
  const { code, responseCode } = cause as { readonly code?: string; readonly responseCode?: number };
  const isRefusal = code === 'EAUTH' || code === 'ETLS' || (responseCode !== undefined && responseCode >= 500);
  return new NotifyError(isRefusal ? 'Refused' : 'Unavailable', `${host} ${responseCode === undefined ? `could not be talked to (${code ?? 'no answer'})` : `answered ${responseCode}`}`);
}
