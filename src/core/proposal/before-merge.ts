import type { CommitId } from '../model/commit-id.ts';
import { hexOf } from '../model/digest.ts';
import type { ExplainLine } from '../decision/explain.ts';
import type { DecisionInput } from '../decision/types.ts';

/** As many as `stella approve` takes for a digest. */
const SHOWN_DIGITS = 12;

/**
 * The lines with commands that work while the target branch does not ask for it yet: what is approved is named by its digest; where nobody writes a
 * Promotion, by the commit.
 * @param commit what is not merged; null where it is
 */
export function beforeMerge(lines: readonly ExplainLine[], input: DecisionInput, commit: CommitId | null): readonly ExplainLine[] {
  return commit === null ? lines : lines.map((line) => ({ ...line, command: commandFor(line.command, input, commit) }));
}

function commandFor(command: string | null, { environment, application, promotionDigest, derived }: DecisionInput, commit: CommitId): string | null {
  const place = `${environment}/${application}`;
  const approve = `stella approve ${place}`;
  if (command === null || (command !== approve && !command.startsWith(`${approve} `))) return command;
  if (derived !== null) return `${command} --ref ${commit.slice(0, SHOWN_DIGITS)}`;
  return promotionDigest === null ? command : command.replace(place, hexOf(promotionDigest).slice(0, SHOWN_DIGITS));
}
