import { compareText } from '../model/names.ts';
import type { Diagnostic } from './diagnostic.ts';
import { diagnosticAt, type DocumentLookup, type Located } from './document-lookup.ts';

/** T17: a component belongs to one application, and a folder of a machine to one target. */
export function checkClaims(documents: DocumentLookup): readonly Diagnostic[] {
  return [...sharedComponents(documents), ...overlappingTargets(documents), ...sharedOrders(documents)];
}

function sharedComponents(documents: DocumentLookup): readonly Diagnostic[] {
  const claims = new Map<string, { readonly located: Located<'Application'>; readonly index: number }[]>();
  for (const located of documents.all('Application')) {
    located.document.spec.components.forEach((component, index) => claims.set(component, [...(claims.get(component) ?? []), { located, index }]));
  }
  return [...claims].filter(([, users]) => users.length > 1).flatMap(([component, users]) =>
    users.map(({ located, index }) =>
      diagnosticAt(located as Located, ['spec', 'components', index], {
        code: 'ComponentShared',
        message: `component ${component} is claimed by ${users.map((u) => u.located.document.metadata.name).join(' and ')}, but a component belongs to one application`,
        remedy: 'Leave it in one application; for the other one add a component with a name of its own and the same repository.',
      }),
    ),
  );
}

type Folder = { readonly located: Located<'Target'>; readonly field: 'root' | 'folder'; readonly path: string };

function overlappingTargets(documents: DocumentLookup): readonly Diagnostic[] {
  const byAgent = new Map<string, Folder[]>();
  for (const located of documents.all('Target')) {
    const { agent, connection } = located.document.spec;
    const field = connection.root === undefined ? 'folder' : 'root';
    const path = connection[field];
    if (path === undefined) continue;
    const folders = byAgent.get(agent) ?? [];
    folders.push({ located, field, path: `${path}/` });
    byAgent.set(agent, folders);
  }
  return [...byAgent.values()].flatMap(overlaps);
}

/** Folders that are equal or lie within each other; sorted by path, such folders follow each other. */
function overlaps(folders: readonly Folder[]): readonly Diagnostic[] {
  const found: Diagnostic[] = [];
  const above: Folder[] = [];
  for (const folder of [...folders].sort((a, b) => compareText(a.path, b.path) || compareText(a.located.key, b.located.key))) {
    while (above.length > 0 && !folder.path.startsWith(above.at(-1)?.path ?? '')) above.pop();
    const outer = above.at(-1);
    if (outer !== undefined) found.push(overlap(folder, outer), overlap(outer, folder));
    above.push(folder);
  }
  return found;
}

function overlap(folder: Folder, other: Folder): Diagnostic {
  return diagnosticAt(folder.located as Located, ['spec', 'connection', folder.field], {
    code: 'TargetClaimed',
    message: `targets ${folder.located.document.metadata.name} and ${other.located.document.metadata.name} claim the same folder of agent ${folder.located.document.spec.agent}`,
    remedy: 'Give each target a folder of its own, or make them one target that names both environments or applications.',
  });
}

function sharedOrders(documents: DocumentLookup): readonly Diagnostic[] {
  const byOrder = new Map<number, Located<'Environment'>[]>();
  for (const located of documents.all('Environment')) byOrder.set(located.document.spec.order, [...(byOrder.get(located.document.spec.order) ?? []), located]);
  return [...byOrder].filter(([, users]) => users.length > 1).flatMap(([order, users]) =>
    users.map((located) =>
      diagnosticAt(located as Located, ['spec', 'order'], {
        code: 'OrderShared', severity: 'warning',
        message: `environments ${users.map((u) => u.document.metadata.name).join(' and ')} all have order ${order}, so lists show them by name`,
        remedy: 'Give each environment a place of its own.',
      }),
    ),
  );
}
