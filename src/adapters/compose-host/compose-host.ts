import { readFile } from 'node:fs/promises';
import { compareText } from '../../core/model/names.ts';
import { LOCK_FILE } from '../../core/release/plan.ts';
import type { ApplyWork, ProvenWork, RunningComponent, TargetContext, TargetDriver, TargetObservation, TargetOutcome, TargetSlot } from '../../ports/target-driver.ts';
import { createRedactor } from '../directory-host/env-file.ts';
import { checkLockFile, composeDown, composeUp, findCompose, type ComposeCall, type ComposeProgram, type ComposeSurroundings } from './compose-command.ts';
import { ComposeError } from './compose-error.ts';
import { Engine, type RegistryAuth } from './engine.ts';
import { hasDoneItsWork, waitUntilHealthy } from './health.ts';
import { familiarName, readLockFile, requireSecretNames, type PinnedImage } from './lock-file.ts';
import { clearPlace, commitVersion, currentVersion, placeOf, readSticker, writeVersion, type Place, type Version } from './project-folder.ts';

export type ComposeHostOptions = {
  readonly surroundings: ComposeSurroundings;
  readonly registryAuth: RegistryAuth;
  /** How long a container without a health check must keep running to count as up; 2,000 by default. */
  readonly settleMs?: number;
};

/** One application on one Compose host, with what is needed to work on it. */
type Site = {
  readonly place: Place;
  readonly engine: Engine;
  readonly program: ComposeProgram;
  readonly options: ComposeHostOptions;
  readonly context: TargetContext;
};

/** The driver's options, and Compose once it has been found. */
type Tools = ComposeHostOptions & { readonly compose: () => Promise<ComposeProgram> };

/** Targets of type `compose_host`: everything is pulled and verified first, and only then anything is stopped or started. */
export function composeHost(options: ComposeHostOptions): TargetDriver {
  let found: ComposeProgram | null = null; // asking takes longer than most other things here
  const tools: Tools = { ...options, compose: async () => (found ??= await findCompose(options.surroundings)) };
  return {
    type: 'compose_host',
    apply: (work, context) => apply(work, context, tools),
    observe: (slot) => observe(slot),
    remove: (work, context) => remove(work, context, tools),
  };
}

async function apply(work: ApplyWork, context: TargetContext, options: Tools): Promise<TargetOutcome> {
  const place = placeOf(work);
  const engine = new Engine(place.socket);
  let prepared: Prepared;
  try {
    prepared = await prepare(work, place, engine, context, options);
  } catch (cause) {
    if (!(cause instanceof ComposeError)) throw cause;
    return { result: 'Errored', code: cause.code, message: cause.message, running: await runningNow(engine, place), rolledBack: false };
  }
  const { site, version, images, call, before } = prepared;
  try {
    await start(site, version, images, call);
  } catch (cause) {
    if (!(cause instanceof ComposeError)) throw cause;
    return await fallBack(site, before, cause);
  }
  await commitVersion(place, version, work.sticker);
  const running = await runningOf(engine, place, version);
  return { result: 'Succeeded', code: 'Applied', message: `${version.components.length} components run`, running, rolledBack: false };
}

type Prepared = { readonly site: Site; readonly version: Version; readonly images: readonly PinnedImage[]; readonly call: ComposeCall; readonly before: Version | null };

/** Everything that may fail without touching what runs: secrets, engine, pulls, the lock file as Compose reads it. */
async function prepare(work: ApplyWork, place: Place, engine: Engine, context: TargetContext, options: Tools): Promise<Prepared> {
  const { runs, artifacts } = work;
  const lockFile = runs.artifacts.find(({ path }) => path === LOCK_FILE);
  const bytes = lockFile === undefined ? undefined : artifacts.get(lockFile.digest);
  if (bytes === undefined) throw new ComposeError('LockFileInvalid', `the order brought no ${LOCK_FILE}`);
  const images = readLockFile(bytes);
  await engine.requireReachable();
  const program = await options.compose();
  const site: Site = { place, engine, program, options, context };
  const call = await callFor(site, runs.secrets);
  for (const image of distinct(images)) await engine.ensureImage(image, options.registryAuth, context.progress);
  const before = await currentVersion(place);
  const version = await writeVersion(place, runs, artifacts);
  await checkLockFile(program, version.compose, call);
  return { site, version, images, call, before };
}

const distinct = (images: readonly PinnedImage[]): readonly PinnedImage[] => [...new Map(images.map((image) => [`${image.repository}@${image.digest}`, image])).values()];

/** Resolves the secrets of a version. @throws SecretUnavailable; ComposeError SecretNameReserved */
async function callFor(site: Pick<Site, 'place' | 'options' | 'context'>, references: Version['secrets']): Promise<ComposeCall> {
  requireSecretNames(Object.keys(references));
  const secrets: Record<string, string> = {};
  for (const [name, reference] of Object.entries(references)) secrets[name] = await site.context.resolveSecret(reference);
  const redact = createRedactor(Object.values(secrets));
  const output = (line: string): void => site.context.progress(redact(line));
  return { surroundings: site.options.surroundings, socket: site.place.socket, secrets, output };
}

async function start(site: Site, version: Version, images: readonly PinnedImage[], call: ComposeCall): Promise<void> {
  site.context.progress(`starting ${images.length} services`);
  try {
    await composeUp(site.program, version.compose, call);
    await waitUntilHealthy(site.engine, {
      project: site.place.project,
      services: images.map(({ service }) => service),
      ending: servicesThatEnd(images),
      timeoutMs: version.healthTimeoutSeconds * 1000,
      settleMs: site.options.settleMs ?? 2_000,
    });
  } catch (cause) {
    await showLogs(site, call).catch(() => undefined); // what people see must not hide why it failed
    throw redacted(cause, call);
  }
}

