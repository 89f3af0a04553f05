import { setTimeout as sleep } from 'node:timers/promises';
import { plain } from '../core/model/plain-text.ts';
import { compareText, splitPair } from '../core/model/names.ts';
import type { DocumentOf } from '../core/model/documents.ts';
import { automaticPlaces } from '../core/decision/automatic.ts';
import { appStateOf } from '../core/evidence/log-state.ts';
import type { CloneParts, Evidence, Repository } from './clone.ts';
import { CliError, type CommandContext, type ExitCode } from './command.ts';
import { baseFor } from './propose-branch.ts';
import type { ApplicationStatus, StatusModel } from './status-model.ts';

export type Scope = { readonly environment: string | null; readonly application: string | null };
export type Until = 'deployed' | 'settled';
/** One reading of the status; `text` is what a terminal shows. */
export type Look = { readonly evidence: Evidence; readonly status: StatusModel; readonly model: object; readonly text: string };

type Watching = {
  readonly context: CommandContext; readonly clone: CloneParts; readonly repository: Repository; readonly scope: Scope;
  /** null: what lies here is watched. */
  readonly remote: string | null;
  readonly until: Until | null; readonly intervalMs: number; readonly timeoutMs: number | null;
  readonly look: () => Promise<Look>;
};

/**
 * Shows the status whenever it changes, until it is told to end, `until` is reached, or the time is over. Between two looks it fetches; while no ref
 * moves, nothing is read and nothing verified.
 * @throws CliError what a look throws
 */
export async function watchStatus(watching: Watching): Promise<ExitCode> {
  const { context, timeoutMs, intervalMs, until } = watching;
  const signal = context.stopSignal();
  const endsAt = timeoutMs === null ? Number.POSITIVE_INFINITY : context.now().getTime() + timeoutMs;
  const eye = new Eye(watching);
  for (;;) {
    const verdict = await eye.look();
    if (verdict !== null) return verdict;
    const left = endsAt - context.now().getTime();
    if (left <= 0) {
      context.terminal.note(`The time is over${until === null ? '' : `, and it is not ${until} yet`}.`);
      return until === null ? 0 : 1;
    }
    // Ctrl-C is how watching ends; where something was waited for, it has not been reached.
    if (!(await rest(Math.min(intervalMs, left), signal))) return until === null ? 0 : 1;
  }
}

async function rest(ms: number, signal: AbortSignal): Promise<boolean> {
  try {
    await sleep(ms, undefined, { signal });
    return true;
  } catch (error) {
    if (signal.aborted) return false;
    throw error;
  }
}

/** What was seen last, so that only what differs is read and shown. */
class Eye {
  readonly #watching: Watching;
  #refs = '';
  #seen: Look | null = null;
  #lines = new Map<string, string>();
  #drawn = '';
  #isAway = false;
  #isServerAway = false;

  constructor(watching: Watching) {
    this.#watching = watching;
  }

