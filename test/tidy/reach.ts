import ts from 'typescript';
import { arrowsOf, findingAt, type Finding, type Source } from './source.ts';

/** Where execution begins: the composition roots, and what npm scripts and generators start. */
const ENTRIES = [/^src\/bin\//, /^src\/generated\/generate\.js$/, /^test\//, /^[^/]+\.config\.(ts|js)$/];

/** A file of the product that nothing leads to is dead, or not finished. */
export function deadFiles(sources: readonly Source[], others: readonly string[] = []): readonly Finding[] {
  const byPath = new Map(sources.map((source) => [source.path, source]));
  const reached = new Set<string>();
  const queue = sources.map(({ path }) => path).filter((path) => ENTRIES.some((entry) => entry.test(path)));
  for (let path = queue.pop(); path !== undefined; path = queue.pop()) {
    if (reached.has(path)) continue;
    reached.add(path);
    const source = byPath.get(path);
    if (source === undefined) continue;
    for (const { target } of arrowsOf(source)) if (target !== undefined) queue.push(target);
  }
  // Tools find some files through their own configuration.
  const named = (path: string): boolean => others.some((text) => text.includes(path) || text.includes(path.replace(/^src\//, '')));
  return sources
    .filter(({ path }) => path.startsWith('src/') && !reached.has(path) && !named(path))
    .map(({ path }) => ({ path, line: 1, message: 'nothing leads to this file' }));
}

/** A barrel hides which file of the core depends on which. */
export function barrels(source: Source): readonly Finding[] {
  if (!source.path.startsWith('src/core/')) return [];
  const statements = source.ast.statements;
  const reExports = statements.filter((statement) => ts.isExportDeclaration(statement) && statement.moduleSpecifier !== undefined);
  if (reExports.length > 0) return reExports.map((node) => findingAt(source, node, 'the core re-exports nothing; import from where it is'));
  return /\/index\.ts$/.test(source.path) ? [{ path: source.path, line: 1, message: 'the core has no index files' }] : [];
}
