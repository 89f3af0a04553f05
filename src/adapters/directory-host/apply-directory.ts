import { readFile, rm } from 'node:fs/promises';
import path from 'node:path';
import { buildVersion } from './build-version.ts';
import { asDirectoryError, DirectoryError, resultOf } from './directory-error.ts';
import { type DirectoryOrder, type DirectoryOutcome, envFileName, requireOrder, type RunningComponent } from './directory-order.ts';
import { commitDraft, discardDraft, pointLink, syncFolder, writeDraft } from './durable-files.ts';
import { createRedactor, formatEnvFile, parseEnvFile } from './env-file.ts';
import { requireHealthy } from './health-check.ts';
import {
  currentTarget,
  listVersionFolders,
  openPlace,
  type Place,
  placeOf,
  readSwitchRecord,
  type SwitchRecord,
  sweepStaging,
  targetOf,
  versionOf,
  writeSwitchRecord,
} from './place.ts';
import { pruneVersions } from './prune-versions.ts';
import { type CommandSurroundings, runCommand } from './run-command.ts';
import { isIntact, isOrdered, readMarker, runningOf } from './version-marker.ts';

/**
 * Makes one application run one version on this host: pull and verify everything, unpack beside what runs, switch `current` in
 * one step, run the command, check health, write the sticker. If anything after the switch fails, `current` goes back to what
 * ran before. Nothing before the switch touches what runs. Carried out again, it finds what is done and does the rest.
 * Orders for one application must come one after the other. Never throws for what an order or the outside does.
 */
export async function applyDirectory(order: DirectoryOrder): Promise<DirectoryOutcome> {
  try {
    requireOrder(order);
    formatEnvFile(order.env);
    const place = await openPlace(order.root, order.application);
    await sweepStaging(place);
    const record = await readSwitchRecord(place);
    const current = await currentTarget(place);
    const folder = (await findVersion(place, order, versionOf(current))) ?? (await buildVersion(place, order));
    if (await isDone(place, order, record, current === targetOf(folder))) return await checkOnly(place, order, folder);
    return await switchTo(place, order, folder, current, record);
  } catch (error) {
    return await outcomeOf(order, asDirectoryError(error), false);
  }
}

/** A finished version with this content, verified again; the one that runs is preferred. */
async function findVersion(place: Place, order: DirectoryOrder, current: string | undefined): Promise<string | undefined> {
  const folders = (await listVersionFolders(place)).filter((folder) => folder === order.versionName || folder.startsWith(`${order.versionName}~`));
  for (const folder of folders.sort((a, b) => Number(b === current) - Number(a === current))) {
    const at = path.join(place.versions, folder);
    const marker = await readMarker(at);
    if (marker !== undefined && (await isOrdered(at, marker, order)) && (await isIntact(at, marker))) {
      order.progress(`version ${folder} is here already`);
      return folder;
    }
  }
  return undefined;
}

async function isDone(place: Place, order: DirectoryOrder, record: SwitchRecord | undefined, isCurrent: boolean): Promise<boolean> {
  if (!isCurrent || record?.state !== 'done') return false;
  const sticker = await readFile(place.sticker).catch(() => undefined);
  return sticker?.equals(order.sticker) === true;
}

async function checkOnly(place: Place, order: DirectoryOrder, folder: string): Promise<DirectoryOutcome> {
  if (order.healthCheck !== undefined) await requireHealthy(order.healthCheck, surroundingsOf(place, order, folder, order.env));
  const running = await readRunning(place);
  return { result: 'Succeeded', code: 'Unchanged', message: `${order.application} runs ${order.versionName} already`, rolledBack: false, running };
}

async function switchTo(place: Place, order: DirectoryOrder, folder: string, current: string | undefined, record: SwitchRecord | undefined): Promise<DirectoryOutcome> {
  const target = targetOf(folder);
  // After a crash in the middle of a switch, what ran before is in the record, not behind the link.
  const before = record?.state === 'open' && record.to === current ? (record.from ?? undefined) : current;
  const fallback = before === target ? (record?.from ?? null) : (before ?? null);
  order.signal?.throwIfAborted();
  await prepareSwitch(place, order.sticker, { from: fallback, to: target, state: 'open' });
  try {
    await pointLink(place.current, target);
    order.progress(`switched to ${folder}`);
    const surroundings = surroundingsOf(place, order, folder, order.env);
    if (order.command !== undefined) await runCommand(order.command, surroundings);
    if (order.healthCheck !== undefined) await requireHealthy(order.healthCheck, surroundings);
    await writeSwitchRecord(place, { from: fallback, to: target, state: 'done' });
    await commitDraft(place.sticker);
  } catch (error) {
    return await switchBack(place, order, asDirectoryError(error), before, target, record);
  }
  await pruneVersions(place, [target, fallback]).catch((error: unknown) => order.progress(`old versions stay: ${asDirectoryError(error).message}`));
  const message = `${order.application} runs ${order.versionName}`;
  return { result: 'Succeeded', code: 'Deployed', message, rolledBack: false, running: await readRunning(place) };
}

