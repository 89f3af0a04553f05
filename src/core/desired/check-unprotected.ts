import type { DocumentKey } from '../model/documents.ts';
import { splitPair } from '../model/names.ts';
import { danglingIn } from './check-references.ts';
import { documentsOf, findDocument, releaseNamedBy, type DesiredState } from './desired-state.ts';
import { compareDiagnostics, type Diagnostic } from './diagnostic.ts';
import { diagnosticAt, type DocumentLookup, type Located } from './document-lookup.ts';

/**
 * What keeps Promotions, Releases and Configurations of the tree from having an effect, judged against the protected
 * documents in force (T14).
 * @param only keys to look at, such as those that `applyFiles` calls changed; left out: all
 */
export function checkUnprotected(desired: DesiredState, inForce: DocumentLookup, only?: Iterable<DocumentKey>): readonly Diagnostic[] {
  const found: Diagnostic[] = [];
  for (const located of candidates(desired, only)) found.push(...checkDocument(located, desired, inForce));
  return found.sort(compareDiagnostics);
}

function candidates(desired: DesiredState, only: Iterable<DocumentKey> | undefined): readonly Located[] {
  const kinds = ['Promotion', 'Release', 'Configuration'] as const;
  if (only === undefined) return kinds.flatMap((kind) => documentsOf(desired, kind));
  return [...only].flatMap((key) => kinds.flatMap((kind) => desired.usable[kind].get(key) ?? []));
}

function checkDocument(located: Located, desired: DesiredState, inForce: DocumentLookup): readonly Diagnostic[] {
  switch (located.document.kind) {
    case 'Promotion':
      return [...checkPlace(located, inForce), ...checkNamedRelease(located, desired)];
    case 'Configuration':
      return [...checkPlace(located, inForce), ...checkVariables(located as unknown as Located<'Configuration'>)];
    case 'Release':
      return checkRelease(located as unknown as Located<'Release'>, inForce);
    default:
      return [];
  }
}

/** Environment and application of a document that is named after both. */
function checkPlace(located: Located, inForce: DocumentLookup): readonly Diagnostic[] {
  const [environment, application] = splitPair(located.document.metadata.name);
  const path = ['metadata', 'name'];
  return danglingIn(located, [{ path, kind: 'Environment', name: environment }, { path, kind: 'Application', name: application }], inForce);
}

function checkNamedRelease(located: Located, desired: DesiredState): readonly Diagnostic[] {
  const key = releaseNamedBy(located);
  if (key === null) return [];
  const name = key.slice('Release/'.length);
  const found = findDocument(desired, 'Release', name);
  if (found.status === 'present') return [];
  const why = found.status === 'absent' ? 'which does not exist' : `whose document in ${found.claims[0]?.file ?? '?'} cannot be used`;
  return [
    diagnosticAt(located, ['spec', 'release'], {
      code: 'DanglingReference', message: `\`spec.release\` names Release ${name}, ${why}`,
      remedy: found.status === 'absent' ? `Add it (\`stella release create\`), or name an existing version of ${splitPair(name)[0]}.` : 'Correct that document first.',
    }),
  ];
}

function checkRelease(located: Located<'Release'>, inForce: DocumentLookup): readonly Diagnostic[] {
  const [application] = splitPair(located.document.metadata.name);
  const owner = inForce.get('Application', application);
  if (owner === undefined) return danglingIn(located as Located, [{ path: ['metadata', 'name'], kind: 'Application', name: application }], inForce);
  const strangers = Object.keys(located.document.spec.components).filter((component) => !owner.document.spec.components.includes(component));
  return strangers.map((component) =>
    diagnosticAt(located as Located, ['spec', 'components', component], {
      code: 'DanglingReference', message: `component ${component} does not belong to application ${application}`,
      remedy: `Take it out, or add it to the components of application ${application}, which takes a quorum.`,
    }),
  );
}

function checkVariables(located: Located<'Configuration'>): readonly Diagnostic[] {
  const { variables = {}, secrets = {} } = located.document.spec;
  return Object.keys(variables).filter((name) => Object.hasOwn(secrets, name)).map((name) =>
    diagnosticAt(located as Located, ['spec', 'variables', name], {
      code: 'InvalidValue', message: `${name} is both a variable and a secret`, remedy: 'Keep one of the two.',
    }),
  );
}
