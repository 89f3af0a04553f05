import type { ExplainLine } from '../core/decision/explain.ts';
import { plain } from '../core/model/plain-text.ts';
import type { ApplicationStatus, StatusModel } from './status-model.ts';
import { stopText } from './stop-view.ts';
import type { Terminal } from './terminal.ts';

/** The status as people read it. */
export function statusText(model: StatusModel, terminal: Terminal): string {
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
