import { canonicalText, type Json } from '../model/canonical-json.ts';
import { compareText } from '../model/names.ts';
import type { Runs } from '../model/preimages.ts';

/** Most names that one sentence takes. */
const NAMED = 8;

/** What differs between two ways to run one release, by name and never by value: `variable LOG_LEVEL`, `file prod/app.yaml`. */
export function configurationChanges(before: Runs, after: Runs): readonly string[] {
  const files = ({ files: own, artifacts }: Runs): { readonly [name: string]: string } => Object.fromEntries([...own, ...artifacts].map(({ path, digest, mode }) => [path, `${digest} ${mode}`]));
  const changes = [
    ...differing(before.variables, after.variables).map((name) => `variable ${name}`), ...differing(before.secrets, after.secrets).map((name) => `secret ${name}`),
    ...differing(files(before), files(after)).map((path) => `file ${path}`), ...(text(before.deployment) === text(after.deployment) ? [] : ['how it is deployed']),
  ];
  return changes.length <= NAMED ? changes : [...changes.slice(0, NAMED), `${changes.length - NAMED} more`];
}

function differing(before: { readonly [name: string]: string }, after: { readonly [name: string]: string }): readonly string[] {
  const names = new Set([...Object.keys(before), ...Object.keys(after)]);
  return [...names].filter((name) => valueOf(before, name) !== valueOf(after, name)).sort(compareText);
}

function valueOf(values: { readonly [name: string]: string }, name: string): string | undefined {
  return Object.hasOwn(values, name) ? values[name] : undefined;
}

function text(value: Json): string {
  return canonicalText(value);
}
