import { expect, it } from 'vitest';
import { decide } from '../../src/core/decision/decide.ts';
import { largeDecisionInput } from './decision.ts';

it('the benchmark of the decision judges 50 gates over 200 approvals', () => {
  const input = largeDecisionInput();
  expect(decide(input).gates).toHaveLength(50);
  expect(input.approvals).toHaveLength(200);
});
