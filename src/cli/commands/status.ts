import { appStateOf } from '../../core/evidence/log-state.ts';
import type { PromotionDecisionPredicate } from '../../core/evidence/records.ts';
import { isPairName, isSegment, splitPair } from '../../core/model/names.ts';
import { askServer, serverText } from '../ask-server.ts';
import { EVIDENCE_OPTIONS, type CloneParts, type Repository } from '../clone.ts';
import { CliError, flagOption, OUTPUT_OPTION, textOption, usageError, type Command, type CommandContext, type ExitCode } from '../command.ts';
import { rewoundNote } from '../rewound-note.ts';
import { requireEvidence } from '../require-evidence.ts';
import { statusOf, type StatusModel } from '../status-model.ts';
import { statusText } from '../status-text.ts';
import { watchStatus, type Look, type Scope, type Until } from '../watch-status.ts';

export const command: Command<CloneParts> = {
  name: 'status',
  summary: 'Show what runs where, and what waits',
  usage: ['stella status [<environment>[/<application>]]', 'stella status [<environment>[/<application>]] --watch [--until deployed|settled] [--timeout TIME]', 'stella status --server https://stella.example'],
  help: `
Per environment and application: release and digests that run, generation, the open run, and what waits with its
reasons; read from the verified evidence of this clone. Fetch first, to see the newest: git fetch.

With --server it also shows what the server says now: conditions, and what targets really run. A token for it is taken
from STELLA_TOKEN.

--watch fetches every few seconds and shows what changes: on a terminal it draws the status again, elsewhere it prints a
line for each change (with -o json an object for each). Ctrl-C ends it. Where nothing has changed, nothing is read.

--until is for pipelines, after the merge. deployed: everything that the target branch asks for there by now runs.
settled: the server has judged the newest commit of it, and no run is open; what waits, waits for people or time.

An environment where no rule asks a person is marked reconciler-trusted: what runs there rests on the server's word.

Example:
  stella status
  stella status prod -o json
  stella status prod/shop --until deployed --timeout 30m

Exit codes: 0 shown, or --until is reached; 1 it failed, was refused, or --timeout is over; 2 it could not be read.`,
  options: {
    watch: { type: 'boolean', description: 'Go on, and show what changes' },
    until: { type: 'string', value: 'deployed|settled', description: 'Watch until then' },
    timeout: { type: 'string', value: 'TIME', description: 'Watch no longer: 90s, 30m, 2h' },
    interval: { type: 'string', value: 'TIME', description: 'Look this often (default: 5s)' },
    server: { type: 'string', value: 'URL', description: 'Ask this server for conditions as well' },
    ...EVIDENCE_OPTIONS, ...OUTPUT_OPTION,
  },
  run,
};

type Desk = { readonly context: CommandContext; readonly clone: CloneParts; readonly repository: Repository; readonly scope: Scope };

async function run(context: CommandContext, parts: () => Promise<CloneParts>): Promise<ExitCode> {
  const scope = scopeIn(context);
  const watching = watchIn(context);
  const clone = await parts();
  const repository = await clone.openRepository(context);
  try {
    const desk = { context, clone, repository, scope };
    if (watching === null) {
      const { model, text } = await look(desk);
      await context.terminal.result(model, () => text);
      return 0;
    }
    const remote = (await repository.git.tryRun(['remote', 'get-url', '--', 'origin'])) === null ? null : 'origin';
    return await watchStatus({ context, clone, repository, scope, remote, ...watching, look: () => look(desk) });
  } finally {
    await repository.close();
  }
}

function scopeIn({ positionals }: CommandContext): Scope {
  const [only, ...rest] = positionals;
  if (rest.length > 0 || (only !== undefined && !isSegment(only) && !isPairName(only))) throw usageError('Name one environment, one place such as prod/shop, or none for all.', command);
  if (only === undefined) return { environment: null, application: null };
  const [environment, application] = isPairName(only) ? splitPair(only) : [only, null];
  return { environment, application };
}

function watchIn({ values }: CommandContext): { readonly until: Until | null; readonly intervalMs: number; readonly timeoutMs: number | null } | null {
  const until = textOption(values, 'until');
  if (until !== undefined && until !== 'deployed' && until !== 'settled') throw usageError(`--until ${until} is nothing that can be waited for; use deployed or settled.`, command);
  const isWatching = flagOption(values, 'watch') || until !== undefined;
  if (!isWatching && (values['timeout'] !== undefined || values['interval'] !== undefined)) throw usageError('--timeout and --interval go with --watch or --until.', command);
  if (!isWatching) return null;
  if (textOption(values, 'evidence') !== undefined || textOption(values, 'output') === 'yaml') throw usageError('--watch looks at the evidence of this clone, and prints a table or JSON.', command);
  return { until: until ?? null, intervalMs: durationIn(values, 'interval') ?? 5_000, timeoutMs: durationIn(values, 'timeout') };
}

/** @returns milliseconds; null where it was not given */
function durationIn(values: CommandContext['values'], name: string): number | null {
  const text = textOption(values, name);
  if (text === undefined) return null;
  const [, number = '', unit = 's'] = /^(\d{1,6})(s|m|h)?$/.exec(text) ?? [];
  const ms = Number(number) * { s: 1_000, m: 60_000, h: 3_600_000 }[unit as 's' | 'm' | 'h'];
  if (number === '' || ms < 1_000 || ms > LONGEST_MS) throw usageError(`--${name} ${text} is no time from 1s to 24h; write it as 90s, 30m or 2h.`, command);
  return ms;
}

const LONGEST_MS = 24 * 3_600_000;

async function look({ context, clone, repository, scope }: Desk): Promise<Look> {
  const { terminal } = context;
  const decisions = new Map<string, PromotionDecisionPredicate & { readonly seq: number }>();
  const evidence = await requireEvidence(context, clone, repository, ({ record, after }) => {
    if (record.type !== 'promotion-decision') return;
    const { environment, application } = record.predicate;
    // What is said of an open run while another request waits is no decision about that request.
    if (appStateOf(after, environment, application).lastDecision?.seq === record.header.seq) decisions.set(`${environment}/${application}`, { ...record.predicate, seq: record.header.seq });
  });
  const note = await rewoundNote(repository, evidence);
  const whole = statusOf(evidence, decisions, { only: scope.environment, now: context.now() });
  if (scope.environment !== null && whole.environments.length === 0) throw new CliError('EnvironmentUnknown', `No environment ${scope.environment} is in force, and nothing runs in one.`, 'See `stella status`.');
  const status = within(whole, scope);
  const model = note === null ? status : { ...status, warnings: [note, ...status.warnings] };
  const url = textOption(context.values, 'server');
  const server = url === undefined ? null : await terminal.during('Asking the server', askServer(url, context.environment['STELLA_TOKEN']));
  return { evidence, status: model, model: server === null ? model : { ...model, server }, text: [statusText(model, terminal), ...(server === null ? [] : ['', serverText(server)])].join('\n') };
}

function within(status: StatusModel, { application }: Scope): StatusModel {
  if (application === null) return status;
  return { ...status, environments: status.environments.map((one) => ({ ...one, applications: one.applications.filter((app) => app.application === application) })) };
}
