import { describe, expect, it } from 'vitest';
import { parseComposeFile } from '../../src/adapters/yaml/parse-compose.ts';
import { canonicalText } from '../../src/core/model/canonical-json.ts';
import { limits } from '../../src/core/model/limits.ts';

const parse = (text: string | Uint8Array): ReturnType<typeof parseComposeFile> => parseComposeFile(typeof text === 'string' ? new TextEncoder().encode(text) : text);
const value = (text: string): unknown => {
  const result = parse(text);
  return result.ok ? result.value : result;
};
const fault = (text: string | Uint8Array): unknown => {
  const result = parse(text);
  return result.ok ? 'ok' : [result.code, result.line, result.column];
};

describe('a Compose file', () => {
  it('keeps whole numbers as numbers and every other number as it is written', () => {
    expect(value('a: 3\nb: 0.50\nc: 0440\nd: 0x1F\ne: 1e3\nf: 1_000\ng: 9007199254740993\nh: -7\ni: .inf\nj: "3"\nk: 22:22\nl: 0o17\nm: +1\n')).toEqual({
      a: 3, b: '0.50', c: '0440', d: '0x1F', e: '1e3', f: '1_000', g: '9007199254740993', h: -7, i: '.inf', j: '3', k: '22:22', l: '0o17', m: '+1',
    });
  });

  it('reads words as YAML 1.2 does, and those of YAML 1.1 as text', () => {
    expect(value('a: true\nb: False\nc: NULL\nd: ~\ne:\nf: yes\ng: on\nh: "true"\ni: |\n  x\n  y\n')).toEqual({ a: true, b: false, c: null, d: null, e: null, f: 'yes', g: 'on', h: 'true', i: 'x\ny\n' });
  });

  it('always gives what has a canonical form', () => {
    expect(canonicalText(value('a: 1.5\nb: [1, 2.0, {c: 1e400}]\n'))).toBe('{"a":"1.5","b":[1,"2.0",{"c":"1e400"}]}');
  });

  it('follows aliases: an alias means the last anchor of its name before it', () => {
    expect(value('a: &x [1]\nb: *x\nc: &x {d: 2}\ne: *x\nf: &k name\n*k : 3\n')).toEqual({ a: [1], b: [1], c: { d: 2 }, e: { d: 2 }, f: 'name', name: 3 });
  });

  it('merges: own members win wherever they stand, then earlier mappings', () => {
    expect(value('a: &a {x: 1, y: 1}\nb: &b {y: 2, z: 2}\nc:\n  z: 3\n  <<: [*a, *b]\nd: {<<: *b}\n')).toEqual({ a: { x: 1, y: 1 }, b: { y: 2, z: 2 }, c: { x: 1, y: 1, z: 3 }, d: { y: 2, z: 2 } });
  });

  it.each([
    ['a name twice', 'services:\n  web: {}\n  web: {}\n', ['DuplicateKey', 3, 3]], ['broken YAML', 'services: [', ['YamlSyntax', 1, 12]], ['two documents', 'a: 1\n---\nb: 2\n', ['YamlSyntax', 2, 1]],
    ['an alias without an anchor', 'a: *x\nb: &x 1\n', ['YamlSyntax', 1, 4]], ['a tag', 'services: !reset {}\n', ['TagRefused', 1, 11]], ['a list', '- a\n', ['NotAMapping', 1, 1]], ['nothing', '', ['NotAMapping', 1, 1]],
    ['a merge of a list of text', 'a: {<<: [x]}\n', ['ValueRefused', 1, 9]], ['a lone surrogate', 'a: "\\ud800"\n', ['ValueRefused', 1, 4]], ['the name of the prototype', 'a:\n  __proto__: {b: 1}\n', ['ValueRefused', 2, 3]],
    ['a list as a name', '? [a]\n: b\n', ['ValueRefused', 1, 3]], ['bytes that are not UTF-8', Uint8Array.of(0xff, 0xfe), ['NotUtf8', 1, 1]],
  ])('is refused with its place: %s', (_, text, expected) => {
    expect(fault(text)).toEqual(expected);
  });

  it.each([
    ['a billion laughs', `a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n${Array.from({ length: 9 }, (_, i) => `a${i + 1}: &a${i + 1} [${`*a${i},`.repeat(10)}]\n`).join('')}`, 'TooLargeResolved'],
    ['long text many times', `a: &a ${'x'.repeat(100_000)}\nb: [${'*a,'.repeat(100)}]\n`, 'TooLargeResolved'], ['merged bombs', `a: &a {${Array.from({ length: 900 }, (_, i) => `k${i}: 1`).join(',')}}\n${Array.from({ length: 90 }, (_, i) => `m${i}: {<<: *a}\n`).join('')}`, 'TooLargeResolved'],
    ['an alias of itself', 'a: &a [*a]\n', 'TooDeep'], ['many aliases', `a: &a 1\nb: [${'*a,'.repeat(limits.composeAliases + 1)}]\n`, 'TooManyAliases'], ['deep nesting', `a: ${'['.repeat(100_000)}`, 'TooDeep'],
    ['a long list', `a: [${'1,'.repeat(200_000)}]`, 'TooManyEntries'], ['too many bytes', `a: ${'x'.repeat(limits.shippedFileBytes)}`, 'FileTooLarge'],
  ])('is stopped where it grows beyond its limits: %s', (_, text, code) => {
    const result = parse(text);
    expect(result.ok ? 'ok' : result.code).toBe(code);
  });

  it('says where and what to do in one message', () => {
    const result = parse('services:\n  web: !x {}\n');
    expect(result.ok ? '' : result.message).toMatch(/^line 2, column 8: .+; .+/);
  });
});
