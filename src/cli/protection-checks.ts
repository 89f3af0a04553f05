import { type BranchProtection, type Forge, ForgeError } from '../ports/forge.ts';
import { type Check, fail, ok, warn } from './doctor-check.ts';
import { askForge } from './forge-setting.ts';

/** The status without which nothing should merge. */
const STATUS = 'stella/plan';
const SETTINGS = 'examples/protection/README.md shows the settings of each forge.';

/** Full names of the branches that the forge should protect; null where this clone does not know one. */
export type ProtectedBranches = { readonly target: string | null; readonly evidence: string | null };

/**
 * What protects the target branch and the evidence branch on the forge. Signatures decide what counts, whoever can push; protection keeps others from stalling the server
 * with a rewritten history, and keeps the log where everybody looks for it. What the forge does not tell this token is said as that, and never passed.
 * @throws CliError `Forge…` where the forge does not answer
 */
export async function protectionChecks(forge: Forge, { target, evidence }: ProtectedBranches): Promise<readonly Check[]> {
  const about = async (ref: string | null, role: string, look: (protection: BranchProtection) => readonly Check[]): Promise<readonly Check[]> => {
    if (ref === null) return [warn(`${role} on the forge`, 'cannot tell: this clone does not know the branch, or it lies in another repository', `Fetch the evidence branch, or look at the settings yourself. ${SETTINGS}`)];
    const protection = await protectionOrNull(forge, ref);
    return protection === null ? [warn(shortName(ref), 'the forge has no such branch yet', `Protect it before it is there, or when it is: ${SETTINGS}`)] : look(protection);
  };
  return [...(await about(target, 'target branch', targetChecks)), ...(await about(evidence, 'evidence branch', evidenceChecks))];
}

async function protectionOrNull(forge: Forge, ref: string): Promise<BranchProtection | null> {
  try {
    return await forge.protectionOf(ref);
  } catch (error) {
    if (error instanceof ForgeError && error.code === 'NotFound') return null;
    return askForge(Promise.reject(error));
  }
}

function shortName(ref: string): string {
  return ref.replace(/^refs\/heads\//, '');
}

function targetChecks(protection: BranchProtection): readonly Check[] {
  const { ref, proposalRequired, requiredStatuses } = protection;
  const branch = shortName(ref);
  const statuses = `${branch}: ${STATUS} required`;
  return [
    ...historyChecks(protection),
    requiredStatuses === null ? cannotTell(statuses)
    : requiredStatuses.includes(STATUS) ? ok(statuses, 'nothing merges without it')
    : fail(statuses, 'a pull request can merge before its plan is there, or when it says no', `Make the status ${STATUS} a condition of merging. ${SETTINGS}`),
    decided(`${branch}: pull requests only`, proposalRequired, ['changes come by pull request', 'whoever may write to the repository can push to it, past any plan'], warn, 'Let nobody push to it directly.'),
  ];
}

function evidenceChecks(protection: BranchProtection): readonly Check[] {
  return [...historyChecks(protection), pusherCheck(protection)];
}

function historyChecks({ ref, forcePushBlocked, deletionBlocked }: BranchProtection): readonly Check[] {
  const branch = shortName(ref);
  return [
    decided(`${branch}: no force-push`, forcePushBlocked, ['its history cannot be rewritten', 'its history can be rewritten, and a server that sees that stands still'], fail, 'Block force-pushes to it.'),
    decided(`${branch}: no deletion`, deletionBlocked, ['it cannot be deleted', 'it can be deleted'], fail, 'Block its deletion.'),
  ];
}

/** Only the server writes records; what others push there is no record, and stalls the server. */
function pusherCheck({ ref, pushers, proposalRequired }: BranchProtection): Check {
  const name = `${shortName(ref)}: only the server pushes`;
  if (pushers !== null && pushers.length === 1) return ok(name, `only ${pushers[0] ?? ''} may push; it should be the server's account`);
  if (pushers !== null && pushers.length > 1) return warn(name, `these may push: ${pushers.join(', ')}`, `Let the server's account push to it and nobody else. ${SETTINGS}`);
  if (pushers !== null || proposalRequired === true) return warn(name, 'nobody may push without a pull request, unless the forge has exceptions that it does not tell', `The server pushes its records directly: let its account pass. ${SETTINGS}`);
  return warn(name, 'cannot tell: whoever may write to the repository may push, or the forge does not say who may', `Let the server's account push to it and nobody else. ${SETTINGS}`);
}

function decided(name: string, value: boolean | null, [good, bad]: readonly [string, string], severity: typeof warn | typeof fail, remedy: string): Check {
  if (value === null) return cannotTell(name);
  return value ? ok(name, good) : severity(name, bad, `${remedy} ${SETTINGS}`);
}

function cannotTell(name: string): Check {
  return warn(name, 'cannot tell: the forge does not say, or not to this token', `Look at the settings of the branch yourself, or run this with a token that may see them. ${SETTINGS}`);
}
