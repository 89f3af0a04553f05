import ts from 'typescript';
import { arrowsOf, findingAt, walk, type Finding, type Source } from './source.ts';

/** What keeps a test from running, or lets only some run. A missing component is said through `requireComponent`. */
const MODIFIERS = /^(test|it|describe|suite)(\.\w+)*\.(skip|only|todo|fails|skipIf|runIf)\b/;

export function testHabits(source: Source): readonly Finding[] {
  if (!source.path.startsWith('test/')) return [];
  const findings: Finding[] = [];
  walk(source, (node) => {
    if (!ts.isCallExpression(node) || !/^(test|it|describe|suite|expect)$/.test(calledName(node))) return;
    const message = hiddenTest(node) ?? emptyAssertion(node) ?? titleFault(node);
    if (message !== undefined) findings.push(findingAt(source, node, message));
  });
  return [...findings, ...misplaced(source)];
}

/** `test` of `test.each(cases)('…')`. */
function calledName(call: ts.CallExpression): string {
  let at: ts.Node = call.expression;
  while (ts.isPropertyAccessExpression(at) || ts.isCallExpression(at)) at = at.expression;
  return ts.isIdentifier(at) ? at.text : '';
}

function hiddenTest(call: ts.CallExpression): string | undefined {
  const callee = call.expression.getText();
  return MODIFIERS.test(callee) ? `${callee}: every test runs, or says through requireComponent why it cannot` : undefined;
}

function emptyAssertion(call: ts.CallExpression): string | undefined {
  const [first] = call.arguments;
  if (call.expression.getText() !== 'expect' || call.arguments.length !== 1 || first === undefined) return undefined;
  const constant = first.kind === ts.SyntaxKind.TrueKeyword || first.kind === ts.SyntaxKind.FalseKeyword || ts.isNumericLiteral(first);
  return constant ? `expect(${first.getText()}) asserts nothing` : undefined;
}

/** A title is a sentence about behaviour: two words at least, and none of them an empty "should". */
function titleFault(call: ts.CallExpression): string | undefined {
  const [title] = call.arguments;
  if (!/^(test|it)(\.|$)/.test(call.expression.getText().split('(')[0] ?? '') || title === undefined) return undefined;
  if (call.arguments.length < 2 || !ts.isStringLiteralLike(title)) return undefined;
  if (/[%$]/.test(title.text)) return undefined; // the cases carry the sentence
  const words = title.text.trim().split(/\s+/);
  if (words.length < 2) return `"${title.text}" is no sentence about behaviour`;
  return words.includes('should') ? `"${title.text}": say what it does, not what it should` : undefined;
}

/** Vitest runs `test/**\/*.test.ts`; a test in another file would never run and nobody would notice. */
function misplaced(source: Source): readonly Finding[] {
  const names = arrowsOf(source).filter(({ specifier, typeOnly }) => specifier === 'vitest' && !typeOnly).flatMap((arrow) => arrow.names);
  const declares = names.some((name) => name === 'test' || name === 'it' || name === 'describe');
  const isSuiteFor = /(^|\/)(suite|contract)|-(suite|contract)\.ts$|^test\/trust\/attack\.ts$/.test(source.path);
  if (!declares || source.path.endsWith('.test.ts') || isSuiteFor) return [];
  return [{ path: source.path, line: 1, message: 'declares tests, but its name does not end in .test.ts, so they never run' }];
}

export function testsOutsideTestFolder(paths: readonly string[]): readonly Finding[] {
  return paths
    .filter((path) => /\.(test|spec)\.\w+$/.test(path) && !/^test\/.*\.test\.ts$/.test(path))
    .map((path) => ({ path, line: 1, message: 'never runs: tests are test/**/*.test.ts' }));
}
