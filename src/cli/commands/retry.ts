import { isPairName, splitPair } from '../../core/model/names.ts';
import { appStateOf, type AppState } from '../../core/evidence/log-state.ts';
import { askedModel, askedText, askFor } from '../ask-requests.ts';
import { EVIDENCE_OPTIONS, KEY_OPTION, type CloneParts } from '../clone.ts';
import { CliError, OUTPUT_OPTION, usageError, type Command, type CommandContext, type ExitCode } from '../command.ts';
import { BRANCH_OPTIONS } from '../propose-branch.ts';
import type { RequestDesk } from '../write-request.ts';

export const command: Command<CloneParts> = {
  name: 'retry',
  summary: 'Ask again for what failed',
  usage: ['stella retry <environment>/<application>'],
  help: `
A run that failed is not tried again by itself: nobody knows what it left behind. Once that is mended, this raises
spec.attempt of the Promotion, signs it as your request, and commits it on a branch, as \`stella promote\` does: pushed,
with a pull request where the clone names a forge; --here commits where you are. It goes through every gate again, and
takes its approvals anew.

Where nothing has failed it says what the promotion does instead: runs, waits, or runs already.

Example:
  stella retry prod/shop
  stella retry prod/shop --here

Exit codes: 0 asked, now or before; 1 there is nothing to try again; 2 error, and the message says what is there.`,
  options: { ...BRANCH_OPTIONS, ...KEY_OPTION, ...EVIDENCE_OPTIONS, ...OUTPUT_OPTION },
  run,
};

async function run(context: CommandContext, parts: () => Promise<CloneParts>): Promise<ExitCode> {
  const [name = '', ...rest] = context.positionals;
  if (!isPairName(name) || rest.length > 0) throw usageError('Name environment and application: stella retry prod/shop.', command);
  const [environment, application] = splitPair(name);
  const clone = await parts();
  const repository = await clone.openRepository(context);
  try {
    const asked = await askFor(context, clone, repository, {
      wanted: (desk) => {
        demandClosed(desk, environment, application);
        return Promise.resolve([{ mode: 'retry', environment, application, version: null }]);
      },
    });
    await context.terminal.result(askedModel(asked), () => askedText(asked));
    return 0;
  } finally {
    await repository.close();
  }
}

/** T22: what ended without success stays closed until the attempt rises. @throws CliError `NothingToRetry` */
function demandClosed({ evidence }: RequestDesk, environment: string, application: string): void {
  if (evidence === null) throw new CliError('LogMissing', 'This clone has no evidence, which knows what failed.', 'Fetch it: git fetch origin');
  const app = appStateOf(evidence.state, environment, application);
  if (app.closed !== null || (app.standing !== null && app.standing.closed !== null)) return;
  throw new CliError('NothingToRetry', `Nothing has failed in ${environment}/${application} that is closed: ${insteadOf(app)}.`, `See: stella explain ${environment}/${application}`, { exitCode: 1 });
}

function insteadOf({ openRun, lastDecision, lastOutcome, release }: AppState): string {
  if (openRun !== null) return `a run of ${openRun.release ?? 'a removal'} is open (record ${openRun.openedSeq}), and a failed step may still be tried again by its workflow`;
  if (lastDecision !== null && !lastDecision.ended && lastDecision.outcome !== 'allow') {
    return `${lastDecision.release ?? 'a removal'} ${lastDecision.outcome === 'refuse' ? 'is refused' : 'waits'} (record ${lastDecision.seq}), which another attempt does not change`;
  }
  if (lastOutcome !== null && lastOutcome.result === 'Succeeded') return `${release ?? 'its removal'} succeeded at ${lastOutcome.endedAt}`;
  return release === null ? 'nothing runs there' : `${release} runs there`;
}
