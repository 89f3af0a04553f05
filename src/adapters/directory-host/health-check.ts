import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { asDirectoryError, DirectoryError } from './directory-error.ts';
import { type CommandSurroundings, runCommand } from './run-command.ts';

/** How it is seen that a version works. One try, then up to `retries` more, `intervalMs` apart; each may take `timeoutSeconds`. */
export type HealthCheck = { readonly timeoutSeconds: number; readonly retries: number; readonly intervalMs: number } & (
  | { readonly type: 'command'; readonly argv: readonly string[] }
  | { readonly type: 'http'; readonly url: string }
  | { readonly type: 'tcp'; readonly host: string; readonly port: number }
);

/**
 * Returns once a try succeeds: exit code 0, an HTTP status 200–299 (redirects are not followed), or a TCP connection.
 * @throws DirectoryError `Unhealthy` after the last try, `HealthCheckNotRun` when there is nothing that could be run, `Aborted`
 */
export async function requireHealthy(check: HealthCheck, surroundings: CommandSurroundings): Promise<void> {
  let last: DirectoryError | undefined;
  for (let tries = 0; tries <= check.retries; tries += 1) {
    if (tries > 0) await pause(check.intervalMs, surroundings.signal);
    last = await tryOnce(check, surroundings).then(() => undefined, asDirectoryError);
    if (last === undefined) return;
    if (last.code === 'CommandNotRun') throw new DirectoryError('HealthCheckNotRun', last.message, { cause: last });
    if (last.code === 'Aborted' || last.code === 'InvalidOrder') throw last;
    surroundings.output(`health check ${tries + 1} of ${check.retries + 1}: ${surroundings.redact(last.message)}`);
  }
  throw new DirectoryError('Unhealthy', `the health check did not succeed in ${check.retries + 1} tries: ${surroundings.redact(last?.message ?? '')}`, { cause: last });
}

async function tryOnce(check: HealthCheck, surroundings: CommandSurroundings): Promise<void> {
  const stopped = (): boolean => surroundings.signal?.aborted === true;
  if (stopped()) throw new DirectoryError('Aborted', 'stopped during the health check');
  if (check.type === 'command') return await runCommand(check, surroundings);
  const deadline = AbortSignal.timeout(check.timeoutSeconds * 1000);
  const signal = surroundings.signal === undefined ? deadline : AbortSignal.any([deadline, surroundings.signal]);
  try {
    await (check.type === 'http' ? askHttp(check.url, signal) : connectTcp(check.host, check.port, signal));
  } catch (cause) {
    if (stopped()) throw new DirectoryError('Aborted', 'stopped during the health check', { cause });
    if (cause instanceof DirectoryError) throw cause;
    throw new DirectoryError('Unhealthy', deadline.aborted ? `no answer within ${check.timeoutSeconds} s` : `no connection (${reasonOf(cause)})`, { cause });
  }
}

async function askHttp(url: string, signal: AbortSignal): Promise<void> {
  const parsed = URL.parse(url);
  if (parsed?.protocol !== 'http:' && parsed?.protocol !== 'https:') throw new DirectoryError('InvalidOrder', 'the health check names no http or https URL');
  const response = await fetch(parsed, { redirect: 'manual', signal });
  await response.body?.cancel();
  if (!response.ok) throw new DirectoryError('Unhealthy', `the answer was ${response.status}`);
}

async function connectTcp(host: string, port: number, signal: AbortSignal): Promise<void> {
  if (!Number.isInteger(port) || port < 1 || port > 65_535) throw new DirectoryError('InvalidOrder', 'the health check names no port');
  await new Promise<void>((resolve, reject) => {
    const socket = connect({ host, port, signal });
    socket.once('error', reject);
    socket.once('connect', () => {
      socket.destroy();
      resolve();
    });
  });
}

async function pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
  try {
    await sleep(ms, undefined, signal === undefined ? {} : { signal });
  } catch (cause) {
    throw new DirectoryError('Aborted', 'stopped during the health check', { cause });
  }
}

function reasonOf(cause: unknown): string {
  const inner = cause instanceof Error && cause.cause instanceof Error ? cause.cause : cause;
  return inner instanceof Error && 'code' in inner ? String(inner.code) : 'unknown reason';
}
