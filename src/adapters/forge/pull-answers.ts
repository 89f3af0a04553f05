import type { ForgeComment } from '../../ports/forge.ts';
import { Fields } from './answer.ts';

// GitHub words these, and Gitea words them alike.

/** When it was merged; null for one that was closed without. */
export function mergedAtOf(value: unknown): string | null {
  return new Fields(value, 'a pull request').instantOrNull('merged_at');
}

export function readComment(value: unknown): ForgeComment {
  const comment = new Fields(value, 'a comment');
  return { id: String(comment.number('id')), author: loginIn(comment), body: comment.textOrNull('body') ?? '', createdAt: comment.instant('created_at') };
}

/** The account of a deleted user is null, which is shown as `ghost`. */
export function loginIn(fields: Fields): string {
  return fields.objectOrNull('user')?.text('login') ?? 'ghost';
}
