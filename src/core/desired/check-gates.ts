import { expressionFault } from '../model/expression.ts';
import type { DocumentOf } from '../model/documents.ts';
import { isVersionAtLeast } from '../release/versions.ts';
import { calendarFaults, type Fault } from './check-freezes.ts';
import { namesOnCycles } from './check-cycles.ts';
import type { Diagnostic } from './diagnostic.ts';
import { diagnosticAt, type DocumentLookup, type Located } from './document-lookup.ts';

/** T12: gates that would not mean what they seem to: calendars and expressions that are none, versions without an order, and what waits for itself. */
export function checkGates(documents: DocumentLookup): readonly Diagnostic[] {
  const faulty = documents.all('Gate').flatMap((located) =>
    faultsIn(located.document).map(({ path, code = 'InvalidValue', message, remedy }: GateFault) => diagnosticAt(located as Located, ['spec', ...path], { code, message, remedy })),
  );
  return [...faulty, ...circles(documents)];
}

type GateFault = Fault & { readonly code?: 'ExpressionInvalid' | 'InvalidValue' };

function faultsIn({ spec }: DocumentOf<'Gate'>): readonly GateFault[] {
  switch (spec.type) {
    case 'window':
      return calendarFaults(['calendar'], spec.calendar);
    case 'dependency':
      return spec.on.flatMap(({ atLeast }, i) => (atLeast === undefined || isVersionAtLeast(atLeast, atLeast) ? [] : [{
        path: ['on', i, 'atLeast'], message: `${atLeast} is no version that others could be newer than`, remedy: 'Write numbers with dots, as 1.4.0, or demand exactly one `release`.',
      }]));
    case 'expression': {
      const fault = expressionFault(spec.expression);
      return fault === null ? [] : [{ path: ['expression'], code: 'ExpressionInvalid', message: `the expression is no condition: ${fault.message}, at character ${fault.at + 1}`, remedy: 'docs/declarations.md lists what an expression may ask.' }];
    }
    case 'concurrency':
    case 'hold':
      return [];
  }
}

/** What waits, by way of dependencies, for itself: none of it could ever be promoted first. */
function circles(documents: DocumentLookup): readonly Diagnostic[] {
  const needs = needsOf(documents);
  const cyclic = namesOnCycles(new Map([...needs].map(([place, list]) => [place, list.map(({ needed }) => needed)])));
  const found = new Map<string, Diagnostic>();
  for (const [place, list] of needs) {
    for (const { needed, gate, index } of list) {
      if (!cyclic.has(place) || !cyclic.has(needed)) continue;
      found.set(`${gate.key} ${index}`, diagnosticAt(gate as Located, ['spec', 'on', index], {
        code: 'Cycle', message: `${place} waits for ${needed}, which waits, by way of gates, for ${place}, so neither could ever be promoted first`, remedy: 'Take one dependency out of the circle.',
      }));
    }
  }
  return [...found.values()];
}

type Need = { readonly needed: string; readonly gate: Located<'Gate'>; readonly index: number };

/** What each `<environment>/<application>` that some target lets meet needs, by the gates of both. */
function needsOf(documents: DocumentLookup): ReadonlyMap<string, readonly Need[]> {
  const needs = new Map<string, readonly Need[]>();
  for (const { document: { spec } } of documents.all('Target')) {
    for (const environment of spec.environments) {
      for (const application of spec.applications) {
        const place = `${environment}/${application}`;
        if (!needs.has(place)) needs.set(place, needsAt(documents, environment, application));
      }
    }
  }
  return needs;
}

function needsAt(documents: DocumentLookup, environment: string, application: string): readonly Need[] {
  const names = new Set([...(documents.get('Environment', environment)?.document.spec.gates ?? []), ...(documents.get('Application', application)?.document.spec.gates ?? [])]);
  return [...names].flatMap((name) => {
    const gate = documents.get('Gate', name);
    if (gate === undefined || gate.document.spec.type !== 'dependency') return [];
    return gate.document.spec.on.flatMap((one, index) => {
      const needed = `${one.environment ?? environment}/${one.application}`;
      // What an application would need of itself is not asked.
      return needed === `${environment}/${application}` ? [] : [{ needed, gate, index }];
    });
  });
}
