import { describe, expect, test } from 'vitest';
import { parseTrailers } from '../../../src/core/commit/trailers.ts';

const DIGEST = `sha256:${'ab'.repeat(32)}`;
const OTHER = `sha256:${'cd'.repeat(32)}`;

describe('trailers of a commit message', () => {
  test('are those of ours in the last paragraph, in order, among others', () => {
    const message = `Approve shop\n\nWhy: see ticket\n\nSigned-off-by: Ada <ada@example.test>\nStella-Approval: ${DIGEST}\nStella-Change: ${OTHER}\n`;
    expect(parseTrailers(message)).toEqual([{ key: 'Stella-Approval', value: DIGEST }, { key: 'Stella-Change', value: OTHER }]);
  });

  test('are the same with and without final newlines', () => {
    const message = `Approve\n\nStella-Change: ${DIGEST}`;
    expect(['', '\n', '\n\n'].map((end) => parseTrailers(message + end).length)).toEqual([1, 1, 1]);
  });

  test.each([
    ['is the only paragraph', `Stella-Approval: ${DIGEST}\n`],
    ['follows blank lines but no subject', `\n\nStella-Approval: ${DIGEST}\n`],
    ['is not the last paragraph', `Approve\n\nStella-Approval: ${DIGEST}\n\nThat was it.\n`],
    ['stands in a paragraph of prose', `Approve\n\nMy approval is\nStella-Approval: ${DIGEST}\n`],
    ['is quoted', `Approve\n\n> Stella-Approval: ${DIGEST}\n`],
    ['is indented', `Approve\n\n  Stella-Approval: ${DIGEST}\n`],
    ['has CRLF line ends', `Approve\r\n\r\nStella-Approval: ${DIGEST}\r\n`],
    ['ends with a carriage return', `Approve\n\nStella-Approval: ${DIGEST}\r\n`],
    ['has no digest', 'Approve\n\nStella-Approval: yes\n'],
    ['has a digest in capitals', `Approve\n\nStella-Approval: ${DIGEST.toUpperCase()}\n`],
    ['has more behind the digest', `Approve\n\nStella-Approval: ${DIGEST} and more\n`],
    ['has another case', `Approve\n\nstella-approval: ${DIGEST}\n`],
    ['stands beside one of ours that we do not know', `Approve\n\nStella-Approval: ${DIGEST}\nStella-Anything: x\n`],
    ['stands beside one without digest', `Approve\n\nStella-Approval: ${DIGEST}\nStella-Approval: none\n`],
    ['has no space behind the colon', `Approve\n\nStella-Approval:${DIGEST}\n`],
    ['is missing', 'Approve\n'],
    ['is missing, as is everything', ''],
  ])('are none when the line %s', (_, message) => {
    expect(parseTrailers(message)).toEqual([]);
    expect(parseTrailers(`Approve\n\nStella-Approval: ${DIGEST}\n`)).toHaveLength(1);
  });
});
