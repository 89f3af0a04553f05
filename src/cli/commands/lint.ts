import { formatDiagnostic } from '../../core/desired/diagnostic.ts';
import { diagnose } from '../../core/proposal/diagnose.ts';
import { KINDS } from '../../core/model/documents.ts';
import { REF_OPTION, type CloneParts } from '../clone.ts';
import { OUTPUT_OPTION, textOption, type Command, type CommandContext, type ExitCode } from '../command.ts';
import { plain } from '../../core/model/plain-text.ts';

export const command: Command<CloneParts> = {
  name: 'lint',
  summary: 'Check the declarations',
  usage: ['stella lint [--ref REF]'],
  help: `
Reads every YAML file of the working tree, committed or not, and says what is wrong with it: fields that do not
exist, names that lead nowhere, keys that cannot be read, thresholds that nobody can meet. Each finding names
file, line and column, and what to do. Needs neither a server nor evidence nor a pin.

Example:
  stella lint
  stella lint --ref origin/main

Exit codes: 0 nothing wrong (warnings may be), 1 something is wrong, 2 it could not be checked.`,
  options: { ref: { ...REF_OPTION.ref, description: 'Check this commit instead of the working tree' }, ...OUTPUT_OPTION },
  run,
};

async function run(context: CommandContext, parts: () => Promise<CloneParts>): Promise<ExitCode> {
  const { terminal } = context;
  const clone = await parts();
  const repository = await clone.openRepository(context);
  try {
    const ref = textOption(context.values, 'ref') ?? (repository.isBare ? 'HEAD' : undefined);
    const loading = ref === undefined ? clone.loadWorktree(repository) : clone.loadCommit(repository, ref).then((loaded) => loaded.desired);
    const desired = await terminal.during('Reading the declarations', loading);
    const found = diagnose(desired);
    const documents = KINDS.reduce((sum, kind) => sum + desired.usable[kind].size, 0);
    const errors = found.filter((d) => d.severity === 'error').length;
    await terminal.result({ ok: errors === 0, documents, diagnostics: found }, () => {
      const lines = found.map((d) => plain(formatDiagnostic(d)));
      const warnings = found.length - errors;
      const verdict = errors > 0 ? terminal.paint('red', `${errors} ${errors === 1 ? 'error' : 'errors'}`) : terminal.paint('green', 'no errors');
      return [...lines, `${documents} documents: ${verdict}${warnings > 0 ? `, ${warnings} ${warnings === 1 ? 'warning' : 'warnings'}` : ''}`].join('\n');
    });
    return errors > 0 ? 1 : 0;
  } finally {
    await repository.close();
  }
}
