import type { DocumentOf } from '../model/documents.ts';
import { danglingIn } from './check-references.ts';
import type { Diagnostic } from './diagnostic.ts';
import { diagnosticAt, type DocumentLookup, type Located } from './document-lookup.ts';

/** T12: a rule for automatic promotion that could never promote anything, or not what it seems to. */
export function checkAutomatic(documents: DocumentLookup): readonly Diagnostic[] {
  return documents.all('Environment').flatMap((located) => [...ruleFaults(located), ...applicationFaults(located, documents)]);
}

function ruleFaults(located: Located<'Environment'>): readonly Diagnostic[] {
  const { automatic, from = [] } = located.document.spec;
  if (automatic === undefined) return [];
  if ((automatic.from === undefined) === (automatic.channel === undefined)) {
    return [diagnosticAt(located as Located, ['spec', 'automatic'], {
      code: 'InvalidValue', message: '`spec.automatic` needs exactly one of `from` and `channel`, or nobody can tell which release is wanted', remedy: 'Keep one of the two.',
    })];
  }
  if (automatic.from === undefined || from.some(({ environment }) => environment === automatic.from)) return [];
  return [diagnosticAt(located as Located, ['spec', 'automatic', 'from'], {
    code: 'UnsupportedField', message: `\`spec.automatic.from\` names ${automatic.from}, which is none of the environments in \`spec.from\`, so what runs there might never come here`,
    remedy: `Add it to \`spec.from\`, with the time that a release must have run there, or name one of ${namesOf(located.document)}.`,
  })];
}

function namesOf({ spec }: DocumentOf<'Environment'>): string {
  return (spec.from ?? []).map(({ environment }) => environment).join(', ') || 'its entries, of which there are none';
}

/** Applications that do not exist, and such as no target here takes: then nothing could be promoted. */
function applicationFaults(located: Located<'Environment'>, documents: DocumentLookup): readonly Diagnostic[] {
  const { metadata, spec } = located.document;
  const names = spec.automatic?.applications ?? [];
  const references = names.map((name, i) => ({ path: ['spec', 'automatic', 'applications', i], kind: 'Application' as const, name }));
  const placed = new Set(documents.all('Target').flatMap(({ document }) => (document.spec.environments.includes(metadata.name) ? document.spec.applications : [])));
  const missing = references.filter(({ name }) => documents.get('Application', name) !== undefined && !placed.has(name));
  return [
    ...danglingIn(located as Located, references, documents),
    ...missing.map(({ path, name }) => diagnosticAt(located as Located, path, {
      code: 'UnsupportedField', message: `no target of ${metadata.name} takes application ${name}, so it is never promoted there`, remedy: `Name ${name} and ${metadata.name} in a Target, or take it out.`,
    })),
  ];
}
