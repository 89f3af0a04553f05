import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join, posix } from 'node:path';
import ts from 'typescript';

/** A breach of a rule, in a form that an editor can jump to. */
export type Finding = { readonly path: string; readonly line: number; readonly message: string };

/** One file of code, parsed once for all rules. Paths are relative to the repository, with slashes. */
export type Source = {
  readonly path: string;
  readonly text: string;
  readonly ast: ts.SourceFile;
  /** Every node, outer before inner, listed once for all rules. */
  readonly nodes: readonly ts.Node[];
};

/** An import, an export-from, an `import()` or a `new URL(…, import.meta.url)`. */
export type Arrow = {
  readonly specifier: string;
  readonly line: number;
  /** Erased before running: it orders nothing. */
  readonly typeOnly: boolean;
  /** `import()` and `new URL()`: followed when the program asks for it, not when the file loads. */
  readonly lazy: boolean;
  readonly names: readonly string[];
  /** Path of the file it points to, for relative specifiers. */
  readonly target: string | undefined;
};

export function parse(path: string, text: string): Source {
  const kind = path.endsWith('.js') ? ts.ScriptKind.JS : ts.ScriptKind.TS;
  const ast = ts.createSourceFile(path, text, ts.ScriptTarget.Latest, true, kind);
  const nodes: ts.Node[] = [];
  const list = (node: ts.Node): void => {
    nodes.push(node);
    node.forEachChild(list);
  };
  ast.forEachChild(list);
  return { path, text, ast, nodes };
}

/** Every file that is, or is about to be, in the repository: tracked, or new and not ignored. */
export function listFiles(root: string): readonly string[] {
  const options = { cwd: root, encoding: 'utf8', maxBuffer: 64 * 1024 * 1024 } as const;
  const listed = execFileSync('git', ['ls-files', '-z', '--cached', '--others', '--exclude-standard'], options);
  return [...new Set(listed.split('\0'))].filter((path) => path !== '' && existsSync(join(root, path))).sort();
}

export function loadSources(root: string, paths: readonly string[]): readonly Source[] {
  const isCode = (path: string): boolean => /\.(ts|js)$/.test(path) && !isGenerated(path);
  return paths.filter(isCode).map((path) => parse(path, readFileSync(join(root, path), 'utf8')));
}

/** Written by a generator; nobody edits it, so no rule of style applies. */
export function isGenerated(path: string): boolean {
  return path.startsWith('src/generated/') && path !== 'src/generated/generate.js';
}

export function lineOf(source: Source, position: number): number {
  return source.ast.getLineAndCharacterOfPosition(position).line + 1;
}

export function findingAt(source: Source, node: ts.Node, message: string): Finding {
  return { path: source.path, line: lineOf(source, node.getStart(source.ast)), message };
}

export function walk(source: Source, visit: (node: ts.Node) => void): void {
  source.nodes.forEach(visit);
}

const known = new WeakMap<Source, readonly Arrow[]>();

/** Found once per file: four rules ask for them. */
export function arrowsOf(source: Source): readonly Arrow[] {
  const arrows = known.get(source) ?? findArrows(source);
  known.set(source, arrows);
  return arrows;
}

function findArrows(source: Source): readonly Arrow[] {
  const arrows: Arrow[] = [];
  const add = (specifier: ts.Node | undefined, rest: Pick<Arrow, 'typeOnly' | 'lazy' | 'names'>): void => {
    if (specifier === undefined || !ts.isStringLiteralLike(specifier)) return;
    const target = specifier.text.startsWith('.') ? posix.join(posix.dirname(source.path), specifier.text) : undefined;
    arrows.push({ specifier: specifier.text, line: lineOf(source, specifier.pos), target, ...rest });
  };
  walk(source, (node) => {
    if (ts.isImportDeclaration(node)) add(node.moduleSpecifier, { ...namesOf(node), lazy: false });
    if (ts.isExportDeclaration(node)) add(node.moduleSpecifier, { typeOnly: node.isTypeOnly, lazy: false, names: [] });
    if (ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword) {
      add(node.arguments[0], { typeOnly: false, lazy: true, names: [] });
    }
    if (ts.isNewExpression(node) && node.expression.getText() === 'URL' && node.arguments?.[1]?.getText() === 'import.meta.url') {
      add(node.arguments[0], { typeOnly: false, lazy: true, names: [] });
    }
  });
  return arrows;
}

function namesOf(node: ts.ImportDeclaration): Pick<Arrow, 'typeOnly' | 'names'> {
  const clause = node.importClause;
  const bindings = clause?.namedBindings;
  if (clause === undefined || bindings === undefined) return { typeOnly: isTypeOnly(clause), names: clause?.name ? ['default'] : [] };
  if (ts.isNamespaceImport(bindings)) return { typeOnly: isTypeOnly(clause), names: ['*'] };
  const values = bindings.elements.filter((element) => !element.isTypeOnly);
  const names = values.map((element) => (element.propertyName ?? element.name).text);
  const allTypes = clause.name === undefined && bindings.elements.length > 0 && values.length === 0;
  return { typeOnly: isTypeOnly(clause) || allTypes, names };
}

function isTypeOnly(clause: ts.ImportClause | undefined): boolean {
  return clause?.phaseModifier === ts.SyntaxKind.TypeKeyword;
}
