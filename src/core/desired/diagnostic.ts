import type { DocumentKey } from '../model/documents.ts';

/** Everything that can be wrong with declarations. Codes are stable; messages are for people. */
export type DiagnosticCode =
  // the file
  | 'FileTooLarge' | 'TooManyDocuments' | 'NotUtf8' | 'ByteOrderMark' | 'YamlSyntax' | 'DuplicateKey' | 'AliasRefused' | 'TagRefused'
  | 'DirectiveRefused' | 'TooDeep' | 'TooManyEntries' | 'ValueRefused' | 'NotADocument'
  // one document
  | 'UnsupportedVersion' | 'UnsupportedKind' | 'UnknownField' | 'UnsupportedField' | 'MissingField' | 'InvalidName' | 'UnsafePath' | 'InvalidValue'
  // documents together
  | 'DuplicateDocument' | 'DanglingReference' | 'Cycle' | 'DuplicateStep' | 'TrustRootCount' | 'SharedKey' | 'KeyUnreadable' | 'NotAPerson'
  | 'ThresholdUnreachable' | 'RoleUnheld' | 'ComponentShared' | 'TargetClaimed' | 'AgentIncapable' | 'OrderShared' | 'ExpressionInvalid';

/** Something wrong in a declaration, where it is, and what to do about it. */
export type Diagnostic = {
  readonly code: DiagnosticCode;
  /** An error keeps the document from being used; a warning does not. */
  readonly severity: 'error' | 'warning';
  /** Path in the repository; null for a document that is in force and no longer lies in the tree as it is. */
  readonly file: string | null;
  /** From 1; 0 where `file` is null. */
  readonly line: number;
  readonly column: number;
  readonly message: string;
  /** What to do, as a sentence. */
  readonly remedy: string;
  readonly subject?: DocumentKey;
};

/** `file:line:column: error Code: message. remedy`, as editors and terminals make links of. */
export function formatDiagnostic(d: Diagnostic): string {
  const place = d.file === null ? (d.subject ?? 'in force') : `${d.file}:${d.line}:${d.column}`;
  return `${place}: ${d.severity} ${d.code}: ${d.message}. ${d.remedy}`;
}

/** Orders by file, line, column and code, the same on every machine. */
export function compareDiagnostics(a: Diagnostic, b: Diagnostic): number {
  const files = compare(a.file ?? '', b.file ?? '');
  return files || a.line - b.line || a.column - b.column || compare(a.code, b.code) || compare(a.subject ?? '', b.subject ?? '') || compare(a.message, b.message);
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
