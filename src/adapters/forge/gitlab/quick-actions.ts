/**
 * A text in which GitLab finds no command. A line of a comment that begins with `/merge` or `/close` is one, carried out with the rights of the account that writes it, and
 * what GitLab takes for code is not quite what Markdown takes for it: with a fence of four backticks a proposal could bring a command into our comment. So no line begins
 * with a slash: `\/` shows as `/`. GitLab removes carriage returns before it looks.
 * Source: GitLab, "Quick actions", and its recognition of them.
 */
export function withoutQuickActions(text: string): string {
  return text.replace(/^([^\S\n]*)\//gmu, '$1\\/');
}
