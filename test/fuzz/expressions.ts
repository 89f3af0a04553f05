import { evaluateExpression, expressionFault, type ExpressionFacts } from '../../src/core/model/expression.ts';
import type { Decoder } from './decoder.ts';

const many = Array.from({ length: 1_000 }, (_, i) => `host-${i}`);
const long = 'a'.repeat(4_000);
/** As much as a large installation has, and texts in which looking for others takes longest. */
const facts: ExpressionFacts = {
  environment: 'prod', application: 'shop', operation: 'promote', release: '1.4.0', previousRelease: '1.3.0', attempt: 1, rollback: false, breakGlass: false, components: many, images: Object.fromEntries(many.map((name) => [name, 'sha256:0'])),
  source: { branch: 'main' }, variables: { LONG: long, NEEDLE: `${long.slice(0, 2_000)}b` }, secrets: [], targets: many, requesters: ['rita'], unknownRequesters: 0, sources: ['staging'],
};

const CONDITIONS = [
  'environment == "prod" && source.branch in ["main", "release"]', 'components.all(c, targets.exists(t, t == c && size(t) > 3))', '!has(variables.DEBUG) || variables["DEBUG"] == "0"', 'targets.filter(t, t.startsWith("host-")).exists_one(t, t == "host-7")',
  'attempt <= 3 ? unknownRequesters == 0 : rollback', 'variables.LONG.contains(variables.NEEDLE) || requesters.all(p, p != "mallory")',
];

/** Expressions of gates: whatever is written ends soon, and is never a yes unless it is a condition. */
export const expression: Decoder = {
  name: 'expression',
  open: () => Promise.resolve({
    samples: CONDITIONS.map((text) => ({ bytes: Buffer.from(text) })),
    words: ['components', 'targets', 'variables', '.all(x, ', '.exists(x, ', '.filter(y, ', '.map(z, ', '.matches("(a+)+$")', '.contains(', 'cel.bind(a, [a, a], ', '==', '&&', '||', '!', '?', ':', '[', ']', '(', ')', '{', '}', '"', '\\u{', 'r"', '9223372036854775808', '1.5', 'has(', 'size(', ' in ', 'dyn(', '\0'],
    read: (input) => {
      const text = Buffer.from(input).toString();
      const fault = expressionFault(text);
      const answer = evaluateExpression(text, facts);
      if (fault !== null && (answer.ok || answer.code !== 'Invalid')) throw new Error('evaluated what is no condition');
      return answer.ok || answer.code === 'TooCostly' ? 'Read' : answer.code;
    },
  }),
};
