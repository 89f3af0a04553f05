import { documentKey, type AnyDocument, type DocumentKey, type DocumentOf, type Kind } from '../model/documents.ts';
import { compareText } from '../model/names.ts';
import type { Diagnostic, DiagnosticCode } from './diagnostic.ts';
import { positionAt, type FieldPath, type Positions } from './source-position.ts';

/** A document and where it stands; a document in force that no longer stands in the tree as it is has no place. */
export type Located<K extends Kind = Kind> = {
  readonly key: DocumentKey;
  readonly document: DocumentOf<K>;
  readonly file: string | null;
  readonly positions: Positions | null;
};

/** Finds documents by name. Checks see nothing else, so they run on the tree, on what is in force, and on what would be. */
export interface DocumentLookup {
  get<K extends Kind>(kind: K, name: string): Located<K> | undefined;
  /** Sorted by name. */
  all<K extends Kind>(kind: K): readonly Located<K>[];
}

/** A lookup over documents with distinct keys. Of two with one key the later one is found: callers leave both out (T10). */
export function lookupOf(documents: Iterable<Located>): DocumentLookup {
  const byKey = new Map<DocumentKey, Located>();
  for (const located of documents) byKey.set(located.key, located);
  const byKind = new Map<Kind, Located[]>();
  for (const located of byKey.values()) {
    const { kind } = located.document;
    byKind.set(kind, [...(byKind.get(kind) ?? []), located]);
  }
  for (const list of byKind.values()) list.sort((a, b) => compareText(a.key, b.key));
  return {
    get: <K extends Kind>(kind: K, name: string) => byKey.get(documentKey(kind, name)) as Located<K> | undefined,
    all: <K extends Kind>(kind: K) => (byKind.get(kind) ?? []) as unknown as readonly Located<K>[],
  };
}

/** A document without a place, such as one that is in force. */
export function unplaced(document: AnyDocument): Located {
  return { key: documentKey(document.kind, document.metadata.name), document: document as Located['document'], file: null, positions: null };
}

export type Finding = { readonly code: DiagnosticCode; readonly message: string; readonly remedy: string; readonly severity?: 'warning' };

/** A diagnostic about the field at `path` of a document. */
export function diagnosticAt(located: Located, path: FieldPath, finding: Finding): Diagnostic {
  const { key: subject, file, positions } = located;
  const position = file === null || positions === null ? { line: 0, column: 0 } : positionAt(located.document, positions, path);
  return { code: finding.code, severity: finding.severity ?? 'error', file, ...position, message: finding.message, remedy: finding.remedy, subject };
}
