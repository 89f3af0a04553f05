import { documentKey, type AnyDocument, type DocumentOf, type Kind } from '../core/model/documents.ts';
import { checkUnprotected } from '../core/desired/check-unprotected.ts';
import { fileDiagnostics } from '../core/desired/desired-state.ts';
import { formatDiagnostic } from '../core/desired/diagnostic.ts';
import { unplaced, type DocumentLookup, type Located } from '../core/desired/document-lookup.ts';
import { allInForce, inForceOf, type LogState } from '../core/evidence/log-state.ts';
import type { Conditions } from './conditions.ts';
import type { Pass } from './pass.ts';

/** Files with faults, one condition each; what is mended is cleared. */
export function reportDeclarations(pass: Pass, conditions: Conditions): void {
  const { state } = pass.loaded;
  const byFile = Map.groupBy(fileDiagnostics(state), (d) => d.file ?? '');
  for (const known of conditions.all()) if (known.kind === 'File' && !byFile.has(known.name)) conditions.clear('File', known.name, 'Stalled');
  for (const [file, [first]] of byFile) {
    if (first !== undefined) conditions.stalled('File', file, { reason: 'Declaration', message: formatDiagnostic(first), file, line: first.line });
  }
  reportUnprotected(pass, conditions);
}

/** What keeps a promotion, release or configuration from having an effect: looked at when it changed, and while it stands. */
function reportUnprotected(pass: Pass, conditions: Conditions): void {
  const standing = new Set(conditions.all().filter((c) => c.reason === 'Declaration' && c.kind !== 'File').map((c) => documentKey(c.kind as Kind, c.name)));
  const keys = [...new Set([...pass.loaded.changedKeys, ...standing])].filter((key) => /^(?:Promotion|Release|Configuration)\//.test(key));
  if (keys.length === 0) return;
  const inForce = lookupInForce(pass.batch.state);
  const found = Map.groupBy(checkUnprotected(pass.loaded.state, inForce, keys).filter((d) => d.severity === 'error'), (d) => d.subject);
  for (const key of keys) {
    const [first] = found.get(key) ?? [];
    const slash = key.indexOf('/');
    const [kind, name] = [key.slice(0, slash), key.slice(slash + 1)];
    if (first !== undefined) conditions.stalled(kind, name, { reason: 'Declaration', message: formatDiagnostic(first), file: first.file, line: first.line });
    else if (standing.has(key)) conditions.clear(kind, name, 'Stalled');
  }
}

/** Documents in force as checks look them up: by name, without a look at the others. */
function lookupInForce(state: LogState): DocumentLookup {
  const located = <K extends Kind>(document: DocumentOf<K>): Located<K> => unplaced(document as unknown as AnyDocument) as unknown as Located<K>;
  return {
    get: (kind, name) => {
      const document = inForceOf(state, kind, name);
      return document === null ? undefined : located(document);
    },
    all: (kind) => allInForce(state, kind).map(located),
  };
}
