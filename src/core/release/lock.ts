import { canonicalText } from '../model/canonical-json.ts';
import { splitPair, compareText } from '../model/names.ts';
import type { Digest } from '../model/digest.ts';
import type { DocumentOf } from '../model/documents.ts';
import { lockOf, snapshotOf, type FileRef, type Lock, type LockComponent, type Runs } from '../model/preimages.ts';
import { inForceOf, type LogState } from '../evidence/log-state.ts';

/** One component of a release before it is locked. At least one of tag and digest is there. */
export type WantedComponent = { readonly name: string; readonly repository: string; readonly registry: string; readonly tag: string | null; readonly digest: Digest | null };
export type Wanted =
  | { readonly ok: true; readonly application: DocumentOf<'Application'>; readonly components: readonly WantedComponent[]; readonly files: readonly string[] }
  | { readonly ok: false; readonly detail: string };

/** What has to be resolved and snapshotted before `release` can be locked, under the documents in force (DESIGN §4). */
export function wantedBy(state: LogState, release: DocumentOf<'Release'>): Wanted {
  const [applicationName] = splitPair(release.metadata.name);
  const application = inForceOf(state, 'Application', applicationName);
  if (application === null) return { ok: false, detail: `application ${applicationName} is not in force` };
  const named = Object.keys(release.spec.components).sort(compareText);
  const expected = [...application.spec.components].sort(compareText);
  const differs = named.filter((n) => !expected.includes(n)).concat(expected.filter((n) => !named.includes(n)));
  if (differs.length > 0) return { ok: false, detail: `the release and its application differ in components: ${differs.join(', ')}` };
  const components: WantedComponent[] = [];
  for (const name of expected) {
    const component = inForceOf(state, 'Component', name);
    const wanted = release.spec.components[name];
    if (component === null || wanted === undefined) return { ok: false, detail: `component ${name} is not in force` };
    const { repository, registry } = component.spec;
    components.push({ name, repository, registry, tag: wanted.tag ?? null, digest: wanted.digest ?? null });
  }
  const { deployment } = application.spec;
  const files = new Set([...(deployment.files ?? []), ...(deployment.type === 'compose' ? [deployment.compose] : [])]);
  return { ok: true, application, components, files: [...files].sort(compareText) };
}

/** The lock of a release whose components are all known by digest. @param files every file of `wantedBy`, at the tip that locks */
export function makeLock(p: {
  readonly logId: Digest;
  readonly release: DocumentOf<'Release'>;
  readonly application: DocumentOf<'Application'>;
  readonly components: readonly LockComponent[];
  readonly files: readonly FileRef[];
}): Lock {
  const [application, version] = splitPair(p.release.metadata.name);
  return lockOf({
    logId: p.logId, application, release: version, components: p.components, source: p.release.spec.source ?? null, snapshot: snapshotOf(p.application.spec, p.files),
  });
}

/**
 * Whether `runs` is the lock's: its digests, its way to deploy, and its files, besides which a directory may get the one override file
 * of its environment.
 */
export function runsFitLock(runs: Runs, lock: Lock): boolean {
  const { deployment, files } = lock.snapshot;
  const same = (a: unknown, b: unknown): boolean => canonicalText(a) === canonicalText(b);
  // A Compose file is not shipped as it is: what is rendered of it is.
  const rendered = deployment.type === 'compose' ? deployment.compose : null;
  const own = new Set(files.filter((file) => file.path !== rendered).map(canonicalText));
  const shipped = new Set(runs.files.map(canonicalText));
  const complete = shipped.size === runs.files.length && [...own].every((file) => shipped.has(file));
  const more = runs.files.length - own.size;
  return same(runs.components, lock.components) && same(runs.deployment, deployment) && runs.release === lock.release && complete && more <= (deployment.type === 'directory' ? 1 : 0);
}
