import type { Digest } from '../core/model/digest.ts';
import type { DocumentOf, PrincipalKey, ServiceRole, TrustRootSpec } from '../core/model/documents.ts';
import { keyName } from '../core/trust/key-ring.ts';
import { CliError } from './command.ts';
import { editYaml } from './write-repository.ts';

type Change = Parameters<typeof editYaml>[1][number];

/** The file of a Principal with one key more. Everything else in it stays as it is written. @throws CliError `KeyKnown` */
export function withKey(text: string, { metadata, spec }: DocumentOf<'Principal'>, key: PrincipalKey): string {
  if (indexOf(spec.keys, keyName(key.key)) >= 0) throw new CliError('KeyKnown', `${metadata.name} has this key already.`, 'See `stella trust show`.');
  return editYaml(text, [{ path: ['spec', 'keys', String(spec.keys.length)], value: key }]);
}

/**
 * The file of a Principal with another status of one key. The key stays: what it signed before is judged by it (T9).
 * @throws CliError `KeyUnknown`
 */
export function withStatus(text: string, { metadata, spec }: DocumentOf<'Principal'>, fingerprint: string, status: PrincipalKey['status'], since: string): string {
  const index = demandIndex(spec.keys, fingerprint, metadata.name);
  const path = ['spec', 'keys', String(index)];
  return editYaml(text, [{ path: [...path, 'status'], value: status }, { path: [...path, 'since'], value: since }]);
}

/** The one key of `keys` that is meant. @throws CliError `KeyAmbiguous`, `KeyUnknown` */
export function keyMeant(keys: readonly { readonly key: string }[], given: string | undefined, owner: string): string {
  const names = keys.map(({ key }) => keyName(key) ?? 'unreadable');
  const [only, second] = names;
  if (given !== undefined) return names[demandIndex(keys, given, owner)] ?? given;
  if (only === undefined) throw new CliError('KeyUnknown', `${owner} has no key that could be meant.`, 'See `stella trust show`.');
  if (second !== undefined) throw new CliError('KeyAmbiguous', `${owner} has ${names.length} keys: ${names.join(', ')}.`, 'Say which with --fingerprint.');
  return only;
}

function indexOf(keys: readonly { readonly key: string }[], fingerprint: string | null): number {
  return fingerprint === null ? -1 : keys.findIndex(({ key }) => keyName(key) === fingerprint);
}

function demandIndex(keys: readonly { readonly key: string }[], fingerprint: string, owner: string): number {
  const index = indexOf(keys, fingerprint);
  if (index < 0) throw new CliError('KeyUnknown', `${owner} has no key ${fingerprint}.`, 'See `stella trust show`.');
  return index;
}

/** The root in force, and the root as the file has it: the same, or a next version that somebody has begun to write. */
export type RootDraft = { readonly text: string; readonly draft: TrustRootSpec; readonly inForce: { readonly digest: Digest; readonly version: number } };
/** `key` null: the key is taken out. */
export type RootEdit =
  | { readonly type: 'key'; readonly principal: string; readonly old: string | null; readonly key: string | null }
  | { readonly type: 'service'; readonly role: ServiceRole; readonly name: string | null; readonly publicKey: string };

/** The file of the trust root as its next version: one higher, on top of the one in force (T16). @throws CliError `KeyUnknown`, `ServiceAmbiguous`, `RootBehind` */
export function nextRoot({ text, draft, inForce }: RootDraft, edit: RootEdit): string {
  if (draft.version !== inForce.version && draft.previous !== inForce.digest) {
    throw new CliError('RootBehind', `The trust root here has version ${draft.version} and does not follow version ${inForce.version}, which is in force.`, 'Fetch and merge, then start again.');
  }
  const head: readonly Change[] = [
    { path: ['spec', 'version'], value: inForce.version + 1 }, { path: ['spec', 'previous'], value: inForce.digest }, { path: ['spec', 'documents'], value: null },
  ];
  return editYaml(text, [...head, edit.type === 'key' ? rootKeyChange(draft, edit) : serviceChange(draft, edit)]);
}

function rootKeyChange({ keys }: TrustRootSpec, { principal, old, key }: Extract<RootEdit, { type: 'key' }>): Change {
  const index = old === null ? keys.length : demandIndex(keys, old, 'the trust root');
  return key === null ? { path: ['spec', 'keys', String(index)], value: undefined } : { path: ['spec', 'keys', String(index)], value: { principal, key } };
}

function serviceChange({ services }: TrustRootSpec, { role, name, publicKey }: Extract<RootEdit, { type: 'service' }>): Change {
  const own = services.flatMap((service, index) => (service.role === role && (name === null || service.name === name) ? [{ index, service }] : []));
  const [only, second] = own;
  if (only === undefined) throw new CliError('KeyUnknown', `The trust root lists no key for ${role}${name === null ? '' : ` named ${name}`}.`, 'See `stella trust show`.');
  if (second !== undefined) throw new CliError('ServiceAmbiguous', `The trust root lists ${own.length} keys for ${role}: ${own.map(({ service }) => service.name).join(', ')}.`, 'Say which with --name.');
  return { path: ['spec', 'services', String(only.index), 'publicKey'], value: publicKey };
}
