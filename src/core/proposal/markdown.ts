import { plain } from '../model/plain-text.ts';

/**
 * Markdown from text that somebody else wrote. Whatever it holds, it stays the text of the place where it was put: it ends no table, fence, list,
 * fold or comment, is no link, image or formula, and calls nobody (CommonMark 0.31, GitHub Flavored Markdown 0.29, and what forges link by themselves).
 */

/** Between a sign that forges make links of and what follows: nobody sees it, and nothing is found. */
const APART = '\u200B';

/** Text within a line or a table's cell. */
export function prose(text: string): string {
  return apart(plain(text))
    .replace(/[\\`*_[\]{}|~#!$]/g, '\\$&').replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;')
    .replace(/^(\s*)([-+=])/, '$1\\$2').replace(/^(\s*\d{1,9})([.)])(?=\s|$)/, '$1\\$2');
}

/** Text within HTML, such as the title of a fold. */
export function html(text: string): string {
  return apart(plain(text)).replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;').replaceAll("'", '&#39;');
}

/** Names of people, groups, issues, requests and commits of forges, emoji, and addresses. */
function apart(text: string): string {
  return text
    .replace(/([@#!&%~$^])(?=[\p{L}\p{N}_"'-])/gu, `$1${APART}`).replace(/:(?=\/\/|(?!\d+:)[\w+-]{1,64}:)/g, `:${APART}`)
    .replace(/(?<=www)\./gi, `${APART}.`).replace(/(GH|mailto|xmpp)(?=[-:])/gi, `$1${APART}`);
}

/** A code span: shown as it is, and neither linked nor formatted. For a cell too: a vertical bar there would end it, so it is shown as a broken one. */
export function code(text: string): string {
  const shown = plain(text).replaceAll('|', '¦');
  if (shown === '') return '–';
  const fence = '`'.repeat(longestRun(shown) + 1);
  // Of nothing but blanks none is taken away.
  const pad = /[^ ]/.test(shown) && /^[` ]|[` ]$/.test(shown) ? ' ' : '';
  return `${fence}${pad}${shown}${pad}${fence}`;
}

/** A code block. Its fence is longer than any run of backticks in it, so no line of it ends it. */
export function fenced(text: string, language = ''): string {
  const shown = text.split('\n').map((line) => line.split('\t').map(plain).join('\t')).join('\n');
  const fence = '`'.repeat(Math.max(3, longestRun(shown) + 1));
  return `${fence}${language}\n${shown}\n${fence}`;
}

function longestRun(text: string): number {
  return (text.match(/`+/g) ?? []).reduce((longest, run) => Math.max(longest, run.length), 0);
}

/** A table of cells that are Markdown already. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;
  return [line(head), line(head.map(() => '---')), ...rows.map(line)].join('\n');
}

/**
 * A part that is closed until somebody opens it.
 * @param title Text that is no Markdown
 * @param form none: for a forge that shows no HTML, the title stands above what is folded elsewhere
 */
export function fold(title: string, body: string, form: 'details' | 'none'): string {
  return form === 'none' ? `▸ ${prose(title)}\n\n${body}` : `<details><summary>${html(title)}</summary>\n\n${body}\n\n</details>`;
}
