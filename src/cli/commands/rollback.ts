import { formatInstant, parseInstant } from '../../core/model/instant.ts';
import { compareText, isPairName, splitPair } from '../../core/model/names.ts';
import { clauseSubject } from '../../core/decision/clauses.ts';
import { explainDecision, renderExplanation } from '../../core/decision/explain.ts';
import { allInForce, appStateOf, inForceOf, type AppState, type LogState } from '../../core/evidence/log-state.ts';
import { askedModel, askedText, askFor } from '../ask-requests.ts';
import { EVIDENCE_OPTIONS, KEY_OPTION, LAYOUT_OPTION, type CloneParts, type Evidence, type Repository } from '../clone.ts';
import { CliError, OUTPUT_OPTION, usageError, type Command, type CommandContext, type ExitCode } from '../command.ts';
import { planSubject, type PlannedSubject } from '../plan-subject.ts';
import { BRANCH_OPTIONS } from '../propose-branch.ts';
import type { Wanted } from '../write-request.ts';

export const command: Command<CloneParts> = {
  name: 'rollback',
  summary: 'Ask for what ran before',
  usage: ['stella rollback <environment>', 'stella rollback <environment>/<application>'],
  help: `
Writes the Promotion of the release that ran before the present one, signs it as your request, and commits it on a
branch, as \`stella promote\` does: pushed, with a pull request where the clone names a forge; --here commits where you
are. Without an application it goes back with each one of the environment of which something ran before, in one
commit. Then it says which approvals that takes.

A rollback is a promotion: freezes hold it, and it is approved like any other. Where the environment has a \`rollback\`
rule, that one applies for a while after the release was replaced, as long as what runs is exactly what ran before,
variables and files included.

Example:
  stella rollback prod/shop
  stella rollback prod --branch back-to-yesterday

Exit codes: 0 asked, 1 there is nothing to go back to, 2 error, and the message says what is there.`,
  options: { ...BRANCH_OPTIONS, ...KEY_OPTION, ...EVIDENCE_OPTIONS, ...LAYOUT_OPTION, ...OUTPUT_OPTION },
  run,
};

async function run(context: CommandContext, parts: () => Promise<CloneParts>): Promise<ExitCode> {
  const { environment, named } = namedIn(context);
  const clone = await parts();
  const repository = await clone.openRepository(context);
  try {
    const found: { backs: readonly Back[]; staying: readonly string[] } = { backs: [], staying: [] };
    const asked = await askFor(context, clone, repository, {
      wanted: ({ evidence }) => {
        if (evidence === null) throw new CliError('LogMissing', 'This clone has no evidence, which knows what ran before.', 'Fetch it: git fetch origin');
        Object.assign(found, backsIn(evidence.state, environment, named));
        return Promise.resolve(found.backs.map(({ app, release }): Wanted => ({ mode: 'promote', environment, application: app.application, version: release })));
      },
      branch: (requests) => (requests.length === 1 ? null : `promote/${environment}/rollback`),
    });
    const { evidence } = asked.desk;
    const needs: Needs[] = [];
    for (const back of found.backs) {
      const one = asked.commit === null || evidence === null ? null : await planned({ context, clone, repository, evidence, commit: asked.commit }, { environment, application: back.app.application });
      needs.push({ model: modelOf(back, one), text: evidence === null ? '' : textOf(back, one, evidence.state) });
    }
    const [first, ...others] = needs.map(({ model }) => model);
    const model = { ...askedModel(asked), environment, ...first, ...(others.length === 0 ? {} : { others }), staying: found.staying };
    const staying = found.staying.length === 0 ? [] : ['', `Nothing ran before in ${found.staying.join(', ')}: that stays.`];
    await context.terminal.result(model, () => [...needs.map(({ text }) => text), ...staying, '', askedText(asked)].join('\n'));
    return 0;
  } finally {
    await repository.close();
  }
}

function namedIn({ positionals }: CommandContext): { readonly environment: string; readonly named: string | null } {
  const [first = '', second, ...rest] = positionals;
  const isPair = isPairName(first);
  if (first === '' || rest.length > 0 || (isPair && second !== undefined) || !isPairName(isPair ? first : `${first}/${second ?? 'x'}`)) {
    throw usageError('Name the environment, or one application of it: stella rollback prod/shop.', command);
  }
  const [environment, application] = isPair ? splitPair(first) : [first, second ?? null];
  return { environment, named: application };
}

type Back = { readonly app: AppState; /** What it goes back to. */ readonly release: string; readonly replacedAt: string };

/** @throws CliError `EnvironmentUnknown`, `NothingToGoBackTo` */
function backsIn(state: LogState, environment: string, named: string | null): { readonly backs: readonly Back[]; readonly staying: readonly string[] } {
  if (inForceOf(state, 'Environment', environment) === null) throw new CliError('EnvironmentUnknown', `No environment ${environment} is in force.`, `There are: ${allInForce(state, 'Environment').map((e) => e.metadata.name).join(', ')}.`);
  const there = [...state.states.values()].filter((app) => app.environment === environment && app.release !== null);
  const apps = named === null ? there.sort((a, b) => compareText(a.application, b.application)) : [appStateOf(state, environment, named)];
  const backs = apps.flatMap((app) => (app.previous === null ? [] : [{ app, release: app.previous.release, replacedAt: app.previous.replacedAt }]));
  if (backs.length > 0) return { backs, staying: apps.filter(({ previous }) => previous === null).map(({ application }) => `${environment}/${application}`) };
  const [only] = apps;
  const what = only === undefined ? `Nothing runs in ${environment}.` : apps.length === 1 ? `The log knows of nothing that ran cleanly in ${environment}/${only.application} before ${only.release ?? 'what runs now'}.` : `The log knows of nothing that ran cleanly before what runs in ${environment} now.`;
  throw new CliError('NothingToGoBackTo', what, `Ask for a release by name: stella promote ${only?.application ?? '<application>'}/<version> --to ${environment}`, { exitCode: 1 });
}

type Needs = { readonly model: object; readonly text: string };
type Desk = { readonly context: CommandContext; readonly clone: CloneParts; readonly repository: Repository; readonly evidence: Evidence; readonly commit: string };

/** The request as the server will see it. */
async function planned({ context, clone, repository, evidence, commit }: Desk, subject: { readonly environment: string; readonly application: string }): Promise<PlannedSubject> {
  const asOf = context.now().toISOString();
  const world = await clone.worldOf(repository, evidence, await clone.loadCandidate(repository, evidence, commit), asOf);
  return planSubject(world, subject, clone.registryOf(context, repository), asOf);
}

function modelOf({ app, release, replacedAt }: Back, one: PlannedSubject | null): object {
  return { application: app.application, from: app.release, to: release, replacedAt, eased: one?.built.input.mode === 'rollback', clauses: one?.built.input.clauses ?? [] };
}

function textOf({ app, release, replacedAt }: Back, one: PlannedSubject | null, state: LogState): string {
  const head = `${app.environment}/${app.application} goes back from ${app.release ?? 'nothing'} to ${release}, which ran until ${replacedAt}.`;
  return one === null ? head : `${head}\n${needsText(one, state)}\n`;
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
