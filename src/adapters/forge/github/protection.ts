import { type BranchProtection, ForgeError } from '../../../ports/forge.ts';
import { Fields, listOf } from '../answer.ts';
import { type ForgeHttp, segment } from '../http-client.ts';
import { branchOf } from '../repository-name.ts';

/** What one source says; null where it does not say. */
type Said = Omit<BranchProtection, 'ref'>;

const NOTHING: Said = { forcePushBlocked: false, deletionBlocked: false, proposalRequired: false, requiredStatuses: [], pushers: null };
const UNKNOWN: Said = { forcePushBlocked: null, deletionBlocked: null, proposalRequired: null, requiredStatuses: null, pushers: null };

/**
 * What protects a branch: rules of rulesets, which everyone with read access sees, and the older branch protection, which only administrators see whole.
 * What either blocks is blocked; what neither does is open only if both were seen.
 */
export async function protectionOf(http: ForgeHttp, repository: string, ref: string): Promise<BranchProtection> {
  const branch = segment(branchOf(ref));
  const summary = new Fields((await http.get(`${repository}/branches/${branch}`)).body, 'a branch');
  const rules = await seen(async () => readRules((await http.get(`${repository}/rules/branches/${branch}`, { per_page: 100 })).body), NOTHING);
  const classic = summary.flag('protected') ? await seen(async () => readClassic((await http.get(`${repository}/branches/${branch}/protection`)).body), withoutRights(summary, rules)) : NOTHING;
  return {
    ref,
    forcePushBlocked: either(rules.forcePushBlocked, classic.forcePushBlocked),
    deletionBlocked: either(rules.deletionBlocked, classic.deletionBlocked),
    proposalRequired: either(rules.proposalRequired, classic.proposalRequired),
    requiredStatuses: rules.requiredStatuses === null || classic.requiredStatuses === null ? null : [...new Set([...rules.requiredStatuses, ...classic.requiredStatuses])].sort(),
    pushers: classic.pushers,
  };
}

/** What is read, or `absent` where there is nothing to be found; unknown where the token may not see it. */
async function seen(read: () => Promise<Said>, absent: Said): Promise<Said> {
  try {
    return await read();
  } catch (error) {
    if (error instanceof ForgeError && error.code === 'NotFound') return absent;
    if (error instanceof ForgeError && error.code === 'Unauthorized') return { ...UNKNOWN, requiredStatuses: absent.requiredStatuses };
    throw error;
  }
}

/**
 * A protection that is not found on a protected branch: rules alone protect it, or the token may not see more than the summary, which names the required statuses.
 * GitHub answers both with 404, so it is unknown, except where rules explain that the branch counts as protected and the summary knows of no older protection.
 */
function withoutRights(summary: Fields, rules: Said): Said {
  const protection = summary.objectOrNull('protection');
  const listed = protection?.objectOrNull('required_status_checks')?.listOrNull('contexts');
  const contexts = listed === null || listed === undefined ? null : texts(listed);
  const isExplained = protection?.flagOrNull('enabled') === false && rules.forcePushBlocked !== null;
  return isExplained ? NOTHING : { ...UNKNOWN, requiredStatuses: contexts };
}

function readRules(body: unknown): Said {
  const rules = listOf(body, 'the rules of a branch').map((rule) => new Fields(rule, 'a rule'));
  const has = (type: string): boolean => rules.some((rule) => rule.text('type') === type);
  const required = rules.filter((rule) => rule.text('type') === 'required_status_checks');
  const checks = required.flatMap((rule) => rule.objectOrNull('parameters')?.listOrNull('required_status_checks') ?? []);
  return {
    forcePushBlocked: has('non_fast_forward'), deletionBlocked: has('deletion'), proposalRequired: has('pull_request'),
    requiredStatuses: checks.map((check) => new Fields(check, 'a required status').text('context')),
    // Who may pass by a rule only administrators see.
    pushers: null,
  };
}

function readClassic(body: unknown): Said {
  const protection = new Fields(body, 'a branch protection');
  const isAllowed = (name: string): boolean => protection.objectOrNull(name)?.flag('enabled') ?? false;
  const statuses = protection.objectOrNull('required_status_checks')?.listOrNull('contexts') ?? [];
  return {
    forcePushBlocked: !isAllowed('allow_force_pushes'), deletionBlocked: !isAllowed('allow_deletions'),
    proposalRequired: protection.objectOrNull('required_pull_request_reviews') !== null, requiredStatuses: texts(statuses), pushers: pushersOf(protection.objectOrNull('restrictions')),
  };
}

/** Null where pushing is not restricted. */
function pushersOf(restrictions: Fields | null): readonly string[] | null {
  if (restrictions === null) return null;
  const named = (list: string, name: string): readonly string[] => (restrictions.listOrNull(list) ?? []).map((one) => new Fields(one, 'somebody who may push').text(name));
  return [...named('users', 'login'), ...named('teams', 'slug'), ...named('apps', 'slug')].sort();
}

function either(one: boolean | null, other: boolean | null): boolean | null {
  if (one === true || other === true) return true;
  return one === null || other === null ? null : false;
}

function texts(values: readonly unknown[]): readonly string[] {
  return values.filter((value) => typeof value === 'string');
}
