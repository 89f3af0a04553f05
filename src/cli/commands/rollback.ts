import { formatInstant, parseInstant } from '../../core/model/instant.ts';
import { clauseSubject } from '../../core/decision/clauses.ts';
import { explainDecision, renderExplanation } from '../../core/decision/explain.ts';
import { allInForce, appStateOf, inForceOf, type AppState, type LogState } from '../../core/evidence/log-state.ts';
import { EVIDENCE_OPTIONS, KEY_OPTION, LAYOUT_OPTION, type CloneParts, type Evidence, type Repository } from '../clone.ts';
import { CliError, OUTPUT_OPTION, usageError, type Command, type CommandContext, type ExitCode } from '../command.ts';
import { planSubject, type PlannedSubject } from '../plan-subject.ts';
import { requireEvidence } from '../require-evidence.ts';
import { writeRequest } from './promote.ts';

export const command: Command<CloneParts> = {
  name: 'rollback',
  summary: 'Ask for what ran before',
  usage: ['stella rollback <environment> [<application>]'],
  help: `
Writes the Promotion of the release that ran before the present one, signs it as your request, and commits it. Then it
says which approvals that takes. A rollback is a promotion: freezes hold it, and it is approved like any other. Where
the environment has a \`rollback\` rule, that one applies for a while after the release was replaced, as long as what
runs is exactly what ran before, variables and files included.

Push the commit or open a pull request.

Example:
  stella rollback prod
  stella rollback prod shop --branch back-to-1.4.0

Exit codes: 0 written, 1 there is nothing to go back to, 2 error.`,
  options: {
    branch: { type: 'string', value: 'NAME', description: 'Make this branch and commit there' },
    'no-commit': { type: 'boolean', description: 'Only write the file' },
    ...KEY_OPTION, ...EVIDENCE_OPTIONS, ...LAYOUT_OPTION, ...OUTPUT_OPTION,
  },
  run,
};

async function run(context: CommandContext, parts: () => Promise<CloneParts>): Promise<ExitCode> {
  const [environment, named, ...rest] = context.positionals;
  if (environment === undefined || environment.includes('/') || rest.length > 0) throw usageError('Name the environment, and the application where there are several: stella rollback prod shop.', command);
  const clone = await parts();
  const repository = await clone.openRepository(context);
  try {
    const evidence = await requireEvidence(context, clone, repository);
    const app = appIn(evidence.state, environment, named);
    const { previous, application } = app;
    if (previous === null) {
      throw new CliError('NothingToGoBackTo', `The log knows of nothing that ran cleanly in ${environment}/${application} before ${app.release ?? 'what runs now'}.`, `Ask for a release by name: stella promote ${application}/<version> --to ${environment}`, { exitCode: 1 });
    }
    const written = await writeRequest(context, clone, repository, { mode: 'promote', environment, application, version: previous.release });
    const one = written.model.commit === null ? null : await planned({ context, clone, repository, evidence }, { environment, application });
    const model = { ...written.model, environment, application, from: app.release, to: previous.release, replacedAt: previous.replacedAt, eased: one?.built.input.mode === 'rollback', clauses: one?.built.input.clauses ?? [] };
    await context.terminal.result(model, () => [written.text, ...(one === null ? [] : ['', needsText(one, evidence.state)])].join('\n'));
    return 0;
  } finally {
    await repository.close();
  }
}

/** The application that is named, or the only one there. @throws CliError */
function appIn(state: LogState, environment: string, named: string | undefined): AppState {
  if (inForceOf(state, 'Environment', environment) === null) throw new CliError('EnvironmentUnknown', `No environment ${environment} is in force.`, `There are: ${allInForce(state, 'Environment').map((e) => e.metadata.name).join(', ')}.`);
  if (named !== undefined) return appStateOf(state, environment, named);
  const there = [...state.states.values()].filter((app) => app.environment === environment && app.release !== null);
  const [only, another] = there;
  if (only === undefined || another !== undefined) {
    throw new CliError('ApplicationMissing', only === undefined ? `Nothing runs in ${environment}.` : `Several applications run in ${environment}.`, `Name one: stella rollback ${environment} <application>`);
  }
  return only;
}

type Desk = { readonly context: CommandContext; readonly clone: CloneParts; readonly repository: Repository; readonly evidence: Evidence };

/** The request as the server will see it. */
async function planned({ context, clone, repository, evidence }: Desk, subject: { readonly environment: string; readonly application: string }): Promise<PlannedSubject> {
  const asOf = context.now().toISOString();
  const world = await clone.worldOf(repository, evidence, await clone.loadCandidate(repository, evidence, 'HEAD'), asOf);
  return planSubject(world, subject, clone.registryOf(context, repository), asOf);
}

function needsText({ built: { input }, decision }: PlannedSubject, state: LogState): string {
  const rule = inForceOf(state, 'Environment', input.environment)?.spec.rollback;
  const replacedAt = parseInstant(input.state.previous?.replacedAt ?? '');
  const until = rule === undefined || replacedAt === null ? null : formatInstant(replacedAt + rule.withinSeconds * 1000);
  const why = input.mode === 'rollback' ? `Eased, because it is exactly what ran before: approvals under this rule count until ${until ?? ''}.`
    : rule === undefined ? 'The environment has no rollback rule, so it takes full approvals.'
      : 'Full approvals: it is not exactly what ran before (look at variables and files of the environment), or its time has passed.';
  const clauses = input.clauses.map((c) => `  ${clauseSubject(c)}: ${c.people} ${c.people === 1 ? 'person' : 'people'}${c.roles.length === 0 ? '' : `, ${c.roles.map((r) => `${r.count} ${r.role}`).join(', ')}`}`);
  return [why, ...clauses, '', renderExplanation(explainDecision(decision, input))].join('\n');
}
