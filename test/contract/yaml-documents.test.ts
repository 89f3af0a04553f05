import { describe, expect, it } from 'vitest';
import { openSchemas } from '../../src/adapters/schema/open-schemas.ts';
import { createDocumentParser } from '../../src/adapters/yaml/document-parser.ts';
import { parseFile } from '../../src/adapters/yaml/parse-documents.ts';
import type { ParsedFile } from '../../src/core/desired/parsed-file.ts';
import { positionAt } from '../../src/core/desired/source-position.ts';
import type { BlobId } from '../../src/core/model/commit-id.ts';
import { documentDigest, KINDS } from '../../src/core/model/documents.ts';
import { limits } from '../../src/core/model/limits.ts';

const schemas = openSchemas();
const blob = 'a'.repeat(40) as BlobId;
const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text);
const parse = (given: string | Uint8Array): ParsedFile => parseFile({ path: 'a.yaml', blob, bytes: typeof given === 'string' ? bytesOf(given) : given }, schemas);
const problems = (given: string | Uint8Array): readonly string[] => parse(given).problems.map((p) => `${p.file}:${p.line}:${p.column} ${p.code}`);

const HEAD = 'apiVersion: stella/v1alpha1\n';
const freeze = (name: string, spec = 'reason: stop'): string => `${HEAD}kind: Freeze\nmetadata:\n  name: ${name}\nspec:\n  ${spec}\n`;

describe('a file of declarations', () => {
  it('gives its documents with digest and place', () => {
    const { documents, problems: found } = parse(`# two\n---\n${freeze('a')}---\n${freeze('b', 'environments: [prod, dev]\n  reason: stop')}`);
    expect(found).toEqual([]);
    expect(documents.map((d) => [d.document.metadata.name, d.line])).toEqual([['a', 3], ['b', 10]]);
    expect(documents.map((d) => d.digest)).toEqual(documents.map((d) => documentDigest(d.document)));
    const second = documents[1]!;
    expect(positionAt(second.document, second.positions, ['spec', 'environments', 1])).toEqual({ line: 15, column: 24 });
    expect(positionAt(second.document, second.positions, ['spec', 'reason'])).toEqual({ line: 16, column: 3 });
    expect(positionAt(second.document, second.positions, ['spec', 'nothing'])).toEqual({ line: 14, column: 1 });
  });

  it('takes hexadecimal text that begins like a binary number for text, as a nonce of an approval may', () => {
    const reason = (text: string): unknown => parse(freeze('a', `reason: ${text}`)).documents[0]?.document.spec;
    for (const text of ['0ba18d2f2cc1fee668d7362b997a30f9', '0bff', '0o9', '0xyz']) expect(reason(text)).toEqual({ reason: text });
    for (const text of ['0b1011', '0o17', '0xff', '0b1_0']) expect(problems(freeze('a', `reason: ${text}`))).toEqual(['a.yaml:6:11 ValueRefused']);
  });

  it('finds the place of members whose names are numbers, which objects list first', () => {
    const { documents } = parse(`${HEAD}kind: Release\nmetadata: {name: shop/1}\nspec:\n  components:\n    b: {tag: x}\n    "2": {tag: y}\n    "1": {tag: z}\n`);
    const found = documents[0]!;
    expect(['b', '2', '1'].map((name) => positionAt(found.document, found.positions, ['spec', 'components', name]).line)).toEqual([6, 7, 8]);
    expect(positionAt(found.document, found.positions, ['spec', 'components', '1', 'tag'])).toEqual({ line: 8, column: 11 });
  });

  it('reads plain values by one rule: null, true, false, whole numbers, text', () => {
    const text = `${HEAD}kind: TrustRoot\nmetadata: {name: root}\nspec:\n  version: 2\n  previous: ~\n  documents:\n  proposerCounts: true\n  id: "1"\n  tenant: no\n  threshold: -1\n`;
    const seen: unknown[] = [];
    parseFile({ path: 'a.yaml', blob, bytes: bytesOf(text) }, { validateDocument: (_, value) => (seen.push((value as { spec: unknown }).spec), { ok: true }) });
    expect(seen).toEqual([{ version: 2, previous: null, documents: null, proposerCounts: true, id: '1', tenant: 'no', threshold: -1 }]);
  });

  it('is read the same with Windows line ends', () => {
    const [unix] = parse(freeze('a')).documents;
    const [windows] = parse(freeze('a').replaceAll('\n', '\r\n')).documents;
    expect(windows?.digest).toBe(unix?.digest);
  });

  it('keeps the good documents of a file beside a bad one', () => {
    const { documents, problems: found } = parse(`${freeze('a')}---\n${freeze('b', 'reson: stop')}---\n${freeze('c')}`);
    expect(documents.map((d) => d.document.metadata.name)).toEqual(['a', 'c']);
    expect(found.map((p) => [p.code, p.subject])).toEqual([['MissingField', 'Freeze/b'], ['UnknownField', 'Freeze/b']]);
  });

  it('is read through the port as well', () => {
    const parser = createDocumentParser();
    expect(parser.parseFile({ path: 'a.yaml', blob, bytes: bytesOf(freeze('a')) }).documents).toHaveLength(1);
    expect(parser.parseCompose(bytesOf('services: {}')).ok).toBe(true);
  });
});