/** Compose repeats values in its errors, and the message of an outcome goes into a receipt that everybody reads. */
function redacted(cause: unknown, call: ComposeCall): unknown {
  if (!(cause instanceof ComposeError)) return cause;
  return new ComposeError(cause.code, createRedactor(Object.values(call.secrets))(cause.message));
}

async function showLogs({ engine, place }: Site, call: ComposeCall): Promise<void> {
  for (const container of await engine.containersOf(place.project)) {
    if (container.state === 'running' && container.health !== 'unhealthy') continue;
    for (const line of await engine.tailOf(container.id)) call.output(`${container.service} | ${line}`);
  }
}

/** Starts what ran before again; where nothing ran, nothing is left running. */
async function fallBack(site: Site, before: Version | null, failure: ComposeError): Promise<TargetOutcome> {
  const { engine, place, program, context } = site;
  context.progress(`${failure.message}; going back to what ran before`);
  const failed = { result: 'Failed', code: failure.code } as const;
  try {
    if (before === null) await removeContainers(engine, place);
    else {
      const images = readLockFile(await lockBytes(before));
      await start(site, before, images, await callFor(site, before.secrets));
    }
    const message = `${failure.message}. ${before === null ? 'Nothing ran before, and nothing runs now' : 'What ran before runs again'}`;
    return { ...failed, message, running: await runningOf(engine, place, before), rolledBack: true };
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    const message = `${failure.message}. Going back failed as well: ${why}. Look at the project ${place.project} with ${program.argv.join(' ')}`;
    return { ...failed, message, running: await runningNow(engine, place), rolledBack: false };
  }
}

async function lockBytes(version: Version): Promise<Uint8Array> {
  return await readFile(version.compose.lockFile);
}

async function observe(slot: TargetSlot): Promise<TargetObservation> {
  const place = placeOf(slot);
  const engine = new Engine(place.socket);
  await engine.requireReachable();
  const version = await currentVersion(place);
  const [running, sticker] = [await runningOf(engine, place, version), await readSticker(place)];
  return { running, sticker };
}

async function remove(work: ProvenWork, context: TargetContext, options: Tools): Promise<TargetOutcome> {
  const place = placeOf(work);
  const engine = new Engine(place.socket);
  try {
    await engine.requireReachable();
    const version = await currentVersion(place);
    if (version !== null) {
      const program = await options.compose();
      await composeDown(program, version.compose, { surroundings: options.surroundings, socket: place.socket, secrets: {}, output: context.progress });
    }
    await removeContainers(engine, place); // what a lost folder or a cut run left
    await clearPlace(place);
    return { result: 'Succeeded', code: 'Removed', message: 'nothing of the application runs; named volumes are kept', running: [], rolledBack: false };
  } catch (cause) {
    if (!(cause instanceof ComposeError)) throw cause;
    const result = cause.code === 'DownFailed' ? 'Failed' : 'Errored';
    return { result, code: cause.code, message: cause.message, running: await runningNow(engine, place), rolledBack: false };
  }
}

async function removeContainers(engine: Engine, place: Place): Promise<void> {
  for (const container of await engine.containersOf(place.project)) await engine.removeContainer(container.id);
}

/** As {@link runningOf} with what is known on the disk; an engine that does not answer shows nothing. */
async function runningNow(engine: Engine, place: Place): Promise<readonly RunningComponent[]> {
  try {
    return await runningOf(engine, place, await currentVersion(place));
  } catch {
    return [];
  }
}

/**
 * Components whose containers run, by the digests that the engine knows their images by; what is no component goes by its service. A service
 * that does its work once counts with what has done it.
 */
async function runningOf(engine: Engine, place: Place, version: Version | null): Promise<readonly RunningComponent[]> {
  const found = new Map<string, RunningComponent>();
  const ending = version === null ? new Set<string>() : await endingIn(version);
  for (const container of await engine.containersOf(place.project)) {
    if (container.state !== 'running' && !(ending.has(container.service) && hasDoneItsWork(container))) continue;
    const running = componentOf(container, version?.components ?? []);
    found.set(`${running.component} ${running.digest}`, running);
  }
  return [...found.entries()].sort(([a], [b]) => compareText(a, b)).map(([, running]) => running);
}

/** Services of a version that do their work once; none where its lock file is damaged. */
async function endingIn(version: Version): Promise<ReadonlySet<string>> {
  try {
    return servicesThatEnd(readLockFile(await lockBytes(version)));
  } catch {
    return new Set();
  }
}

const servicesThatEnd = (images: readonly PinnedImage[]): ReadonlySet<string> => new Set(images.filter(({ ends }) => ends).map(({ service }) => service));

function componentOf(container: { service: string; repoDigests: readonly string[] }, components: Version['components']): RunningComponent {
  const images = container.repoDigests.map((text) => ({ repository: familiarName(text.split('@')[0] ?? ''), digest: text.split('@')[1] ?? '' }));
  // One image may be known by several digests (its index, another repository): the one that was asked for names it best.
  for (const { name, repository, digest } of components) {
    if (images.some((image) => isOf(image.repository, repository) && image.digest === digest)) return { component: name, digest };
  }
  const other = components.find(({ repository }) => images.some((image) => isOf(image.repository, repository)));
  const image = images.find(({ repository }) => other !== undefined && isOf(repository, other.repository)) ?? images[0];
  return { component: other?.name ?? container.service, digest: image?.digest ?? 'unknown' };
}

/** A component's repository stands with or without its registry's host in front. */
function isOf(image: string, repository: string): boolean {
  return image === familiarName(repository) || image.endsWith(`/${repository}`);
}
