import { arrowsOf, type Arrow, type Finding, type Source } from './source.ts';

/** What each layer may import besides itself. Arrows point inward; only `bin` and the `compose` folder of a face put adapters to work. */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  core: [],
  ports: ['core'],
  adapters: ['core', 'ports', 'generated'],
  reconciler: ['core', 'ports'],
  config: ['core'],
  api: ['core', 'ports', 'reconciler', 'config'],
  agent: ['core', 'ports', 'reconciler', 'config'],
  cli: ['core', 'ports', 'reconciler', 'config'],
  compose: ['core', 'ports', 'reconciler', 'config', 'adapters', 'api', 'agent', 'cli'],
  web: [],
  generated: [],
  bin: ['core', 'ports', 'reconciler', 'config', 'adapters', 'api', 'agent', 'cli', 'compose', 'web'],
};

/** Shapes of settings are handed in as values; reading them is not the business of these. */
const MAY_IMPORT_TYPES: Readonly<Record<string, readonly string[]>> = { adapters: ['config'], reconciler: ['config'] };

/** What ends or asks after a process, and what a machine is; nothing of this process's own surroundings. */
const HARMLESS_OF_PROCESS = new Set(['kill', 'platform', 'arch', 'pid', 'hrtime', 'versions']);

/** The stages of the core, each seeing the ones before it. */
const STAGES = ['model', 'commit', 'trust', 'desired', 'release', 'decision', 'workflow', 'evidence', 'order', 'proposal'] as const;

/**
 * Values that every stage speaks of, kept with the stage that they are named after. They may be imported from
 * anywhere in the core, and in return import nothing but the model.
 */
const SHARED_IN_CORE: readonly string[] = ['src/core/evidence/log-state.ts', 'src/core/decision/match-roles.ts', 'src/core/release/versions.ts'];

/** The only thing of Node in the core: pure functions over bytes. No randomness and no key generation. */
const PURE_CRYPTO = new Set(['createHash', 'verify', 'createPublicKey', 'timingSafeEqual', 'KeyObject']);

/** The one package of the core, in the one file that may import it: pure and synchronous, parses and evaluates the expressions of gates (decision 0024). */
const PURE_PACKAGE = { path: 'src/core/model/expression.ts', specifier: '@marcbachmann/cel-js' };

export function layerArrows(source: Source): readonly Finding[] {
  const layer = layerOf(source.path);
  if (layer === undefined) return [];
  return arrowsOf(source).flatMap((arrow) => {
    const found = (message: string): Finding => ({ path: source.path, line: arrow.line, message });
    if (arrow.target === undefined) return packageArrow({ layer, path: source.path }, arrow, found);
    const to = layerOf(arrow.target);
    if (to === undefined) return outsideSource(layer, arrow.target, found);
    const allowed = to === layer || MAY_IMPORT[layer]?.includes(to) === true || (arrow.typeOnly && MAY_IMPORT_TYPES[layer]?.includes(to) === true);
    return allowed ? [] : [found(`${layer} may not import ${to} (${arrow.specifier})`)];
  });
}

/** `core`, `cli`, `compose` … of a path below src; undefined for everything else. */
function layerOf(path: string): string | undefined {
  const [top, layer, folder] = path.split('/');
  if (top !== 'src' || layer === undefined) return undefined;
  return folder === 'compose' && ['cli', 'agent', 'api'].includes(layer) ? 'compose' : layer;
}

function packageArrow({ layer, path }: { readonly layer: string; readonly path: string }, arrow: Arrow, found: (message: string) => Finding): readonly Finding[] {
  if (arrow.specifier === 'node:process' && layer !== 'bin' && !arrow.names.every((name) => HARMLESS_OF_PROCESS.has(name))) {
    return [found('only bin may touch the process')];
  }
  if (layer !== 'core' || (path === PURE_PACKAGE.path && arrow.specifier === PURE_PACKAGE.specifier)) return [];
  if (arrow.specifier !== 'node:crypto') return [found(`core imports nothing from outside (${arrow.specifier})`)];
  if (arrow.typeOnly) return [];
  return arrow.names.filter((name) => !PURE_CRYPTO.has(name)).map((name) => found(`core may not use ${name} of node:crypto`));
}

function outsideSource(layer: string, target: string, found: (message: string) => Finding): readonly Finding[] {
  if (target.startsWith('test/')) return [found('the product may not import its tests')];
  if (layer === 'core' || layer === 'ports') return [found(`${layer} imports nothing from outside src (${target})`)];
  return [];
}

/** An earlier stage of the core may not call a later one. Types do not count: they are erased and order nothing. */
export function stageArrows(source: Source): readonly Finding[] {
  const from = stageOf(source.path);
  if (from === undefined) return [];
  const highest = SHARED_IN_CORE.includes(source.path) ? 0 : from.index;
  return arrowsOf(source).flatMap((arrow) => {
    const to = stageOf(arrow.target ?? '');
    if (to === undefined || arrow.typeOnly || SHARED_IN_CORE.includes(arrow.target ?? '')) return [];
    const known = from.index >= 0 && to.index >= 0;
    if (known && (to.index <= highest || to.name === from.name)) return [];
    return [{ path: source.path, line: arrow.line, message: `stage ${from.name} may not call the later stage ${to.name} (${arrow.specifier})` }];
  });
}

function stageOf(path: string): { readonly name: string; readonly index: number } | undefined {
  const name = /^src\/core\/([^/]+)\//.exec(path)?.[1];
  return name === undefined ? undefined : { name, index: (STAGES as readonly string[]).indexOf(name) };
}

/** Files that need each other to load cannot be understood, or moved, one at a time. */
export function importCycles(sources: readonly Source[]): readonly Finding[] {
  const edges = new Map(sources.map((source) => [source.path, arrowsOf(source).filter((arrow) => !arrow.typeOnly && !arrow.lazy)]));
  const findings: Finding[] = [];
  const state = new Map<string, 'open' | 'done'>();
  const visit = (path: string, trail: readonly string[]): void => {
    state.set(path, 'open');
    for (const { target, line } of edges.get(path) ?? []) {
      if (target === undefined || !edges.has(target)) continue;
      const chain = [...trail, path];
      if (state.get(target) === 'open') {
        const cycle = [...chain.slice(chain.indexOf(target)), target].join(' → ');
        findings.push({ path, line, message: `a cycle of imports: ${cycle}` });
      } else if (state.get(target) === undefined) visit(target, chain);
    }
    state.set(path, 'done');
  };
  for (const path of edges.keys()) if (state.get(path) === undefined) visit(path, []);
  return findings;
}
