import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { evaluateExpression, EXPRESSION_LIMITS, expressionFault, type ExpressionFacts } from '../../../src/core/model/expression.ts';
import { factsOf } from '../decision/inputs.ts';

const answer = (text: string, more: Partial<ExpressionFacts> = {}): boolean | string => {
  const found = evaluateExpression(text, factsOf(more));
  return found.ok ? found.holds : found.code;
};
const place = (text: string): string => {
  const fault = expressionFault(text);
  return fault === null ? 'sound' : `${fault.at}: ${fault.message}`;
};

describe('an expression', () => {
  it.each<readonly [string, boolean]>([
    ['environment == "prod"', true], ['release != previousRelease', true], ['source.branch == "main"', true], ['attempt <= 1 && !rollback', true], ['breakGlass || operation == "remove"', false],
    ['components.all(c, c in images)', true], ['targets.exists(t, t.startsWith("dev-"))', false], ['requesters.exists_one(p, p == "rita")', true], ['size(targets.filter(t, t.endsWith("2"))) == 1', true],
    ['has(source.commit) && source.commit == "x"', false], ['!release.contains("-")', true], ['variables["LEVEL"] in ["info", "warn"]', true], ['unknownRequesters == 0 ? true : size(sources) > 1', true],
    ['components.all(c, targets.exists(t, t != c))', true], ['sources == ["staging"]', true], ['(rollback ? 1 : size(targets)) >= attempt', true], ['variables.exists(v, v == "LEVEL")', true],
  ])('%s is %s', (text, holds) => {
    expect(place(text)).toBe('sound');
    expect(answer(text)).toBe(holds);
  });

  it.each<readonly [string, RegExp]>([
    ['environment ==', /^14: /], ['nobody == "x"', /^0: Unknown variable: nobody$/], ['environment == 1', /^0: no such overload/], ['environment && true', /^0: /], ['attempt', /^0: it gives int, but/], ['"text"', /^0: it gives string/],
    ['environment.matches("(a+)+$")', /^0: `\.matches\(\)` is not supported/], ['attempt + 1 == 2', /^0: `\+` is not supported/], ['-attempt < 0', /^0: `-` is not supported/], ['attempt < 2.5', /^10: only text/], ['b"x" == b"x"', /^0: only text/],
    ['attempt == 1u', /only text/], ['release < "2.0.0"', /^0: `<` orders whole numbers only/], ['components.all(c, c >= "a")', /orders whole numbers only/], ['true > false', /orders whole numbers only/], ['null == null', /only text/], ['timestamp("2031-01-01T00:00:00Z") == timestamp("2031-01-01T00:00:00Z")', /`timestamp\(\)` is not supported/], ['dyn(environment) == 1', /`dyn\(\)` is not supported/],
    ['components.exists(targets, targets == "a")', /^18: `targets` is a variable already/], ['components.map(c, c) == components', /`\.map\(\)` is not supported/], ['cel.bind(x, "a", x == x)', /limit|not supported|maxCallArguments/i], ['{"a": "b"} == variables', /maxMapEntries|not supported/],
    ['components.exists(a, components.exists(b, components.exists(c, true)))', /^42: more than 2 of/], [`environment == "${'x'.repeat(2_000)}"`, /longer than 2000/], ['', /^0: /],
    [`${'('.repeat(200)}true${')'.repeat(200)}`, /./], [`${'!'.repeat(1_000)}true`, /./], [`${'true || '.repeat(240)}true`, /maxAstNodes/],
  ])('is refused where it stands, and never evaluated: %s', (text, expected) => {
    expect(place(text)).toMatch(expected);
    expect(answer(text)).toBe('Invalid');
  });

  it.each(['variables.ABSENT == "x"', 'components[7] == "api"', 'source["commit"] == "x"', 'variables.constructor == "x"', 'images.toString == "x"'])('that asks for what is not there is an answer, and no yes: %s', (text) => {
    expect(place(text)).toBe('sound');
    expect(answer(text)).toBe('Failed');
  });

  it('finds nothing in a map but what was put there, whatever its name', () => {
    expect(answer('variables.constructor == "mine"', { variables: { constructor: 'mine' } })).toBe(true);
    expect(answer('has(variables.hasOwnProperty)', { variables: {} })).toBe(false);
  });

  it('is not begun where it would take too many steps', () => {
    const targets = Array.from({ length: 1_000 }, (_, i) => `host-${i}`);
    expect(answer('targets.all(a, size(a) > 0)', { targets })).toBe(true);
    expect(answer('targets.all(a, targets.exists(b, a == b))', { targets })).toBe('TooCostly');
    expect(answer('variables.all(a, variables.exists(b, variables[a].contains(variables[b])))', { variables: Object.fromEntries(targets.slice(0, 60).map((name) => [name, 'a'.repeat(4_000)])) })).toBe('TooCostly');
    expect(answer('has(variables.A)', { variables: { A: 'a'.repeat(EXPRESSION_LIMITS.stringChars + 1) } })).toBe('TooCostly');
  });

  it('ends soon at the most that it may take', () => {
    const targets = Array.from({ length: 300 }, (_, i) => `host-${i}`);
    const variables = { A: `${'a'.repeat(2_000)}b`, B: 'a'.repeat(4_000) };
    const begin = performance.now();
    expect(answer('targets.all(a, targets.all(b, size(a) > 0 && a != "x"))', { targets })).toBe(true);
    expect(answer(`components.all(c, ${Array.from({ length: 8 }, () => '!variables.B.contains(variables.A)').join(' && ')})`, { variables })).toBe(true);
    expect(performance.now() - begin).toBeLessThan(2_000);
  });

  it('gives the same for the same facts in whatever order their maps were made', () => {
    const word = fc.string({ unit: 'grapheme-ascii', minLength: 1, maxLength: 5 });
    const expressions = ['variables.all(v, size(v) > 1)', 'variables.exists_one(v, variables[v] == "a")', 'size(variables) > 2', 'variables.exists(v, variables[v] == "m")', 'variables.filter(v, true).exists(v, v == variables.filter(w, true)[0] && size(v) > 2)'];
    fc.assert(
      fc.property(fc.uniqueArray(fc.tuple(word, word), { selector: ([name]) => name, maxLength: 8 }), fc.constantFrom(...expressions), (entries, text) => {
        return answer(text, { variables: Object.fromEntries(entries) }) === answer(text, { variables: Object.fromEntries([...entries].reverse()) });
      }),
    );
  });

  it('goes through a map by its names, as the log has them, and not as a file had them', () => {
    const [first, byHand] = ['variables.filter(v, true)[0] == "A"', { B: '2', A: '1' }];
    expect([answer(first, { variables: byHand }), answer(first, { variables: { A: '1', B: '2' } })]).toEqual([true, true]);
  });

  it('never throws and never says yes without being a condition, whatever is written', () => {
    const piece = fc.constantFrom('environment', '.all(', '.map(', 'c', ',', '(', ')', '[', ']', '{', '}', '==', '!', '&&', '||', '"', "'", '"prod"', '1', 'true', '?', ':', '.', 'has(', 'in', 'variables', 'cel.bind(', '.matches(', '+', '\\', '\u0000', '\u{1F600}', 'r"""');
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 25 }).map((parts) => parts.join(' ')), (text) => {
        const found = evaluateExpression(text, factsOf());
        return expressionFault(text) === null || (!found.ok && found.code === 'Invalid');
      }),
      { numRuns: 3_000 },
    );
  });
});