describe('bad input is refused with code, line and column', () => {
  const cases: readonly (readonly [string, string | Uint8Array, readonly string[]])[] = [
    ['a colon too many', `${HEAD}kind: Freeze\nmetadata: name: x\n`, ['a.yaml:3:11 YamlSyntax']],
    ['a quote that never ends', `${HEAD}kind: Freeze\nmetadata: "x\n`, ['a.yaml:4:1 YamlSyntax']],
    ['a bracket that was never opened', `${HEAD}kind: Freeze\n]\n`, ['a.yaml:3:1 YamlSyntax']],
    ['a tab as indentation', `${HEAD}kind: Freeze\nmetadata:\n\tname: x\n`, ['a.yaml:4:1 YamlSyntax']],
    ['one name twice', `${HEAD}kind: Freeze\nmetadata:\n  name: x\n  name: y\nspec: {reason: x}\n`, ['a.yaml:5:3 DuplicateKey']],
    ['one name twice in two spellings', `${HEAD}kind: Freeze\nmetadata: {name: x}\nspec:\n  reason: x\n  "reason": y\n`, ['a.yaml:6:3 DuplicateKey']],
    ['a kind twice', `${HEAD}kind: Freeze\nkind: Deployment\n`, ['a.yaml:3:1 DuplicateKey']],
    ['an unknown field', freeze('x', 'reson: x'), ['a.yaml:5:1 MissingField', 'a.yaml:6:3 UnknownField']],
    ['a kind that has no effect yet', `${HEAD}kind: Plugin\nmetadata: {name: x}\n`, ['a.yaml:2:1 UnsupportedKind']],
    ['a kind in another case', `${HEAD}kind: freeze\nmetadata: {name: x}\n`, ['a.yaml:2:1 UnsupportedKind']],
    ['another version', 'apiVersion: stella/v2\nkind: Freeze\n', ['a.yaml:1:1 UnsupportedVersion']],
    ['another spelling of the version', 'apiVersion: Stella.io/v1\nkind: Thing\n', ['a.yaml:1:1 UnsupportedVersion']],
    ['a version that is misspelt', 'apiVersion: stela/v1alpha1\nkind: Freeze\n', ['a.yaml:1:1 UnsupportedVersion']],
    ['no version', 'kind: Freeze\nmetadata: {name: x}\n', ['a.yaml:1:1 MissingField']],
    ['no kind', HEAD, ['a.yaml:1:1 MissingField']],
    ['both names in the wrong case', 'Kind: Freeze\nApiversion: stella/v1alpha1\n', ['a.yaml:1:1 MissingField']],
    ['documents in a list', `- ${HEAD}  kind: Freeze\n`, ['a.yaml:1:1 NotADocument']],
    ['an anchor', `${HEAD}kind: Freeze\nmetadata: &a {name: x}\nspec: {reason: x}\n`, ['a.yaml:3:11 AliasRefused']],
    ['an alias', `${HEAD}kind: Freeze\nmetadata: *a\n`, ['a.yaml:3:11 AliasRefused']],
    ['a merge key', `${HEAD}kind: Freeze\nmetadata:\n  <<: *a\n`, ['a.yaml:4:7 AliasRefused']],
    ['a tag', `${HEAD}kind: Freeze\nmetadata: {name: !!str x}\n`, ['a.yaml:3:18 TagRefused']],
    ['a directive', `%YAML 1.1\n---\n${freeze('x')}`, ['a.yaml:1:1 DirectiveRefused']],
    ['a fraction', freeze('x', 'reason: 1.10'), ['a.yaml:6:11 ValueRefused']],
    ['an octal number', freeze('x', 'reason: 0644'), ['a.yaml:6:11 ValueRefused']],
    ['a hexadecimal number', freeze('x', 'reason: 0x1F'), ['a.yaml:6:11 ValueRefused']],
    ['an exponent', freeze('x', 'reason: 1e3'), ['a.yaml:6:11 ValueRefused']],
    ['not a number', freeze('x', 'reason: .nan'), ['a.yaml:6:11 ValueRefused']],
    ['an integer beyond 2^53', freeze('x', 'reason: 9007199254740993'), ['a.yaml:6:11 ValueRefused']],
    ['a word that readers disagree on', freeze('x', 'reason: TRUE'), ['a.yaml:6:11 ValueRefused']],
    ['a lone surrogate', freeze('x', 'reason: "\\ud800"'), ['a.yaml:6:11 ValueRefused']],
    ['a lone surrogate in a name', freeze('x', '"\\udc00": x'), ['a.yaml:6:3 ValueRefused']],
    ['a name that would change the prototype', freeze('x', '__proto__: {reason: x}'), ['a.yaml:6:3 ValueRefused']],
    ['a list as a name', freeze('x', '? [a]\n  : b'), ['a.yaml:6:5 YamlSyntax']],
    ['a byte order mark', `\uFEFF${freeze('x')}`, ['a.yaml:1:1 ByteOrderMark']],
    ['UTF-16', Buffer.from(freeze('x'), 'utf16le'), ['a.yaml:1:1 NotUtf8']],
    ['a byte that is not UTF-8', Buffer.concat([bytesOf(freeze('x')), Buffer.from([0xff])]), ['a.yaml:1:1 NotUtf8']],
    ['traversal in a name', freeze('../../etc'), ['a.yaml:4:3 InvalidName']],
    ['a slash in a name of one segment', freeze('a/b'), ['a.yaml:4:3 InvalidName']],
    ['a name in capitals', freeze('Prod'), ['a.yaml:4:3 InvalidName']],
    ['a Cyrillic look-alike in a name', freeze('pr\u043ed'), ['a.yaml:4:3 InvalidName']],
    ['a full-width letter in a name', freeze('\uff50rod'), ['a.yaml:4:3 InvalidName']],
    ['an invisible character in a name', freeze('"prod\u200b"'), ['a.yaml:4:3 InvalidName']],
    ['a NUL in a name', freeze('"prod\\0"'), ['a.yaml:4:3 InvalidName']],
  ];

  it.each(cases)('%s', (_, text, expected) => {
    const parsed = parse(text);
    expect(parsed.documents).toEqual([]);
    expect(problems(text)).toEqual(expected);
    for (const problem of parsed.problems) {
      expect(problem.severity).toBe('error');
      expect(problem.message).not.toBe('');
      expect(problem.remedy).toMatch(/[.`"]$/);
    }
  });

  it.each(['../x', '/etc/passwd', 'a/../b', './a', 'a/.', '..', 'a//b', 'a/', 'a\\b', '..\\x', 'C:x', 'a\u0000b', '.git/config', 'a/.GIT/hooks', 'x'.repeat(300), ''])('a path that leads out of the repository: %j', (path) => {
    const quoted = JSON.stringify(path);
    const application = `${HEAD}kind: Application\nmetadata: {name: shop}\nspec:\n  components: [api]\n  deployment:\n    type: directory\n    files:\n      - ok\n      - ${quoted}\n`;
    expect(problems(application)).toEqual(['a.yaml:10:9 UnsafePath']);
    expect(problems(`${HEAD}kind: Configuration\nmetadata: {name: prod/shop}\nspec:\n  override: ${quoted}\n`)).toEqual(['a.yaml:5:3 UnsafePath']);
    const compose = `${HEAD}kind: Application\nmetadata: {name: shop}\nspec:\n  components: [api]\n  deployment:\n    type: compose\n    compose: ${quoted}\n`;
    expect(problems(compose)).toEqual(['a.yaml:8:5 UnsafePath']);
  });

  it.each(['..', '/', '/a/../b', 'a', '/a/', '/a//b', '/a\\b'])('a root of a target that is no plain absolute path: %j', (root) => {
    const target = `${HEAD}kind: Target\nmetadata: {name: t}\nspec:\n  type: directory_host\n  agent: a\n  environments: [e]\n  applications: [s]\n  connection:\n    root: ${JSON.stringify(root)}\n`;
    expect(problems(target)).toEqual(['a.yaml:10:5 UnsafePath']);
  });
});

describe('input that is made to be expensive', () => {
  const nested = (open: string): string => `${HEAD}kind: Freeze\nspec: ${open}`;

  it.each([
    ['lists within lists', nested('['.repeat(120_000)), 'TooDeep'], ['mappings within mappings', nested('{a: '.repeat(50_000)), 'TooDeep'],
    ['lists on one line', nested(`\n ${'- '.repeat(100_000)}`), 'TooDeep'], ['explicit keys on one line', nested(`\n ${'? '.repeat(100_000)}`), 'TooDeep'],
    ['nesting one beyond the limit', nested(`${'['.repeat(limits.documentDepth)}${']'.repeat(limits.documentDepth)}`), 'TooDeep'],
    ['a long list', nested(`[${'a,'.repeat(100_000)}]`), 'TooManyEntries'], ['a mapping of many names', nested(Array.from({ length: 20_000 }, (_, i) => `\n k${i}:`).join('')), 'TooManyEntries'],
    ['comments between', nested('\n#'.repeat(100_000)), 'TooManyEntries'], ['anchors in a row', nested('&a '.repeat(60_000)), 'TooManyEntries'],
    ['brackets that close nothing', nested(']'.repeat(100_000)), 'YamlSyntax'], ['a billion laughs', `${HEAD}kind: Freeze\na: &a [x,x]\nb: &b [*a,*a]\nc: [*b,*b]\n`, 'AliasRefused'],
    ['many documents', `${freeze('a')}${'---\n'.repeat(50_000)}`, 'TooManyDocuments'],
  ])('is stopped: %s', (_, text, code) => {
    const parsed = parse(text);
    expect(parsed.documents).toEqual([]);
    expect(parsed.problems.map((p) => p.code)).toEqual([code]);
  });

  it('is not looked at when it is a file that nobody read because of its size', () => {
    const parsed = parseFile({ path: 'big.yaml', blob, bytes: null, sizeBytes: 50 * 1024 * 1024 }, schemas);
    expect(parsed.problems.map((p) => [p.code, p.file, p.line])).toEqual([['FileTooLarge', 'big.yaml', 1]]);
  });

  it('is not parsed above the limit, and named if it means to be ours', () => {
    const large = `${freeze('a')}#${'x'.repeat(limits.documentBytes)}`;
    expect(problems(large)).toEqual(['a.yaml:1:1 FileTooLarge']);
    expect(parse(large.slice(0, limits.documentBytes)).documents).toHaveLength(1);
  });

  it('names a bounded number of problems for one document', () => {
    const fields = Array.from({ length: 500 }, (_, i) => `f${i}: 1`).join('\n  ');
    expect(problems(freeze('a', fields)).length).toBe(limits.problemsPerDocument);
  });
});

describe('YAML of others is passed over', () => {
  it.each([
    ['a Compose file with anchors', 'x-a: &a {b: 1.5}\nservices: {web: {<<: *a}}\n'], ['a manifest of another system', 'apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: x}\n'],
    ['a kind of ours under a version of others', 'apiVersion: argoproj.io/v1alpha1\nkind: Application\nmetadata: {name: x}\nspec: {}\n'],
    ['a template that is no YAML', '{{- if .Values.on }}\napiVersion: apps/v1\nkind: Deployment\n{{- end }}\n'], ['a template of others with a kind of ours', 'apiVersion: argoproj.io/v1alpha1\nkind: Workflow\nspec: {{ .Values.spec }}\n  x: y\n'],
    ['plain text', 'just words'], ['nothing', ''], ['a comment', '# stella/v1alpha1 is great'], ['a list', '- 1\n- 2\n'], ['tags of others', 'a: !Ref b\nstella: 1\n'],
    ['deep nesting', '['.repeat(1000)], ['a byte that is not UTF-8', Buffer.from([0x61, 0xff])], ['many documents', 'a: 1\n---\n'.repeat(1000)],
    ['a large file', `a: ${'x'.repeat(limits.documentBytes)}`],
  ])('%s', (_, text) => {
    expect(parse(text)).toEqual({ path: 'a.yaml', blob, documents: [], problems: [] });
  });

  it.each(KINDS)('a document of kind %s is never passed over, whatever version it claims without a domain', (kind) => {
    for (const version of ['', 'apiVersion: v1\n', 'apiVersion: apps/v1\n', 'apiVersion: 1\n', 'apiVersion: "Stella/V1alpha1"\n', 'apiVersion: " stella/v1alpha1"\n']) {
      expect(parse(`${version}kind: ${kind}\nmetadata: {name: x}\n`).problems).toHaveLength(1);
    }
  });

  it('but escapes and other spellings do not hide a document', () => {
    expect(parse('"apiVersion": "\\x73tella/v1alpha1"\n"\\x6bind": "\\x46reeze"\nmetadata: {name: x}\nspec: {reason: x}\n').documents).toHaveLength(1);
    expect(problems('{"apiVersion": "stella/v1alpha1", "kind": "\uff26reeze"}')).toEqual(['a.yaml:1:35 UnsupportedKind']);
  });

  it('and a document of ours behind one of others in the same file is seen', () => {
    expect(parse(`apiVersion: apps/v1\nkind: Deployment\nspec: {a: &a 1.5, b: *a}\n---\n${freeze('x')}`).documents).toHaveLength(1);
  });
});
