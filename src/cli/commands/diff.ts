import { plain } from '../../core/model/plain-text.ts';
import { versionWords } from '../../core/proposal/plan-words.ts';
import { EVIDENCE_OPTIONS, type CloneParts } from '../clone.ts';
import { OUTPUT_OPTION, usageError, type Command, type CommandContext, type ExitCode } from '../command.ts';
import { comparePlaces, placeNamed, type ApplicationDifference, type DiffWorld } from '../diff-model.ts';
import { requireEvidence } from '../require-evidence.ts';

export const command: Command<CloneParts> = {
  name: 'diff',
  summary: 'Show what differs between environments or releases',
  usage: ['stella diff <environment>[@WHEN] <environment>[@WHEN]', 'stella diff <application>/<version> <application>/<version>'],
  help: `
Compares what runs in two environments, in one environment at two times, or what two releases bring: components with
tag and digest, files, variables, references of secrets, and targets. From this clone and its evidence branch; nothing
is asked of a server. <environment>/<application> compares one application. @WHEN is a moment (@2026-11-01T08:00:00Z)
or a record of the log (@120). Targets of two environments are named, and are no difference.

Example:
  stella diff staging prod
  stella diff shop/1.4.0 shop/1.5.0
  stella diff prod/shop@2026-11-01T08:00:00Z prod/shop

Exit codes: 0 the same, 1 something differs, 2 they cannot be compared.`,
  options: { ...EVIDENCE_OPTIONS, ...OUTPUT_OPTION },
  run,
};

async function run(context: CommandContext, parts: () => Promise<CloneParts>): Promise<ExitCode> {
  const { positionals: [from, to, ...rest], terminal } = context;
  if (from === undefined || to === undefined || rest.length > 0) throw usageError('Name two environments or two releases: staging prod.', command);
  const clone = await parts();
  const repository = await clone.openRepository(context);
  try {
    const isPast = from.includes('@') || to.includes('@');
    const states: DiffWorld['states'][number][] = [];
    const { state, artifact } = await requireEvidence(context, clone, repository, isPast ? ({ record: { header }, after }) => { states.push({ seq: header.seq, asOf: header.asOf, state: after }); } : undefined);
    const { desired } = await clone.loadCommit(repository, await clone.targetTip(repository, state));
    const world = { state, states, desired, artifact };
    const difference = comparePlaces(world, placeNamed(world, from), placeNamed(world, to));
    await terminal.result(difference, () => {
      const verdict = difference.isSame ? terminal.paint('green', 'the same') : terminal.paint('yellow', 'they differ');
      return [...difference.applications.map(applicationText), `${plain(from)} and ${plain(to)}: ${verdict}`].join('\n');
    });
    return difference.isSame ? 0 : 1;
  } finally {
    await repository.close();
  }
}

function applicationText({ application, from, to, components, files, variables, secrets, targets, isSame }: ApplicationDifference): string {
  const rows = [
    `${application}: ${from ?? 'nothing'} ${isSame ? '=' : '→'} ${to ?? 'nothing'}`,
    ...components.filter(({ change }) => change !== 'unchanged').map((one) => `  component ${one.name}: ${versionWords(one.from, false)} → ${versionWords(one.to, false)}`),
    ...variables.map((one) => `  variable ${one.name}: ${one.from ?? 'none'} → ${one.to ?? 'none'}`), ...secrets.map((one) => `  secret ${one.name}: ${one.from ?? 'none'} → ${one.to ?? 'none'}`),
    ...(targets.added.length + targets.removed.length === 0 ? [] : [`  targets: ${targets.removed.join(', ') || 'none'} → ${targets.added.join(', ') || 'none'}`]),
  ].map(plain);
  const changed = files.filter(({ change }) => change !== 'unchanged').flatMap(({ path, change, diff }) => [plain(`  file ${path} ${change}`), ...(diff === null || diff === '' ? [] : diff.split('\n').map((line) => `    ${line.split('\t').map(plain).join('\t')}`))]);
  return [...rows, ...changed].join('\n');
}
