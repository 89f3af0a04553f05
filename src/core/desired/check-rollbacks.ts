import type { Diagnostic } from './diagnostic.ts';
import { diagnosticAt, type DocumentLookup, type Located } from './document-lookup.ts';

/** T12: a rule for rollbacks stands in the place of `approvals`. Where there are none it asks nobody, whatever it says. */
export function checkRollbacks(documents: DocumentLookup): readonly Diagnostic[] {
  return documents.all('Environment').flatMap((located) => {
    const { approvals, rollback } = located.document.spec;
    if (rollback === undefined || approvals !== undefined) return [];
    return [
      diagnosticAt(located as Located, ['spec', 'rollback'], {
        code: 'UnsupportedField', message: '`spec.rollback` stands in the place of `spec.approvals`, which are not there, so it asks nobody',
        remedy: 'Add `approvals`, or leave `rollback` out.',
      }),
    ];
  });
}
