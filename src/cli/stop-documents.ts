import { API_VERSION, type AnyDocument, type CalendarWindow, type DocumentOf, type FreezeSpec, type PrincipalKey } from '../core/model/documents.ts';
import { formatInstant } from '../core/model/instant.ts';
import { isPairName, isSegment } from '../core/model/names.ts';
import { inForceOf, type LogState } from '../core/evidence/log-state.ts';
import { keyName } from '../core/trust/key-ring.ts';
import { CliError } from './command.ts';

/** What a person asks to stop. */
export type StopRequest =
  | { readonly verb: 'freeze'; readonly name: string; readonly spec: FreezeSpec }
  | { readonly verb: 'suspend'; readonly what: string; readonly reason: string }
  | { readonly verb: 'revoke'; readonly principal: string; readonly key: string | undefined; readonly status: 'compromised' | 'retired' };

/** The document that the stop puts in force: what is in force now, and nothing else than the stop. @throws CliError */
export function stopDocument(state: LogState, request: StopRequest, now: Date): AnyDocument {
  switch (request.verb) {
    case 'freeze':
      return freezeDocument(request.name, request.spec);
    case 'suspend':
      return suspendedDocument(state, request.what, request.reason);
    case 'revoke':
      return revokedDocument(state, request, now);
  }
}

function freezeDocument(name: string, spec: FreezeSpec): AnyDocument {
  if (!isSegment(name)) throw new CliError('NameInvalid', `${name} is no name for a freeze.`, 'Write lower-case letters, digits, `.`, `_` and `-`.');
  return { apiVersion: API_VERSION, kind: 'Freeze', metadata: { name }, spec };
}

/** @param what `Principal/alice`, `Agent/host-1`, or `Release/shop/1.4.0`, which a freeze of its own suspends */
function suspendedDocument(state: LogState, what: string, reason: string): AnyDocument {
  const [kind = '', ...rest] = what.split('/');
  const name = rest.join('/');
  if (kind === 'Release' && isPairName(name)) return freezeDocument(`release-${name.replace('/', '-')}`.slice(0, 63), { releases: [name], reason });
  if (kind === 'Principal') return suspend(demand(inForceOf(state, 'Principal', name), what), reason);
  if (kind === 'Agent') return suspend(demand(inForceOf(state, 'Agent', name), what), reason);
  throw new CliError('StopUnknown', `${what} is nothing that can be suspended.`, 'Name Principal/<name>, Agent/<name> or Release/<application>/<version>.');
}

function suspend(document: DocumentOf<'Principal'> | DocumentOf<'Agent'>, reason: string): AnyDocument {
  if (document.spec.suspended !== undefined) throw new CliError('AlreadyStopped', `${document.metadata.name} is suspended already: ${document.spec.suspended.reason}`, 'See: stella stop list', { exitCode: 1 });
  return { ...document, spec: { ...document.spec, suspended: { reason } } } as AnyDocument;
}

function revokedDocument(state: LogState, request: Extract<StopRequest, { verb: 'revoke' }>, now: Date): AnyDocument {
  const { principal, key, status } = request;
  const document = demand(inForceOf(state, 'Principal', principal), `Principal/${principal}`);
  const usable = document.spec.keys.filter((k) => k.status !== 'compromised' && (status === 'compromised' || k.status === 'active'));
  if (usable.length === 0) throw new CliError('AlreadyStopped', `No key of ${principal} is left to be revoked.`, 'See: stella stop list', { exitCode: 1 });
  const meant = keyMeant(usable, key, principal);
  const revoked: PrincipalKey = { ...meant, status, since: formatInstant(now.getTime()) };
  return { ...document, spec: { ...document.spec, keys: document.spec.keys.map((one) => (one === meant ? revoked : one)) } };
}

function keyMeant(keys: readonly PrincipalKey[], fingerprint: string | undefined, owner: string): PrincipalKey {
  const [first, second] = fingerprint === undefined ? keys : keys.filter(({ key }) => keyName(key) === fingerprint);
  if (first === undefined) throw new CliError('KeyUnknown', `${owner} has no key ${fingerprint ?? ''} that could be revoked.`, 'See `stella trust show`.');
  if (second !== undefined) throw new CliError('KeyAmbiguous', `${owner} has ${keys.length} keys: ${keys.map(({ key }) => keyName(key) ?? 'unreadable').join(', ')}.`, 'Say which with --fingerprint.');
  return first;
}

function demand<T>(document: T | null, what: string): T {
  if (document === null) throw new CliError('StopUnknown', `${what} is not in force.`, 'See: stella trust show');
  return document;
}

/** One window of a calendar from what a person writes. @throws CliError when only a part of it is there */
export function windowOf(p: { readonly from: string | undefined; readonly until: string | undefined; readonly timeZone: string | undefined }): CalendarWindow | null {
  const { from: start, until: end, timeZone } = p;
  if (start === undefined && end === undefined && timeZone === undefined) return null;
  if (start === undefined || end === undefined || timeZone === undefined) throw new CliError('Usage', 'A calendar takes --from, --until and --time-zone together.', 'For example: --from 2031-12-20T00:00 --until 2032-01-03T00:00 --time-zone Europe/Berlin');
  return { start, end, timeZone };
}
