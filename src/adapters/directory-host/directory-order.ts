import { type Digest, isDigest } from '../../core/model/digest.ts';
import { limits } from '../../core/model/limits.ts';
import type { BlobSource, Platform } from '../../ports/blob-source.ts';
import { type DirectoryCode, DirectoryError } from './directory-error.ts';
import type { HealthCheck } from './health-check.ts';
import type { CommandSpec } from './run-command.ts';
import type { UnpackLimits } from './unpack-layer.ts';

/** One component of the order; `digest` is what the release's lock pins. */
export type OrderedComponent = { readonly name: string; readonly repository: string; readonly digest: Digest };

/** A file of the application, placed below the version's folder. `mode` holds permission bits. */
export type OrderedFile = { readonly path: string; readonly bytes: Uint8Array; readonly mode: number };

/** Everything that one version on one directory host consists of. The agent has checked the order before (TRUST, agents). */
export type DirectoryOrder = {
  /** Folder of all applications of this target. */
  readonly root: string;
  readonly application: string;
  /** Names the version's folder. Other content under the same name gets a folder of its own. */
  readonly versionName: string;
  readonly components: readonly OrderedComponent[];
  readonly files: readonly OrderedFile[];
  /** Variables and resolved secrets. They reach `app.env` (0600), the command and the health check, and nothing else. */
  readonly env: Readonly<Record<string, string>>;
  /** Names in `env` whose values are hidden in output. Without it every value is. */
  readonly secretNames?: readonly string[];
  /** Content of `stella.version.json`. */
  readonly sticker: Uint8Array;
  readonly source: BlobSource;
  readonly platform: Platform;
  /** Run in the version's folder after the switch. After a switch back, the command of the version that is back is run. */
  readonly command?: CommandSpec;
  readonly healthCheck?: HealthCheck;
  readonly signal?: AbortSignal;
  readonly progress: (line: string) => void;
  /** Lower limits than those of the product. */
  readonly unpackLimits?: UnpackLimits;
};

/** A component that really runs, by the digest that its release pinned. */
export type RunningComponent = { readonly component: string; readonly digest: Digest };

/** How an order ended. `Failed`: it ran, or was looked at, and the answer is no. `Errored`: it could not be run. */
export type DirectoryOutcome = {
  readonly result: 'Succeeded' | 'Failed' | 'Errored';
  readonly code: DirectoryCode | 'Deployed' | 'Unchanged' | 'Removed';
  /** For a person; holds no secret. */
  readonly message: string;
  /** Whether `current` had been switched and was switched back. */
  readonly rolledBack: boolean;
  /** What `current` points to when this is written. */
  readonly running: readonly RunningComponent[];
};

export const envFileName = 'app.env';
/** Names that begin so are ours. */
export const ownPrefix = '.stella';

const APPLICATION = /^[a-z0-9][a-z0-9._-]{0,62}$/;
const VERSION = /^[a-z0-9][a-z0-9._+-]{0,127}$/;

/** @throws DirectoryError `InvalidOrder` when a name could lead out of its folder, or two things want one path */
export function requireOrder(order: DirectoryOrder): void {
  requireApplication(order.application);
  if (!VERSION.test(order.versionName)) throw invalid(`${JSON.stringify(order.versionName.slice(0, 100))} is no version name`);
  const names = order.components.map((component) => component.name);
  if (new Set(names).size !== names.length) throw invalid('two components have one name');
  for (const component of order.components) {
    if (!APPLICATION.test(component.name) || component.name === envFileName) throw invalid(`${JSON.stringify(component.name.slice(0, 100))} is no component name`);
    if (!isDigest(component.digest)) throw invalid(`component ${component.name} has no sha256 digest`);
  }
  const paths = order.files.map((file) => file.path);
  if (new Set(paths).size !== paths.length) throw invalid('two files have one path');
  for (const file of order.files) requireFile(file, names);
}

/** @throws DirectoryError `InvalidOrder` */
export function requireApplication(application: string): void {
  if (!APPLICATION.test(application)) throw invalid(`${JSON.stringify(application.slice(0, 100))} is no application name`);
}

function requireFile(file: OrderedFile, componentNames: readonly string[]): void {
  const shown = JSON.stringify(file.path.slice(0, 200));
  const segments = file.path.split('/');
  const bad = segments.some((segment) => segment === '' || segment === '.' || segment === '..' || /[\0\\]/.test(segment));
  const [first = ''] = segments;
  if (bad) throw invalid(`the file path ${shown} is not a plain relative path`);
  if (first === envFileName || first.startsWith(ownPrefix)) throw invalid(`the file path ${shown} is taken by us; choose another name`);
  if (componentNames.includes(first)) throw invalid(`the file ${shown} lies in the folder of a component; choose another folder`);
  if (file.bytes.byteLength > limits.shippedFileBytes) throw invalid(`the file ${shown} is larger than ${limits.shippedFileBytes} bytes`);
}

function invalid(why: string): DirectoryError {
  return new DirectoryError('InvalidOrder', `the order cannot be carried out: ${why}`);
}
