import ts from 'typescript';
import { findingAt, listFiles, loadSources, walk, type Finding, type Source } from './source.ts';

/** An attack as it stands in a test under `test/trust`. */
export type ListedAttack = { readonly name: string; readonly rules: readonly string[]; readonly path: string };

export const RULES: readonly string[] = Array.from({ length: 32 }, (_, i) => `T${i + 1}`);
const REGISTRATIONS: ReadonlySet<string> = new Set(['attack', 'survives']);

/** All of the repository, sorted by file. */
export function registeredAttacks(root: string): ReturnType<typeof attacksIn> {
  const found = loadSources(root, listFiles(root).filter((path) => /^test\/trust\/.*\.test\.ts$/.test(path))).map(attacksIn);
  return { attacks: found.flatMap((file) => file.attacks), unreadable: found.flatMap((file) => file.unreadable) };
}

/** Attacks that are registered in a file, and registrations whose name or rules cannot be read without running them. */
export function attacksIn(source: Source): { readonly attacks: readonly ListedAttack[]; readonly unreadable: readonly Finding[] } {
  const attacks: ListedAttack[] = [];
  const unreadable: Finding[] = [];
  walk(source, (node) => {
    if (!ts.isCallExpression(node) || !ts.isIdentifier(node.expression) || !REGISTRATIONS.has(node.expression.text)) return;
    const [name, options] = node.arguments;
    const rules = options !== undefined && ts.isObjectLiteralExpression(options) ? rulesOf(options) : null;
    if (name !== undefined && ts.isStringLiteralLike(name) && rules !== null) attacks.push({ name: name.text, rules, path: source.path });
    else unreadable.push(findingAt(source, node, 'an attack has its name and its rules as literals'));
  });
  return { attacks, unreadable };
}

function rulesOf(options: ts.ObjectLiteralExpression): readonly string[] | null {
  const property = options.properties.find((p): p is ts.PropertyAssignment => ts.isPropertyAssignment(p) && p.name.getText() === 'rules');
  if (property === undefined || !ts.isArrayLiteralExpression(property.initializer)) return null;
  const { elements } = property.initializer;
  return elements.every(ts.isStringLiteral) ? elements.map((element) => (element as ts.StringLiteral).text) : null;
}
