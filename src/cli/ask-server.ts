import { limits } from '../core/model/limits.ts';
import { plain } from '../core/model/plain-text.ts';
import { CliError } from './command.ts';

/** What a server says now. Hints: nothing is decided by it. */
export type ServerAnswer = { readonly url: string; readonly conditions: readonly ShownCondition[]; readonly targets: readonly ShownTarget[] };
type ShownCondition = { readonly kind: string; readonly name: string; readonly type: string; readonly status: string; readonly reason: string; readonly message: string };
/** What an agent last saw on one target. A hint: nothing is decided by it. */
type ShownTarget = {
  readonly environment: string;
  readonly application: string;
  readonly target: string;
  readonly observedAt: string;
  readonly error: string | null;
  readonly running: readonly { readonly component: string; readonly digest: string }[];
};
type ShownAgent = { readonly agent: string; readonly connected: boolean; readonly inventory: { readonly [slot: string]: ShownTarget } };

/** @throws CliError `ServerUnknown`, `ServerRefused`, `ServerUnreachable` */
export async function askServer(url: string, token: string | undefined): Promise<ServerAnswer> {
  const [conditions, agents] = await Promise.all(['conditions', 'agents'].map((what) => get(url, `/api/v1/${what}`, token)));
  const targets = listIn<ShownAgent>(agents).flatMap((a) => Object.values(a.inventory));
  return { url, conditions: listIn<ShownCondition>(conditions), targets };
}

async function get(url: string, path: string, token: string | undefined): Promise<unknown> {
  const base = URL.parse(url);
  if (base === null || !/^https?:$/.test(base.protocol)) throw new CliError('ServerUnknown', `--server ${url} is no address.`, 'Write it as https://host:port.');
  try {
    // A credential goes to the host that was named and to no redirect (T18).
    const answer = await fetch(new URL(path, base), { redirect: 'error', signal: AbortSignal.timeout(limits.registryTimeoutMs), headers: token === undefined ? {} : { authorization: `Bearer ${token}` } });
    const text = await answer.text();
    if (!answer.ok || text.length > limits.statusAnswerBytes) throw new CliError('ServerRefused', `${base.host} answered ${answer.status} to ${path}.`, answer.status === 401 ? 'Set STELLA_TOKEN.' : null);
    return JSON.parse(text) as unknown;
  } catch (cause) {
    if (cause instanceof CliError) throw cause;
    throw new CliError('ServerUnreachable', `${base.host} could not be asked: ${cause instanceof Error ? cause.message : String(cause)}.`, 'Leave --server out to see what the evidence says.', { cause });
  }
}

export function serverText({ url, conditions, targets }: ServerAnswer): string {
  const found = conditions.filter((c) => !(c.type === 'Ready' && c.status === 'True'));
  const lines = found.map((c) => `  ${c.kind} ${c.name}: ${c.type}=${c.status} ${c.reason}: ${c.message}`);
  const seen = targets.map((t) => {
    const runs = t.error ?? (t.running.length === 0 ? 'runs nothing' : `runs ${t.running.map((r) => `${r.component}@${r.digest}`).join(', ')}`);
    return `  ${t.environment}/${t.application} on ${t.target}: ${runs} (seen ${t.observedAt})`;
  });
  return [`${url} says:`, ...(lines.length === 0 ? ['  no condition needs attention'] : lines), ...seen].map(plain).join('\n');
}

/** The list in an answer of the API. */
function listIn<T>(value: unknown): readonly T[] {
  const items = typeof value === 'object' && value !== null ? (value as { data?: unknown }).data : undefined;
  return Array.isArray(items) ? (items as readonly T[]) : [];
}
