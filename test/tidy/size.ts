import ts from 'typescript';
import { findingAt, lineOf, walk, type Finding, type Source } from './source.ts';

export const FUNCTION_LINES = 70;
export const FILE_LINES = 500;

/** A function longer than a screen hides what it does; the orchestrators are where this goes wrong first. */
export function functionsTooLong(source: Source): readonly Finding[] {
  const findings: Finding[] = [];
  walk(source, (node) => {
    if (!ts.isFunctionLike(node) || !('body' in node) || node.body === undefined || isSuite(node)) return;
    const lines = lineOf(source, node.end) - lineOf(source, node.getStart(source.ast)) + 1;
    if (lines > FUNCTION_LINES) findings.push(findingAt(source, node, `a function of ${lines} lines (at most ${FUNCTION_LINES})`));
  });
  return findings;
}

/** The callback of `describe` is a folder of tests, not a function that somebody has to follow. */
function isSuite(node: ts.Node): boolean {
  return ts.isCallExpression(node.parent) && /^describe\b/.test(node.parent.expression.getText());
}

export function fileTooLong(source: Source): readonly Finding[] {
  const lines = source.text.replace(/\n$/, '').split('\n').length;
  if (lines <= FILE_LINES) return [];
  return [{ path: source.path, line: FILE_LINES, message: `a file of ${lines} lines (at most ${FILE_LINES})` }];
}
