import ts from 'typescript';
import { findingAt, walk, type Finding, type Source } from './source.ts';

/** Everything through which time, chance, the outside or another turn of the event loop could enter the core. */
const IMPURE_GLOBALS = new Set(
  ['Promise', 'Date', 'Intl', 'process', 'console', 'performance', 'crypto', 'globalThis', 'global', 'fetch', 'WebSocket', 'Worker'].concat(
    ['setTimeout', 'setInterval', 'setImmediate', 'queueMicrotask', 'require', 'Atomics', 'SharedArrayBuffer', 'WeakRef', 'FinalizationRegistry'],
  ),
);

/** These answer differently with another locale or another version of Unicode tables. */
const LOCALE_METHODS = new Set(['localeCompare', 'toLocaleString', 'toLocaleLowerCase', 'toLocaleUpperCase']);

/** `src/core` is pure and synchronous: the same input gives the same bytes, today and in ten years. */
export function impureCore(source: Source): readonly Finding[] {
  if (!source.path.startsWith('src/core/')) return [];
  const findings: Finding[] = [];
  walk(source, (node) => {
    const message = asynchrony(node) ?? impureName(node);
    if (message !== undefined) findings.push(findingAt(source, node, message));
  });
  return findings;
}

function asynchrony(node: ts.Node): string | undefined {
  if (ts.isAwaitExpression(node) || (ts.isForOfStatement(node) && node.awaitModifier !== undefined)) return 'core may not await';
  if (ts.canHaveModifiers(node) && ts.getModifiers(node)?.some(({ kind }) => kind === ts.SyntaxKind.AsyncKeyword)) return 'core may not be async';
  if (ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword) return 'core may not import lazily';
  if (ts.isMetaProperty(node)) return 'core may not ask where it lies (import.meta)';
  return undefined;
}

function impureName(node: ts.Node): string | undefined {
  if (ts.isPropertyAccessExpression(node)) {
    if (node.getText() === 'Math.random') return 'core may not use chance (Math.random)';
    if (LOCALE_METHODS.has(node.name.text)) return `core may not depend on a locale (${node.name.text})`;
  }
  if (!ts.isIdentifier(node) || !IMPURE_GLOBALS.has(node.text) || isMemberName(node)) return undefined;
  return `core may not use ${node.text}`;
}

/** In `x.process` and `{ process: 1 }` the word is only a name. */
function isMemberName(node: ts.Identifier): boolean {
  const parent = node.parent;
  if (ts.isPropertyAccessExpression(parent)) return parent.name === node;
  const isMember = ts.isPropertyAssignment(parent) || ts.isPropertySignature(parent) || ts.isMethodSignature(parent) || ts.isPropertyDeclaration(parent);
  return isMember && parent.name === node;
}

/** Loading a file must change nothing and keep nothing: no `let` outside of functions. */
export function moduleState(source: Source): readonly Finding[] {
  if (!source.path.startsWith('src/')) return [];
  return source.ast.statements
    .filter((statement) => ts.isVariableStatement(statement) && (statement.declarationList.flags & ts.NodeFlags.Const) === 0)
    .map((statement) => findingAt(source, statement, 'a variable of the module that can change'));
}

/** The surroundings of a process, in which two callers in one process would disturb each other. */
const OWN_SURROUNDINGS = new Set(['env', 'argv', 'exit', 'exitCode', 'stdin', 'stdout', 'stderr', 'cwd', 'chdir', 'abort', 'umask']);

/** The environment, the arguments and the exit code are read and set in one place. */
export function processOutsideBin(source: Source): readonly Finding[] {
  if (!/^src\/(?!bin\/|generated\/)/.test(source.path) || declaresProcess(source)) return [];
  const findings: Finding[] = [];
  walk(source, (node) => {
    if (!ts.isPropertyAccessExpression(node) || node.expression.getText() !== 'process') return;
    if (OWN_SURROUNDINGS.has(node.name.text)) findings.push(findingAt(source, node, `only bin may touch process.${node.name.text}; take it as a value`));
  });
  return findings;
}

/** A file that calls a child process `process` means that one. */
function declaresProcess(source: Source): boolean {
  let found = false;
  walk(source, (node) => {
    found ||= (ts.isParameter(node) || ts.isVariableDeclaration(node)) && node.name.getText() === 'process';
  });
  return found;
}
