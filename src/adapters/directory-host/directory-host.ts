import path from 'node:path';
import type { Digest } from '../../core/model/digest.ts';
import type { Deployment, HealthCheck as DeclaredCheck } from '../../core/model/documents.ts';
import type { Runs } from '../../core/model/preimages.ts';
import type { BlobSource, Platform } from '../../ports/blob-source.ts';
import type { ApplyWork, RunningComponent, TargetContext, TargetDriver, TargetObservation, TargetOutcome, TargetPlace } from '../../ports/target-driver.ts';
import { applyDirectory } from './apply-directory.ts';
import { asDirectoryError, DirectoryError, resultOf } from './directory-error.ts';
import type { DirectoryOrder, OrderedFile } from './directory-order.ts';
import type { HealthCheck } from './health-check.ts';
import { observeDirectory, type ObservedComponent } from './observe-directory.ts';
import { removeDirectory } from './remove-directory.ts';

export type DirectoryHostOptions = {
  /** Where the images of a registry integration come from on this machine; null when it is not configured here. */
  readonly sourceOf: (registry: string) => BlobSource | null;
  readonly platform: Platform;
};

type Slot = { readonly environment: string; readonly application: string; readonly target: TargetPlace };

const defaults = { commandSeconds: 300, checkSeconds: 10, checkRetries: 3, checkIntervalSeconds: 2 } as const;

/** Targets of type `directory_host`: versioned folders and a symbolic link below `<connection.root>/<environment>`. */
export function directoryHost(options: DirectoryHostOptions): TargetDriver {
  return {
    type: 'directory_host',
    apply: async (work, context) => {
      const order = await orderOf(work, context, options).catch(toOutcome);
      return 'result' in order ? order : await applyDirectory(order);
    },
    observe: async (slot) => await observe(slot),
    remove: async (work) => {
      try {
        return await removeDirectory({ root: rootOf(work), application: work.application });
      } catch (cause) {
        return toOutcome(cause);
      }
    },
  };
}

/** What an order cannot be made of ends here; anything that is not ours to name (a missing secret) passes. */
function toOutcome(cause: unknown): TargetOutcome {
  if (!(cause instanceof DirectoryError)) throw cause;
  const { code, message } = asDirectoryError(cause);
  return { result: resultOf(code), code, message, running: [], rolledBack: false };
}

/** Two environments on one host keep apart (T17). @throws DirectoryError InvalidOrder */
function rootOf(slot: Slot): string {
  const { root } = slot.target.connection;
  if (typeof root !== 'string' || !path.isAbsolute(root)) throw new DirectoryError('InvalidOrder', `target ${slot.target.name} needs connection.root, an absolute path`);
  return path.join(root, slot.environment);
}

async function orderOf(work: ApplyWork, context: TargetContext, options: DirectoryHostOptions): Promise<DirectoryOrder> {
  const { runs, sticker } = work;
  if (sticker === null) throw new DirectoryError('InvalidOrder', 'the order brought no version sticker');
  const deployment = runs.deployment as unknown as Deployment;
  if (deployment.type !== 'directory') throw new DirectoryError('InvalidOrder', `a directory host cannot run a deployment of type ${deployment.type}`);
  const { command, healthCheck } = deployment;
  return {
    root: rootOf(work),
    application: work.application,
    versionName: runs.release.split('/').at(-1) ?? runs.release,
    components: runs.components.map(({ name, repository, digest }) => ({ name, repository, digest })),
    files: [...runs.files, ...runs.artifacts].map((file) => fileOf(file, work.artifacts)),
    env: { ...runs.variables, ...(await secretsOf(runs, context)) },
    secretNames: Object.keys(runs.secrets),
    sticker,
    source: sourceFor(runs, options),
    platform: options.platform,
    ...(command === undefined ? {} : { command: { argv: command.argv, timeoutSeconds: command.timeoutSeconds ?? defaults.commandSeconds } }),
    ...(healthCheck === undefined ? {} : { healthCheck: checkOf(healthCheck) }),
    progress: context.progress,
  };
}

function fileOf(file: Runs['files'][number], artifacts: ReadonlyMap<Digest, Uint8Array>): OrderedFile {
  const bytes = artifacts.get(file.digest);
  if (bytes === undefined) throw new DirectoryError('InvalidOrder', `${file.path} ${file.digest} did not come with the order`);
  return { path: file.path, bytes, mode: file.mode };
}

async function secretsOf(runs: Runs, context: TargetContext): Promise<Record<string, string>> {
  const values: Record<string, string> = {};
  for (const [name, reference] of Object.entries(runs.secrets)) values[name] = await context.resolveSecret(reference);
  return values;
}

/** One source for all components of a plan, which may come from several registries. */
function sourceFor(runs: Runs, options: DirectoryHostOptions): BlobSource {
  const byRepository = new Map<string, BlobSource>();
  for (const { repository, registry } of runs.components) {
    const source = options.sourceOf(registry);
    if (source === null) throw new DirectoryError('RegistryUnreachable', `registry ${registry} is not configured on this agent: add it to the agent's configuration`);
    const other = byRepository.get(repository);
    if (other !== undefined && other !== source) throw new DirectoryError('InvalidOrder', `repository ${repository} is asked of two registries`);
    byRepository.set(repository, source);
  }
  const of = (repository: string): BlobSource => {
    const source = byRepository.get(repository);
    if (source === undefined) throw new DirectoryError('InvalidOrder', `repository ${repository} is not in the plan`);
    return source;
  };
  return {
    readManifest: (repository, digest, signal) => of(repository).readManifest(repository, digest, signal),
    openBlob: (repository, digest, size, signal) => of(repository).openBlob(repository, digest, size, signal),
  };
}

function checkOf(check: DeclaredCheck): HealthCheck {
  const pace = {
    timeoutSeconds: check.timeoutSeconds ?? defaults.checkSeconds,
    retries: check.retries ?? defaults.checkRetries,
    intervalMs: (check.intervalSeconds ?? defaults.checkIntervalSeconds) * 1000,
  };
  switch (check.type) {
    case 'command':
      return { ...pace, type: 'command', argv: check.argv };
    case 'http':
      return { ...pace, type: 'http', url: check.url };
    case 'tcp':
      return { ...pace, type: 'tcp', host: '127.0.0.1', port: check.port };
  }
}

async function observe(slot: Slot): Promise<TargetObservation> {
  const observed = await observeDirectory({ root: rootOf(slot), application: slot.application });
  if (observed.state === 'broken') throw new DirectoryError('FileSystem', observed.message ?? 'what lies on the host cannot be accounted for');
  const sticker = observed.sticker.state === 'present' ? observed.sticker.bytes : null;
  return { running: observed.state === 'running' ? observed.components.map(runningOf) : [], sticker };
}

/** A component that was changed on the disk does not run the digest that its release pinned. */
function runningOf(component: ObservedComponent): RunningComponent {
  const digest = component.intact ? component.digest : (component.observedTreeDigest ?? 'unknown');
  return { component: component.component, digest };
}
