import { expect, test } from 'vitest';
import { figures, median, medianOfPaired, percentile } from './figure.ts';

test('a figure without its file is not there', () => {
  expect(figures(() => false)).toEqual([]);
  expect(figures((file) => file.pathname.endsWith('/cli-start.ts')).map(({ name }) => name)).toEqual(['cli_start_vs_node']);
});

test('the median lies in the middle and a percentile between two values', () => {
  expect(median([3, 1, 2])).toBe(2);
  expect(median([4, 1, 3, 2])).toBe(2.5);
  expect(percentile([0, 10], 0.95)).toBeCloseTo(9.5);
  expect(() => median([])).toThrow(RangeError);
});

test('alternatives are measured in turn and both come first equally often', async () => {
  const calls: string[] = [];
  await medianOfPaired(4, () => void calls.push('a'), () => void calls.push('b'));
  expect(calls.join('')).toBe('baabbaabba');
});
