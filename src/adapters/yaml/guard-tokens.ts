import type { CST } from 'yaml';
import type { DiagnosticCode } from '../../core/desired/diagnostic.ts';
import { limits } from '../../core/model/limits.ts';

/** Something that is refused before a document is composed. `offset` counts UTF-16 code units from the start of the file. */
export type GuardFinding = { readonly code: Extract<DiagnosticCode, 'AliasRefused' | 'TagRefused' | 'TooDeep' | 'TooManyEntries' | 'ByteOrderMark'>; readonly offset: number };

/** What a kind of file may use. */
export type GuardRules = { readonly aliases: 'refused' | 'allowed' };

type Frame = { readonly token: CST.Token; readonly depth: number };

/**
 * Looks through the tokens of one document for what may not be there: nesting and lists beyond the limits (composing is
 * recursive), tags, and, unless allowed, anchors and aliases.
 * `tokenise` has stopped before most of it.
 * @returns the first finding in the order of the walk, or null
 */
export function guardDocument(document: CST.Document, rules: GuardRules): GuardFinding | null {
  const open: Frame[] = [];
  const sources = (tokens: readonly CST.SourceToken[] | undefined): GuardFinding | null => {
    for (const token of tokens ?? []) {
      const finding = guardSource(token, rules);
      if (finding !== null) return finding;
    }
    return null;
  };
  let finding = sources(document.start);
  if (document.value !== undefined) open.push({ token: document.value, depth: 1 });
  for (let frame = open.pop(); finding === null && frame !== undefined; frame = open.pop()) {
    const { token, depth } = frame;
    if (token.type === 'alias' && rules.aliases === 'refused') return { code: 'AliasRefused', offset: token.offset };
    if (!('items' in token)) continue;
    if (depth > limits.documentDepth) return { code: 'TooDeep', offset: token.offset };
    if (token.items.length > limits.documentEntries) return { code: 'TooManyEntries', offset: token.offset };
    for (const item of token.items) {
      finding ??= sources(item.start) ?? sources(item.sep);
      if (item.key !== undefined && item.key !== null) open.push({ token: item.key, depth: depth + 1 });
      if (item.value !== undefined) open.push({ token: item.value, depth: depth + 1 });
    }
  }
  return finding;
}

function guardSource(token: CST.SourceToken, rules: GuardRules): GuardFinding | null {
  if (token.type === 'tag') return { code: 'TagRefused', offset: token.offset };
  if (token.type === 'anchor' && rules.aliases === 'refused') return { code: 'AliasRefused', offset: token.offset };
  if (token.type === 'byte-order-mark') return { code: 'ByteOrderMark', offset: token.offset };
  return null;
}