  /** @returns the exit code where watching ends */
  async look(): Promise<ExitCode | null> {
    const { repository, until, context } = this.#watching;
    await this.#fetch();
    const refs = (await repository.git.tryRun(['for-each-ref', '--format=%(objectname) %(refname)', 'refs/heads', 'refs/remotes'])) ?? '';
    const asksServer = context.values['server'] !== undefined;
    if (refs === this.#refs && this.#seen !== null && !asksServer) return null;
    const seen = await this.#lookAgain();
    if (seen === null) return null;
    this.#seen = seen;
    this.#refs = refs;
    this.#show(seen);
    return until === null ? null : this.#verdict(seen, until);
  }

  /** null while a server that was there before is away: that ends no watching. */
  async #lookAgain(): Promise<Look | null> {
    try {
      const seen = await this.#watching.look();
      this.#isServerAway = false;
      return seen;
    } catch (error) {
      if (this.#seen === null || !(error instanceof CliError) || error.code !== 'ServerUnreachable') throw error;
      if (!this.#isServerAway) this.#watching.context.terminal.note(`note: ${error.message} Trying again`);
      this.#isServerAway = true;
      return null;
    }
  }

  async #fetch(): Promise<void> {
    const { repository: { git }, remote, context } = this.#watching;
    if (remote === null) return;
    const fetched = await git.tryRun(['fetch', '--quiet', remote]);
    if (fetched === null && !this.#isAway) context.terminal.note(`note: ${remote} could not be asked for what is newest; trying again`);
    this.#isAway = fetched === null;
  }

  #show(seen: Look): void {
    const { context: { terminal, now } } = this.#watching;
    if (terminal.form === 'table' && terminal.streams.stdout.isTTY === true) {
      // A cursor at the top and an empty screen, then everything: what is gone leaves nothing behind.
      if (seen.text !== this.#drawn) terminal.streams.stdout.write(`\u001b[H\u001b[2J${seen.text}\n\n${terminal.paint('dim', 'Watching; Ctrl-C ends it.')}\n`);
      this.#drawn = seen.text;
      return;
    }
    for (const { environment, applications } of seen.status.environments) {
      for (const app of applications) {
        const subject = `${environment}/${app.application}`;
        const line = app.lines.map(({ text }) => text).join(' ');
        if (this.#lines.get(subject) === line) continue;
        this.#lines.set(subject, line);
        terminal.line(terminal.form === 'json' ? JSON.stringify({ at: now().toISOString(), subject, status: app }) : `${now().toISOString()} ${subject}: ${plain(line)}`);
      }
    }
  }

  async #verdict(seen: Look, until: Until): Promise<ExitCode | null> {
    const { clone, repository, scope, remote, context: { terminal } } = this.#watching;
    const { state } = seen.evidence;
    if (state.tip === null) return null;
    const tip = await baseFor(repository, state.tip.ref, remote);
    if (!(await repository.reader.isAncestor(tip, state.tip.commit))) return null;
    const { desired } = await clone.loadCommit(repository, state.tip.commit);
    const asked = [...desired.usable.Promotion.values()].map(({ document }) => document as unknown as DocumentOf<'Promotion'>).filter(({ metadata: { name } }) => isWithin(scope, name));
    const places = [...asked.map((promotion): Place => ({ name: promotion.metadata.name, wanted: promotion.spec.state === 'absent' ? null : (promotion.spec.release ?? null) })), ...automaticIn(seen, scope, asked)];
    if (places.length === 0) throw new CliError('NoPromotion', 'The target branch asks for nothing there, so there is nothing to wait for.', 'Merge the request first.');
    const standings = places.map((place) => ({ name: place.name, standing: standingOf(seen, place) })).sort((a, b) => compareText(a.name, b.name));
    const of = (...wanted: readonly Standing[]): readonly string[] => standings.filter(({ standing }) => wanted.includes(standing)).map(({ name }) => name);
    if (of('moving').length > 0) return null;
    if (until === 'settled' || of('deployed').length === standings.length) return 0;
    const lost = of('failed', 'refused');
    if (lost.length === 0) return null;
    terminal.note(`It will not be deployed as it is asked for: ${lost.map((name) => `${name} ${of('failed').includes(name) ? 'failed' : 'is refused'}`).join(', ')}. See: stella explain ${lost[0] ?? ''}`);
    return 1;
  }
}

function isWithin({ environment, application }: Scope, name: string): boolean {
  const [place, app] = splitPair(name);
  return (environment === null || environment === place) && (application === null || application === app);
}

/** What is wanted where; null for a removal. */
type Place = { readonly name: string; readonly wanted: string | null };

/** Where an environment asks by itself, and nobody wrote a Promotion: what was last decided about is what is wanted. */
function automaticIn({ evidence: { state } }: Look, scope: Scope, asked: readonly DocumentOf<'Promotion'>[]): readonly Place[] {
  const written = new Set(asked.map(({ metadata }) => metadata.name));
  return automaticPlaces(state).flatMap(({ environment, application }) => {
    const name = `${environment}/${application}`;
    const last = appStateOf(state, environment, application).lastDecision;
    return last === null || written.has(name) || !isWithin(scope, name) ? [] : [{ name, wanted: last.release }];
  });
}

type Standing = 'deployed' | 'moving' | 'waiting' | 'refused' | 'failed';

/** What became of a request of the newest commit, once that is judged. */
function standingOf({ status, evidence: { state } }: Look, { name, wanted }: Place): Standing {
  const [environment, application] = splitPair(name);
  const shown = status.environments.find((one) => one.environment === environment)?.applications.find((one: ApplicationStatus) => one.application === application);
  const app = appStateOf(state, environment, application);
  if (app.openRun !== null) return 'moving';
  // T22: what failed is refused until the attempt rises.
  if (shown?.waiting?.reasons.includes('Closed') === true) return 'failed';
  if (shown?.waiting != null) return shown.waiting.outcome === 'refuse' ? 'refused' : 'waiting';
  if (app.closed !== null || app.standing?.closed != null) return 'failed';
  if (app.release === wanted && app.clean && (shown?.lacking.length ?? 0) === 0) return 'deployed';
  return app.release === wanted ? 'waiting' : 'moving';
}
