import { basename } from 'node:path';
import ts from 'typescript';
import { findingAt, walk, type Finding, type Source } from './source.ts';

/** Words that say nothing, or something else than the field means by them. Matched on whole words of a name. */
const FORBIDDEN: readonly { readonly pattern: RegExp; readonly instead: string }[] = [
  { pattern: /\b(manager|helper|util|utils|processor)$/, instead: 'the thing it is or does' },
  { pattern: /\b(data|info)$/, instead: 'the name of what it holds' },
  { pattern: /\btimestamp\b/, instead: 'the moment, as in decidedAt' },
  { pattern: /\bhash$/, instead: 'digest' },
  { pattern: /^trusted$/, instead: 'a type that only the verified value has' },
];

/** Compose files have services and principals may be services: as the name of a type it only says "some code". */
const FORBIDDEN_FOR_TYPES = /\w service$/;

/** Where a forbidden word is the outside's own term and cannot be changed by us. */
const OWN_TERMS: readonly { readonly path: RegExp; readonly name: RegExp }[] = [
  { path: /merkle|tlog|checkpoint/, name: /hash$/i }, // RFC 6962 and tlog-tiles speak of hashes
];

export function forbiddenWords(source: Source): readonly Finding[] {
  if (!/^(src|test)\//.test(source.path)) return [];
  const findings: Finding[] = [];
  walk(source, (node) => {
    const name = declaredName(node);
    if (name === undefined) return;
    const complaint = forbiddenWord(name.text, source.path) ?? vagueType(name.text, node) ?? handlesOutsideHttp(name.text, node, source.path);
    if (complaint !== undefined) findings.push(findingAt(source, name, `${name.text}: ${complaint}`));
  });
  const inFileName = forbiddenWord(stem(source.path), source.path);
  if (inFileName !== undefined) findings.push({ path: source.path, line: 1, message: `file name: ${inFileName}` });
  return findings;
}

/** Most names hold none of these letters in a row, and need no closer look. */
const SUSPICIOUS = /manager|helper|util|processor|data|info|timestamp|hash|trusted/i;

function forbiddenWord(name: string, path: string): string | undefined {
  if (!SUSPICIOUS.test(name)) return undefined;
  const words = wordsOf(name);
  const rule = FORBIDDEN.find(({ pattern }) => pattern.test(words));
  if (rule === undefined || OWN_TERMS.some((term) => term.path.test(path) && term.name.test(name))) return undefined;
  return `say ${rule.instead}`;
}

function vagueType(name: string, node: ts.Node): string | undefined {
  const isType = ts.isClassDeclaration(node) || ts.isInterfaceDeclaration(node) || ts.isTypeAliasDeclaration(node);
  return isType && FORBIDDEN_FOR_TYPES.test(wordsOf(name)) ? 'say the thing it does' : undefined;
}

/** `verifyHTTPBody` and `verify-http-body` → `verify http body`. */
function wordsOf(name: string): string {
  const spaced = name.replace(/([a-z0-9])([A-Z])/g, '$1 $2').replace(/([A-Z])([A-Z][a-z])/g, '$1 $2');
  return spaced.replace(/[-_]+/g, ' ').trim().toLowerCase();
}

function stem(path: string): string {
  return basename(path).replace(/\..*$/, '');
}

/** Names that this file makes. Properties of object literals are left out: they often belong to somebody else's interface. */
function declaredName(node: ts.Node): ts.Identifier | undefined {
  const declares =
    ts.isVariableDeclaration(node) ||
    ts.isParameter(node) ||
    ts.isFunctionDeclaration(node) ||
    ts.isClassDeclaration(node) ||
    ts.isInterfaceDeclaration(node) ||
    ts.isTypeAliasDeclaration(node) ||
    ts.isPropertySignature(node);
  if (!declares || isForeignShape(node)) return undefined;
  return node.name !== undefined && ts.isIdentifier(node.name) ? node.name : undefined;
}

/** In `x as { data: … }` somebody else's value is described. */
function isForeignShape(node: ts.Node): boolean {
  for (let at = node; ts.isPropertySignature(at) || ts.isTypeLiteralNode(at); at = at.parent) if (ts.isAsExpression(at.parent)) return true;
  return false;
}

/** "Handle" says nothing, except of a request. */
function handlesOutsideHttp(name: string, node: ts.Node, path: string): string | undefined {
  const isHttp = /^src\/api\/|http|server/.test(path);
  return ts.isFunctionDeclaration(node) && /^handle([A-Z]|$)/.test(name) && !isHttp ? 'say what it does' : undefined;
}

/** Names that tools and habits give to files at the top. */
const GIVEN_NAMES = /^(README|LICENSE|SECURITY|CONTRIBUTING|CHANGELOG)(\.md)?$/;

export function kebabCase(paths: readonly string[]): readonly Finding[] {
  const mine = paths.filter((path) => /^(src|test|schemas|migrations|docs)\//.test(path) && !/^src\/generated\/|\/fixtures\//.test(path));
  return mine.flatMap((path) => {
    const odd = path.split('/').find((segment) => !GIVEN_NAMES.test(segment) && !/^\.?[a-z0-9]+(-[a-z0-9]+)*(\.[a-z0-9]+)*$/.test(segment));
    return odd === undefined ? [] : [{ path, line: 1, message: `${odd} is not kebab-case` }];
  });
}
