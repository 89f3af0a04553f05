import type { Diagnostic } from './diagnostic.ts';
import { diagnosticAt, type DocumentLookup, type Located } from './document-lookup.ts';
import type { FieldPath } from './source-position.ts';

/** Environments that come from each other, and workflow steps that need each other, twice or nobody. */
export function checkCycles(documents: DocumentLookup): readonly Diagnostic[] {
  return [...environmentCycles(documents), ...documents.all('Workflow').flatMap(checkWorkflow)];
}

function environmentCycles(documents: DocumentLookup): readonly Diagnostic[] {
  const environments = documents.all('Environment');
  const edges = new Map(environments.map(({ document }) => [document.metadata.name, (document.spec.from ?? []).map((f) => f.environment)]));
  const cyclic = namesOnCycles(edges);
  return environments
    .filter(({ document }) => cyclic.has(document.metadata.name))
    .map((located) =>
      diagnosticAt(located as Located, ['spec', 'from'], {
        code: 'Cycle',
        message: `environment ${located.document.metadata.name} comes, by way of its \`from\`, from itself, so nothing could ever be promoted to it`,
        remedy: 'Remove one `from` of the circle, so that one environment is the first.',
      }),
    );
}

function checkWorkflow(located: Located<'Workflow'>): readonly Diagnostic[] {
  const { steps } = located.document.spec;
  const edges = new Map(steps.map((step) => [step.name, step.needs ?? []]));
  const cyclic = namesOnCycles(edges);
  const seen = new Set<string>();
  return steps.flatMap((step, i) => {
    const path: FieldPath = ['spec', 'steps', i];
    const found: Diagnostic[] = [];
    if (seen.has(step.name)) found.push(stepTwice(located, path, step.name));
    seen.add(step.name);
    (step.needs ?? []).forEach((need, n) => {
      if (!edges.has(need)) found.push(stepUnknown(located, [...path, 'needs', n], step.name, need));
    });
    if (cyclic.has(step.name)) found.push(stepCycle(located, [...path, 'needs'], step.name));
    return found;
  });
}

const stepTwice = (located: Located<'Workflow'>, path: FieldPath, name: string): Diagnostic =>
  diagnosticAt(located as Located, [...path, 'name'], { code: 'DuplicateStep', message: `two steps are named ${name}`, remedy: 'Give each step a name of its own.' });

const stepUnknown = (located: Located<'Workflow'>, path: FieldPath, name: string, need: string): Diagnostic =>
  diagnosticAt(located as Located, path, { code: 'DanglingReference', message: `step ${name} needs step ${need}, which does not exist`, remedy: `Add a step ${need}, or take it out of \`needs\`.` });

const stepCycle = (located: Located<'Workflow'>, path: FieldPath, name: string): Diagnostic =>
  diagnosticAt(located as Located, path, { code: 'Cycle', message: `step ${name} waits, by way of its \`needs\`, for itself`, remedy: 'Take one step of the circle out of the `needs` of another.' });

/** Names from which a way leads back to them: those in a strongly connected part with more than one name, or with an edge to itself. */
export function namesOnCycles(edges: ReadonlyMap<string, readonly string[]>): ReadonlySet<string> {
  // What nothing points to, or what points to nothing, is on no cycle: take it away until only cycles and ways between them are left.
  const forward = trimmed(edges);
  const backward = trimmed(reversed(edges));
  const left = new Map([...forward].filter(([name]) => backward.has(name)));
  const cyclic = new Set<string>();
  for (const name of left.keys()) if (!cyclic.has(name)) for (const member of cycleThrough(name, left)) cyclic.add(member);
  return cyclic;
}

function reversed(edges: ReadonlyMap<string, readonly string[]>): Map<string, string[]> {
  const back = new Map<string, string[]>([...edges.keys()].map((name) => [name, []]));
  for (const [from, to] of edges) for (const name of to) back.get(name)?.push(from);
  return back;
}

/** Kahn's algorithm: without names from which every way ends. */
function trimmed(edges: ReadonlyMap<string, readonly string[]>): Map<string, readonly string[]> {
  const back = reversed(edges);
  const open = new Map([...edges].map(([name, to]) => [name, to.filter((t) => edges.has(t)).length]));
  const ends = [...open].filter(([, count]) => count === 0).map(([name]) => name);
  for (let name = ends.pop(); name !== undefined; name = ends.pop()) {
    open.delete(name);
    for (const before of back.get(name) ?? []) {
      const count = (open.get(before) ?? 0) - 1;
      open.set(before, count);
      if (count === 0) ends.push(before);
    }
  }
  return new Map([...edges].filter(([name]) => open.has(name)));
}

/** All names that `start` reaches and that reach it; empty when it does not reach itself. */
function cycleThrough(start: string, edges: ReadonlyMap<string, readonly string[]>): readonly string[] {
  const ahead = reachable(start, edges);
  if (!ahead.has(start)) return [];
  const behind = reachable(start, reversed(edges));
  return [...ahead].filter((name) => behind.has(name));
}

function reachable(start: string, edges: ReadonlyMap<string, readonly string[]>): Set<string> {
  const seen = new Set<string>();
  const open = [...(edges.get(start) ?? [])];
  for (let name = open.pop(); name !== undefined; name = open.pop()) {
    if (seen.has(name) || !edges.has(name)) continue;
    seen.add(name);
    open.push(...(edges.get(name) ?? []));
  }
  return seen;
}
