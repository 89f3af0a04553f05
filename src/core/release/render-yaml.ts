import type { Json } from '../model/canonical-json.ts';
import { compareText } from '../model/names.ts';

/**
 * Block-style YAML of a JSON value: keys sorted, every string quoted as in JSON, so that one value has one text on every
 * machine and in every version of any YAML library. Part of rule set 1: it must never change.
 */
export function renderYaml(value: Json): string {
  return isBlock(value) ? `${lines(value, '').join('\n')}\n` : `${scalar(value)}\n`;
}

type Block = readonly Json[] | { readonly [key: string]: Json };

function isBlock(value: Json): value is Block {
  return typeof value === 'object' && value !== null && Object.keys(value).length > 0;
}

function scalar(value: Json): string {
  return JSON.stringify(value);
}

function lines(value: Block, indent: string): string[] {
  const entries: (readonly [string, Json])[] = Array.isArray(value)
    ? (value as readonly Json[]).map((item) => ['-', item] as const)
    : Object.entries(value).sort(([a], [b]) => compareText(a, b)).map(([key, item]) => [`${scalar(key)}:`, item] as const);
  return entries.flatMap(([lead, item]) => {
    if (!isBlock(item)) return [`${indent}${lead} ${scalar(item)}`];
    return [`${indent}${lead}`, ...lines(item, `${indent}  `)];
  });
}
