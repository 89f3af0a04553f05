import { CliError } from './command.ts';
import { plain } from '../core/model/plain-text.ts';

const FILES_SHOWN = 20;

/** A candidate and the target branch both changed these files, so nothing is planned (T18). */
export class CandidateConflict extends CliError {
  readonly files: readonly string[];

  constructor(commit: string, tip: string, files: readonly string[]) {
    const more = files.length > FILES_SHOWN ? ` and ${files.length - FILES_SHOWN} more` : '';
    super(
      'Conflict', `${commit.slice(0, 12)} and ${tip.slice(0, 12)}, the tip of the target branch, both changed: ${files.slice(0, FILES_SHOWN).map(plain).join(', ')}${more}. Nothing is planned.`,
      'Merge or rebase, so that one commit says what these files hold.', { exitCode: 1 },
    );
    this.files = files;
  }
}
