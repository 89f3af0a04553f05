import { Lexer, Parser, type CST, type LineCounter } from 'yaml';
import { limits } from '../../core/model/limits.ts';

/** Why reading stopped early. `offset` counts UTF-16 code units from the start of the file. */
export type TokenFault = { readonly code: 'TooDeep' | 'TooManyEntries' | 'TooManyDocuments' | 'YamlSyntax'; readonly offset: number; readonly message: string };
export type TokenResult = { readonly ok: true; readonly tokens: readonly CST.Token[] } | { readonly ok: false; readonly fault: TokenFault };

/**
 * Splits a file into the tokens of its documents, and stops at the first place that is beyond a limit or no YAML: past
 * those, parsing takes time that grows with the square of the size. Nesting counts what the parser has open at once.
 */
export function tokenise(text: string, lines: LineCounter): TokenResult {
  const parser = new Parser(lines.addNewLine);
  lines.addNewLine(0);
  const tokens: CST.Token[] = [];
  let documents = 0;
  const take = (produced: Iterable<CST.Token>): TokenFault | null => {
    for (const token of produced) {
      tokens.push(token);
      if (token.type === 'error') return { code: 'YamlSyntax', offset: token.offset, message: token.message };
      if (token.type === 'document') documents += 1;
      if (documents > limits.documentsPerFile) return { code: 'TooManyDocuments', offset: parser.offset, message: '' };
    }
    return null;
  };
  for (const lexeme of new Lexer().lex(text)) {
    const fault = take(parser.next(lexeme)) ?? limitFault(parser);
    if (fault !== null) return { ok: false, fault };
  }
  const fault = take(parser.end());
  return fault === null ? { ok: true, tokens } : { ok: false, fault };
}

function limitFault(parser: Parser): TokenFault | null {
  // The document itself and the scalar at hand are open as well.
  if (parser.stack.length > limits.documentDepth + 2) return { code: 'TooDeep', offset: parser.offset, message: '' };
  const top = parser.stack.at(-1);
  if (top === undefined) return null;
  const entries = 'items' in top ? top.items.length : 0;
  const around = 'items' in top ? aroundCount(top.items.at(-1)) : 'start' in top && Array.isArray(top.start) ? top.start.length : 0;
  return Math.max(entries, around) > limits.documentEntries ? { code: 'TooManyEntries', offset: parser.offset, message: '' } : null;
}

/** White space, comments and marks around one entry. */
function aroundCount(item: CST.CollectionItem | undefined): number {
  return (item?.start.length ?? 0) + (item?.sep?.length ?? 0);
}
