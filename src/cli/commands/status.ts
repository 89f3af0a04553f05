import type { ExplainLine } from '../../core/decision/explain.ts';
import { appStateOf } from '../../core/evidence/log-state.ts';
import type { PromotionDecisionPredicate } from '../../core/evidence/records.ts';
import { limits } from '../../core/model/limits.ts';
import { EVIDENCE_OPTIONS, type CloneParts } from '../clone.ts';
import { CliError, OUTPUT_OPTION, textOption, usageError, type Command, type CommandContext, type ExitCode } from '../command.ts';
import { rewoundNote } from '../rewound-note.ts';
import { stopText } from '../stop-view.ts';
import { requireEvidence } from '../require-evidence.ts';
import { statusOf, type ApplicationStatus, type StatusModel } from '../status-model.ts';
import { plain } from '../../core/model/plain-text.ts';
import { type Terminal } from '../terminal.ts';

export const command: Command<CloneParts> = {
  name: 'status',
  summary: 'Show what runs where, and what waits',
  usage: ['stella status [<environment>]', 'stella status --server https://stella.example'],
  help: `
Per environment and application: release and digests that run, generation, the open run, and what waits with its
reasons; read from the verified evidence of this clone. Fetch first, to see the newest: git fetch.

With --server it also shows what the server says now: conditions, and what targets really run. A token for it is taken
from STELLA_TOKEN.

An environment where no rule asks a person is marked reconciler-trusted: what runs there rests on the server's word.

Example:
  stella status
  stella status prod -o json

Exit codes: 0 shown, 2 it could not be read.`,
  options: { server: { type: 'string', value: 'URL', description: 'Ask this server for conditions as well' }, ...EVIDENCE_OPTIONS, ...OUTPUT_OPTION },
  run,
};

async function run(context: CommandContext, parts: () => Promise<CloneParts>): Promise<ExitCode> {
  const [only = null, ...rest] = context.positionals;
  if (rest.length > 0) throw usageError('Name one environment, or none for all.', command);
  const { terminal } = context;
  const clone = await parts();
  const repository = await clone.openRepository(context);
  try {
    const decisions = new Map<string, PromotionDecisionPredicate & { readonly seq: number }>();
    const evidence = await requireEvidence(context, clone, repository, ({ record, after }) => {
      if (record.type !== 'promotion-decision') return;
      const { environment, application } = record.predicate;
      // What is said of an open run while another request waits is no decision about that request.
      if (appStateOf(after, environment, application).lastDecision?.seq === record.header.seq) decisions.set(`${environment}/${application}`, { ...record.predicate, seq: record.header.seq });
    });
    const note = await rewoundNote(repository, evidence);
    const status = statusOf(evidence, decisions, { only, now: context.now() });
    const model = note === null ? status : { ...status, warnings: [note, ...status.warnings] };
    if (only !== null && model.environments.length === 0) throw new CliError('EnvironmentUnknown', `No environment ${only} is in force, and nothing runs in one.`, 'See `stella status`.');
    const url = textOption(context.values, 'server');
    const server = url === undefined ? null : await terminal.during('Asking the server', askServer(url, context.environment['STELLA_TOKEN']));
    await terminal.result(server === null ? model : { ...model, server }, () => [textOf(model, terminal), ...(server === null ? [] : ['', serverText(server)])].join('\n'));
    return 0;
  } finally {
    await repository.close();
  }
}

function textOf(model: StatusModel, terminal: Terminal): string {
  const lines: string[] = [];
  for (const { environment, applications, reconcilerTrusted } of model.environments) {
    lines.push(`${terminal.paint('bold', environment)}${reconcilerTrusted ? '  [reconciler-trusted]' : ''}`);
    if (applications.length === 0) lines.push('  nothing was ever promoted here');
    for (const app of applications) lines.push(...applicationLines(app, environment, terminal));
  }
  if (model.stops.length > 0) lines.push('', terminal.paint('bold', 'stopped'), ...model.stops.map((stop) => `  ${terminal.paint(stop.holds ? 'red' : 'dim', plain(stopText(stop)))}`));
  lines.push('', ...model.warnings.map((w) => terminal.paint('yellow', `warning: ${w}`)));
  lines.push(terminal.paint('dim', `as of record ${model.records - 1}, ${model.asOf ?? 'never'}; log ${model.logId}`));
  return lines.join('\n');
}

function applicationLines(app: ApplicationStatus, environment: string, terminal: Terminal): readonly string[] {
    const head = `  ${app.application}  ${app.release ?? 'nothing'}  generation ${app.generation}${app.succeededAt === null ? '' : `  since ${app.succeededAt}`}${app.clean ? '' : '  [not clean]'}`;
  const lines = [head, ...app.components.map((c) => `      ${c.name}  ${c.digest}`)];
  if (app.lacking.length > 0) lines.push(`      ${terminal.paint('yellow', `not on ${app.lacking.join(', ')}`)}`);
  lines.push(...app.lines.map((line) => `      ${terminal.paint(colourOf(line), line.command === null ? line.text : `${line.text} ${line.command}`)}`));
  for (const debt of app.debts) lines.push(`      ${terminal.paint('red', `broken glass, not reviewed: ${debt.release ?? 'none'} (record ${debt.seq}, ${debt.reason})`)}; somebody other than ${debt.participants.join(', ')} runs: stella approve --review ${environment}/${app.application}`);
  if (app.waiting !== null) lines.push(...app.waiting.lines.map((line) => `        ${line}`));
  return lines.map((line) => line.split('\u001b').map((part, i) => (i === 0 ? plain(part) : part)).join('\u001b'));
}

const RED: ReadonlySet<ExplainLine['code']> = new Set(['Refused', 'RunFailed', 'FellBack', 'ExtensionFailed', 'NotClean']);
const YELLOW: ReadonlySet<ExplainLine['code']> = new Set(['Waiting', 'Deploying', 'Stopping', 'RunAborted']);

function colourOf({ code }: ExplainLine): 'red' | 'yellow' | 'dim' {
  return RED.has(code) ? 'red' : YELLOW.has(code) ? 'yellow' : 'dim';
}

type ServerAnswer = { readonly url: string; readonly conditions: readonly ShownCondition[]; readonly targets: readonly ShownTarget[] };
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

async function askServer(url: string, token: string | undefined): Promise<ServerAnswer> {
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

function serverText({ url, conditions, targets }: ServerAnswer): string {
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
