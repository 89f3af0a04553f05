import type { DocumentOf, Kind, NotifierSpec } from '../model/documents.ts';
import type { Diagnostic } from './diagnostic.ts';
import { diagnosticAt, type DocumentLookup, type Located } from './document-lookup.ts';
import { fieldName, type FieldPath } from './source-position.ts';

/** A name in one document that must be the name of another. */
type Reference = { readonly path: FieldPath; readonly kind: Kind; readonly name: string; readonly severity?: 'warning' };

/** Names in protected documents that lead nowhere (T12). Costs what protected documents there are. */
export function checkReferences(documents: DocumentLookup): readonly Diagnostic[] {
  const found: Diagnostic[] = [];
  for (const kind of ['TrustRoot', 'Principal', 'Application', 'Component', 'Environment', 'Target', 'Agent', 'Gate', 'Freeze', 'Integration'] as const) {
    for (const located of documents.all(kind)) found.push(...danglingIn(located, referencesOf(located as Located), documents));
  }
  for (const target of documents.all('Target')) found.push(...incapableAgent(target, documents));
  return found;
}

/** A diagnostic for every reference that leads nowhere. */
export function danglingIn(located: Located, references: readonly Reference[], documents: DocumentLookup): readonly Diagnostic[] {
  return references
    .filter(({ kind, name }) => documents.get(kind, name) === undefined)
    .map(({ path, kind, name, severity }) =>
      diagnosticAt(located, path, {
        code: 'DanglingReference',
        message: `\`${fieldName(path)}\` names ${kind} ${name}, which does not exist`,
        remedy: `Add ${kind} ${name}, or name an existing one.`,
        ...(severity === undefined ? {} : { severity }),
      }),
    );
}

const list = (path: FieldPath, kind: Kind, names: readonly string[] | undefined): readonly Reference[] => (names ?? []).map((name, i) => ({ path: [...path, i], kind, name }));
const one = (path: FieldPath, kind: Kind, name: string | undefined): readonly Reference[] => (name === undefined ? [] : [{ path, kind, name }]);

function referencesOf(located: Located): readonly Reference[] {
  const { document } = located as { readonly document: { [K in Kind]: Located<K>['document'] }[Kind] };
  switch (document.kind) {
    case 'TrustRoot':
      return document.spec.keys.flatMap(({ principal }, i) => one(['spec', 'keys', i, 'principal'], 'Principal', principal));
    case 'Principal':
      // A role for a place that does not exist entitles nobody to anything.
      return (document.spec.roles ?? []).flatMap((role, i) => scope(['spec', 'roles', i], role)).map((r) => ({ ...r, severity: 'warning' as const }));
    case 'Application':
      return [...list(['spec', 'components'], 'Component', document.spec.components), ...one(['spec', 'workflow'], 'Workflow', document.spec.workflow), ...list(['spec', 'gates'], 'Gate', document.spec.gates)];
    case 'Component':
      return one(['spec', 'registry'], 'Integration', document.spec.registry);
    case 'Environment':
      return [
        ...(document.spec.from ?? []).flatMap(({ environment }, i) => one(['spec', 'from', i, 'environment'], 'Environment', environment)),
        ...one(['spec', 'workflow'], 'Workflow', document.spec.workflow), ...list(['spec', 'gates'], 'Gate', document.spec.gates),
      ];
    case 'Target':
      return [...one(['spec', 'agent'], 'Agent', document.spec.agent), ...scope(['spec'], document.spec)];
    case 'Agent':
      return one(['spec', 'owner'], 'Principal', document.spec.owner);
    case 'Integration':
      return document.spec.type.startsWith('notifier-') ? scope(['spec'], document.spec as NotifierSpec) : [];
    case 'Gate':
      return gateReferences(document.spec);
    case 'Freeze':
      // T12: a freeze of a place that does not exist would be an open door.
      return [...scope(['spec'], document.spec), ...(document.spec.releases ?? []).flatMap((release, i) => one(['spec', 'releases', i], 'Application', release.slice(0, release.indexOf('/'))))];
    default:
      return [];
  }
}

function gateReferences(spec: DocumentOf<'Gate'>['spec']): readonly Reference[] {
  if (spec.type === 'concurrency') return scope(['spec'], spec);
  if (spec.type !== 'dependency') return [];
  return spec.on.flatMap(({ application, environment }, i) => [...one(['spec', 'on', i, 'application'], 'Application', application), ...one(['spec', 'on', i, 'environment'], 'Environment', environment)]);
}

function scope(path: FieldPath, names: { readonly environments?: readonly string[]; readonly applications?: readonly string[] }): readonly Reference[] {
  return [...list([...path, 'environments'], 'Environment', names.environments), ...list([...path, 'applications'], 'Application', names.applications)];
}

function incapableAgent(target: Located<'Target'>, documents: DocumentLookup): readonly Diagnostic[] {
  const { agent, type } = target.document.spec;
  const found = documents.get('Agent', agent);
  if (found === undefined || found.document.spec.capabilities.includes(type)) return [];
  return [
    diagnosticAt(target as Located, ['spec', 'agent'], {
      code: 'AgentIncapable',
      message: `agent ${agent} cannot work on a ${type}`,
      remedy: `Add ${type} to the capabilities of agent ${agent}, or name another agent.`,
    }),
  ];
}