/** What needs space on the disk comes before anything moves, but for the last record, whose failure switches back. */
async function prepareSwitch(place: Place, sticker: Uint8Array, record: SwitchRecord): Promise<void> {
  await writeDraft(place.sticker, sticker, 0o644);
  try {
    await writeSwitchRecord(place, record);
  } catch (error) {
    await discardDraft(place.sticker);
    throw error;
  }
}

async function switchBack(
  place: Place,
  order: DirectoryOrder,
  reason: DirectoryError,
  before: string | undefined,
  target: string,
  record: SwitchRecord | undefined,
): Promise<DirectoryOutcome> {
  if (before === target) {
    await discardDraft(place.sticker);
    return await outcomeOf(order, reason, false);
  }
  try {
    await discardDraft(place.sticker);
    await setCurrent(place, before);
    order.progress(before === undefined ? 'switched back to nothing: nothing ran before' : `switched back to ${versionOf(before) ?? before}`);
    await runCommandOf(place, order, before);
    // Without the record the next run still knows what proved itself, so a full disk does no harm here.
    await writeSwitchRecord(place, { from: record?.from ?? null, to: before ?? null, state: 'done' }).catch(() => undefined);
    return await outcomeOf(order, reason, true);
  } catch (cause) {
    const why = `${reason.message}. Then the way back failed too: ${asDirectoryError(cause).message}`;
    return await outcomeOf(order, new DirectoryError('RollbackFailed', why, { cause: reason }), false);
  }
}

async function setCurrent(place: Place, target: string | undefined): Promise<void> {
  if (target !== undefined) return await pointLink(place.current, target);
  await rm(place.current, { force: true });
  await syncFolder(place.folder);
}

/** A switched link alone does not bring back a process: the version that is back is started the way it was started first. */
async function runCommandOf(place: Place, order: DirectoryOrder, target: string | undefined): Promise<void> {
  const folder = versionOf(target);
  if (folder === undefined) return;
  const marker = await readMarker(path.join(place.versions, folder));
  if (marker === undefined || marker.command === null) return;
  const env = parseEnvFile(await readFile(path.join(place.versions, folder, envFileName), 'utf8')) ?? {};
  // Not stopped by the order's signal: stopping an order must not leave the host in between.
  const { signal: _, ...surroundings } = surroundingsOf(place, order, folder, env);
  await runCommand(marker.command, surroundings);
}

function surroundingsOf(place: Place, order: DirectoryOrder, folder: string, env: Readonly<Record<string, string>>): CommandSurroundings {
  return {
    cwd: path.join(place.versions, folder),
    env,
    output: order.progress,
    redact: redactorOf(order, env),
    ...(order.signal === undefined ? {} : { signal: order.signal }),
  };
}

/** Hides the secrets of the order and those of `env`, where a name that the order does not know counts as secret. */
function redactorOf(order: DirectoryOrder, env: Readonly<Record<string, string>>): (text: string) => string {
  const isPlain = (name: string): boolean => order.secretNames !== undefined && !order.secretNames.includes(name) && name in order.env;
  const entries = [...Object.entries(order.env), ...Object.entries(env)];
  return createRedactor(entries.filter(([name]) => !isPlain(name)).map(([, value]) => value));
}

async function outcomeOf(order: DirectoryOrder, error: DirectoryError, rolledBack: boolean): Promise<DirectoryOutcome> {
  const running = await readRunningAt(order).catch(() => []);
  const message = redactorOf(order, {})(error.message);
  return { result: resultOf(error.code), code: error.code, message, rolledBack, running };
}

async function readRunningAt(order: DirectoryOrder): Promise<readonly RunningComponent[]> {
  return await readRunning(placeOf(order.root, order.application));
}

/** What `current` points to, by its marker. */
async function readRunning(place: Place): Promise<readonly RunningComponent[]> {
  const folder = versionOf(await currentTarget(place));
  return folder === undefined ? [] : runningOf(await readMarker(path.join(place.versions, folder)));
}
