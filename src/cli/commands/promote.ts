import type { BreakGlass, Skippable } from '../../core/model/documents.ts';
import { parseInstant } from '../../core/model/instant.ts';
import { isPairName, splitPair } from '../../core/model/names.ts';
import { askedModel, askedText, askFor } from '../ask-requests.ts';
import { EVIDENCE_OPTIONS, KEY_OPTION, type CloneParts } from '../clone.ts';
import { flagOption, OUTPUT_OPTION, textOption, textOptions, usageError, type Command, type CommandContext, type ExitCode } from '../command.ts';
import { BRANCH_OPTIONS } from '../propose-branch.ts';
import type { Wanted } from '../write-request.ts';

export const command: Command<CloneParts> = {
  name: 'promote',
  summary: 'Ask for a release to run in an environment',
  usage: [
    'stella promote <application>/<version> --to <environment>', 'stella promote <environment>/<application> <version>', 'stella promote --absent <environment>/<application>',
    'stella promote --adopt <environment>/<application>', 'stella promote <application>/<version> --to <environment> --break-glass approvals --reason TEXT --expires TIME',
  ],
  help: `
Asks with a document: writes the Promotion, signs it as your request, and commits it, signed with the same key, on a
branch promote/<environment>/<application>-<version> from the tip of the branch that is reconciled. Pushes that branch,
and opens the pull request where the clone names a forge. Your working tree, and the branch you are on, stay as they
are. Doing it twice finds the branch and the pull request of the first time. Nothing is ever merged by it.

Editing this document is the promotion, reverting it is the rollback. Your signature lies in the document itself, so a
squash by a forge does not lose who asked. Who asks does not approve, unless the rules say so. What still waits in the
same place is superseded by a newer request, such as a hotfix; that is said before.

The forge stands in the clone's configuration, never in the repository: git config stella.forge github:acme/deploy (or
gitlab:, gitea:, bitbucket:), git config stella.forgeUrl for one of your own, and the token in STELLA_FORGE_TOKEN or
where git config stella.forgeTokenRef says. Without a forge the branch is pushed, and \`stella plan\` shows its plan.
In a clone without a remote, and with --here, it commits on the branch that you are on.

--absent asks that the application is removed from the environment, through the same gates.

--adopt is for a request whose author is not known, such as one that a bot or an unsigned commit made: you sign it as
it is, and answer for it as if you had asked. You cannot approve it then. A request that was made and ended before is
adopted as a new attempt.

--break-glass is for an emergency, where environment and trust root allow it: it skips what you list (approvals,
source) until --expires. Whoever approves signs the reason with it, and somebody else reviews it afterwards.

Example:
  stella promote shop/1.5.0 --to prod
  stella promote shop/1.5.0 --to prod --here
  stella promote --adopt prod/shop

Exit codes: 0 asked, now or before; 1 there is nothing to adopt; 2 error, and the message says what is there.`,
  options: {
    to: { type: 'string', value: 'NAME', description: 'The environment' },
    absent: { type: 'boolean', description: 'Ask for removal' },
    adopt: { type: 'boolean', description: 'Sign as yours a request whose author is not known' },
    retry: { type: 'boolean', description: 'The same as `stella retry`' },
    'break-glass': { type: 'string', multiple: true, value: 'GATE', description: 'Skip this in an emergency: approvals, source, window, dependency, concurrency or expression; may be given again' },
    reason: { type: 'string', value: 'TEXT', description: 'Why it cannot wait, with --break-glass' },
    expires: { type: 'string', value: 'TIME', description: 'Until when, with --break-glass: 2031-05-17T09:30:00Z' },
    ...BRANCH_OPTIONS, ...KEY_OPTION, ...EVIDENCE_OPTIONS, ...OUTPUT_OPTION,
  },
  run,
};

async function run(context: CommandContext, parts: () => Promise<CloneParts>): Promise<ExitCode> {
  const wanted = wantedIn(context);
  const clone = await parts();
  const repository = await clone.openRepository(context);
  try {
    const asked = await askFor(context, clone, repository, { wanted: () => Promise.resolve([wanted]) });
    await context.terminal.result(askedModel(asked), () => askedText(asked));
    return 0;
  } finally {
    await repository.close();
  }
}

/** Both orders that people try: what to where, or where with what. */
function wantedIn({ positionals, values }: CommandContext): Wanted {
  const [first = '', second, ...rest] = positionals;
  const to = textOption(values, 'to');
  const [isAbsent, isAdoption] = [flagOption(values, 'absent'), flagOption(values, 'adopt')];
  if (isAbsent || isAdoption) {
    if (breakGlassIn(values) !== undefined) throw usageError('Only the promotion of a release can break the glass.', command);
    if (isAbsent === isAdoption || !isPairName(first) || second !== undefined || to !== undefined || flagOption(values, 'retry')) throw usageError('Name environment and application, and one of --absent and --adopt: stella promote --adopt prod/shop.', command);
    const [environment, application] = splitPair(first);
    return { mode: isAbsent ? 'absent' : 'adopt', environment, application, version: null };
  }
  if (!isPairName(first) || rest.length > 0 || (to === undefined) === (second === undefined)) {
    throw usageError('Name a release and where it is to run: stella promote shop/1.5.0 --to prod.', command);
  }
  const [a, b] = splitPair(first);
  const wanted = to === undefined ? { environment: a, application: b, version: second ?? '' } : { environment: to, application: a, version: b };
  if (!isPairName(`${wanted.environment}/${wanted.version}`)) throw usageError('An environment and a version are small letters, digits, `.`, `_` and `-`.', command);
  const breakGlass = breakGlassIn(values);
  if (flagOption(values, 'retry')) {
    if (breakGlass !== undefined) throw usageError('--retry asks again for what is asked; it breaks no glass.', command);
    return { mode: 'retry', ...wanted };
  }
  return { mode: 'promote', ...wanted, ...(breakGlass === undefined ? {} : { breakGlass }) };
}

function breakGlassIn(values: CommandContext['values']): BreakGlass | undefined {
  const skip = textOptions(values, 'break-glass').flatMap((text) => text.split(',')).filter((gate) => gate !== '');
  const [reason, expires] = [textOption(values, 'reason'), textOption(values, 'expires')];
  if (skip.length === 0 && reason === undefined && expires === undefined) return undefined;
  const unknown = skip.find((gate) => gate !== 'approvals' && gate !== 'source');
  if (skip.length === 0 || unknown !== undefined || reason === undefined || parseInstant(expires ?? '') === null || expires === undefined) {
    throw usageError('Breaking the glass takes three things: --break-glass approvals (or source), --reason TEXT, and --expires 2031-05-17T09:30:00Z.', command);
  }
  return { skip: [...new Set(skip)].sort() as Skippable[], reason, expires };
}
