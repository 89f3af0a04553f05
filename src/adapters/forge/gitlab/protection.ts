import { limits } from '../../../core/model/limits.ts';
import { type BranchProtection, ForgeError } from '../../../ports/forge.ts';
import { Fields, listOf } from '../answer.ts';
import type { ForgeHttp } from '../http-client.ts';
import { collectPages } from '../pages.ts';
import { branchOf } from '../repository-name.ts';

const PAGE = 100;
/** "No one" among GitLab's access levels. */
const NOBODY = 0;

type Rule = { readonly name: string; readonly allowsForcePush: boolean; readonly pushers: readonly string[] };

/**
 * Where several rules fit a branch, the one that allows more wins, as in GitLab. A protected branch cannot be deleted by a push.
 * Source: GitLab REST API, "Protected branches" and "Projects".
 */
export async function protectionOf(http: ForgeHttp, project: string, ref: string): Promise<BranchProtection> {
  const branch = branchOf(ref);
  const rules = await rulesOf(http, project);
  const requiredStatuses = await requiredBy(http, project);
  if (rules === null) return { ref, forcePushBlocked: null, deletionBlocked: null, proposalRequired: null, requiredStatuses, pushers: null };
  const fitting = rules.filter(({ name }) => fitsBranch(name, branch));
  if (fitting.length === 0) return { ref, forcePushBlocked: false, deletionBlocked: false, proposalRequired: false, requiredStatuses, pushers: null };
  const pushers = [...new Set(fitting.flatMap((rule) => rule.pushers))].sort();
  return { ref, forcePushBlocked: fitting.every((rule) => !rule.allowsForcePush), deletionBlocked: true, proposalRequired: pushers.length === 0, requiredStatuses, pushers };
}

/** Null where the token may not see them. */
async function rulesOf(http: ForgeHttp, project: string): Promise<readonly Rule[] | null> {
  try {
    const { values } = await collectPages({
      limit: limits.forgeProposals,
      read: async (page) => {
        const { body } = await http.get(`${project}/protected_branches`, { per_page: PAGE, page });
        const items = listOf(body, 'the protected branches');
        return { items, hasMore: items.length === PAGE };
      },
      take: ruleOf,
      idOf: ({ name }) => name,
    });
    return values;
  } catch (error) {
    if (error instanceof ForgeError && error.code === 'Unauthorized') return null;
    throw error;
  }
}

function ruleOf(value: unknown): Rule {
  const rule = new Fields(value, 'a protected branch');
  const pushers = rule.list('push_access_levels').map((level) => new Fields(level, 'an access level')).filter((level) => !allowsNobody(level));
  return { name: rule.text('name'), allowsForcePush: rule.flag('allow_force_push'), pushers: pushers.map((level) => level.text('access_level_description')) };
}

/** `access_level` is null where a user, group or deploy key is named. */
function allowsNobody(level: Fields): boolean {
  const named = ['user_id', 'group_id', 'deploy_key_id'].some((name) => level.numberOrNull(name) !== null);
  return !named && level.countOrNull('access_level') === NOBODY;
}

/**
 * Statuses that GitLab asks for. It asks for none by name: where pipelines must succeed, a status that was set is part of its pipeline, but whether one has to be
 * there GitLab does not say.
 */
async function requiredBy(http: ForgeHttp, project: string): Promise<readonly string[] | null> {
  const { body } = await http.get(project);
  const settings = new Fields(body, 'a project').flagOrNull('only_allow_merge_if_pipeline_succeeds');
  return settings === false ? [] : null;
}

/** Whether a rule's name fits: `*` stands for any characters. */
export function fitsBranch(name: string, branch: string): boolean {
  const parts = name.split('*');
  const [first = '', ...rest] = parts;
  if (rest.length === 0) return name === branch;
  const last = rest.pop() ?? '';
  if (!branch.startsWith(first) || !branch.endsWith(last) || branch.length < first.length + last.length) return false;
  // Each part at the first place where it fits: if any way fits, this one does, without trying others.
  let at = first.length;
  for (const part of rest) {
    const found = branch.indexOf(part, at);
    if (found < 0 || found + part.length > branch.length - last.length) return false;
    at = found + part.length;
  }
  return true;
}
