import { TEMPLATE_NAMES, unknownNames } from '../model/notifier.ts';
import type { Diagnostic } from './diagnostic.ts';
import { diagnosticAt, type DocumentLookup, type Located } from './document-lookup.ts';

/** T12: templates with names that mean nothing, and components whose registry is none. */
export function checkNotifiers(documents: DocumentLookup): readonly Diagnostic[] {
  return [...documents.all('Integration').flatMap(templateFaults), ...documents.all('Component').flatMap((located) => registryFaults(located, documents))];
}

function templateFaults(located: Located<'Integration'>): readonly Diagnostic[] {
  const { spec } = located.document;
  const template = 'template' in spec ? (spec.template ?? {}) : {};
  return (['subject', 'text'] as const).flatMap((part) => unknownNames(template[part] ?? '').map((name) => diagnosticAt(located as Located, ['spec', 'template', part], {
    code: 'InvalidValue', message: `the template holds ${name === '{{' || name === '}}' ? `${name} without a name` : `{{${name}}}, which means nothing`}`, remedy: `Write one of ${TEMPLATE_NAMES.map((known) => `{{${known}}}`).join(', ')}.`,
  })));
}

function registryFaults(located: Located<'Component'>, documents: DocumentLookup): readonly Diagnostic[] {
  const { registry } = located.document.spec;
  const type = documents.get('Integration', registry)?.document.spec.type;
  if (type === undefined || type === 'registry') return [];
  return [diagnosticAt(located as Located, ['spec', 'registry'], { code: 'InvalidValue', message: `Integration ${registry} is a ${type}, which holds no images`, remedy: 'Name an Integration of type registry.' })];
}
