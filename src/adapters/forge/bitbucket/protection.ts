import { limits } from '../../../core/model/limits.ts';
import { type BranchProtection, ForgeError } from '../../../ports/forge.ts';
import { Fields } from '../answer.ts';
import { branchOf } from '../repository-name.ts';
import type { Collect } from './bitbucket-forge.ts';

type Restriction = { readonly id: number; readonly kind: string; /** Null where it goes by the kind of branch, which the restriction does not translate to names. */ readonly pattern: string | null; readonly pushers: readonly string[] };

/**
 * Restrictions of Bitbucket forbid to everybody but those whom they name. It asks for a number of passing builds and for none by name.
 * Source: Bitbucket Cloud REST API 2.0, "Branch restrictions".
 */
export async function protectionOf(collect: Collect, ref: string): Promise<BranchProtection> {
  const branch = branchOf(ref);
  const all = await restrictionsOf(collect);
  if (all === null) return { ref, forcePushBlocked: null, deletionBlocked: null, proposalRequired: null, requiredStatuses: null, pushers: null };
  const fitting = all.filter(({ pattern }) => pattern !== null && fitsPattern(pattern, branch));
  const unclear = new Set(all.filter(({ pattern }) => pattern === null).map(({ kind }) => kind));
  const isBlocked = (kind: string): boolean | null => (fitting.some((one) => one.kind === kind) ? true : unclear.has(kind) ? null : false);
  const pushes = fitting.filter(({ kind }) => kind === 'push');
  // Several restrictions of pushes: who is named by one is let through by it only.
  const pushers = pushes.length === 0 ? null : pushes.map((one) => one.pushers).reduce((some, others) => some.filter((name) => others.includes(name)));
  const mustPass = isBlocked('require_passing_builds_to_merge');
  return {
    ref, forcePushBlocked: isBlocked('force'), deletionBlocked: isBlocked('delete'),
    proposalRequired: pushers === null ? isBlocked('push') : pushers.length === 0, requiredStatuses: mustPass === false ? [] : null, pushers,
  };
}

/** Null where the token may not see them. */
async function restrictionsOf(collect: Collect): Promise<readonly Restriction[] | null> {
  try {
    const { values } = await collect('/branch-restrictions', {}, restrictionOf, ({ id }) => id, limits.forgeProposals);
    return values;
  } catch (error) {
    if (error instanceof ForgeError && error.code === 'Unauthorized') return null;
    throw error;
  }
}

function restrictionOf(value: unknown): Restriction {
  const restriction = new Fields(value, 'a branch restriction');
  const users = (restriction.listOrNull('users') ?? []).map((one) => new Fields(one, 'an account').textOrNull('uuid'));
  const groups = (restriction.listOrNull('groups') ?? []).map((one) => new Fields(one, 'a group').textOrNull('slug'));
  const byGlob = (restriction.textOrNull('branch_match_kind') ?? 'glob') === 'glob';
  return {
    id: restriction.number('id'), kind: restriction.text('kind'), pattern: byGlob ? restriction.text('pattern') : null,
    pushers: [...users, ...groups].filter((name): name is string => name !== null).sort(),
  };
}

/** Whether a pattern fits: `**` for any characters, `*` for any but a slash, `?` for one. */
export function fitsPattern(pattern: string, branch: string): boolean {
  // Rows of a table over the branch, so that no pattern makes it try ways again and again.
  let reachable = new Set<number>([0]);
  for (const piece of pattern.match(/\*\*|\*|\?|[^*?]/gsu) ?? []) {
    const next = new Set<number>();
    for (const at of reachable) for (const end of endsOf(piece, branch, at)) next.add(end);
    reachable = next;
  }
  return reachable.has(branch.length);
}

function endsOf(piece: string, branch: string, at: number): readonly number[] {
  if (piece === '?') return at < branch.length && branch[at] !== '/' ? [at + 1] : [];
  if (piece !== '*' && piece !== '**') return branch.startsWith(piece, at) ? [at + piece.length] : [];
  const slash = piece === '*' ? branch.indexOf('/', at) : -1;
  const last = slash < 0 ? branch.length : slash;
  return Array.from({ length: last - at + 1 }, (_, index) => at + index);
}
