import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { parseDocument } from 'yaml';
import { commands } from '../src/bin/main.ts';
import { parseArguments } from '../src/cli/parse-arguments.ts';
import { protectionChecks } from '../src/cli/protection-checks.ts';
import type { Forge } from '../src/ports/forge.ts';
import { openOn } from './contract/forge-suite.ts';
import { bitbucketDialect } from './fakes/forge-bitbucket.ts';
import { giteaDialect } from './fakes/forge-gitea.ts';
import { githubDialect } from './fakes/forge-github.ts';
import { gitlabDialect } from './fakes/forge-gitlab.ts';
import type { ForgeDialect } from './fakes/forge-server.ts';

const root = fileURLToPath(new URL('../examples/', import.meta.url));
const read = (path: string): string => readFileSync(join(root, path), 'utf8');
const under = (folder: string, ending: RegExp): readonly string[] => readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' }).filter((name) => ending.test(name)).map((name) => `${folder}/${name}`).sort();

const workflows = under('github-actions', /\.yaml$/);
const templates = under('gitlab-ci', /\.yml$/);

type Tree = Readonly<Record<string, unknown>>;

/** @throws for what is no YAML of one meaning: a key that stands twice, a warning */
function yamlIn(path: string): Tree {
  const document = parseDocument(read(path), { strict: true, uniqueKeys: true });
  if (document.errors.length + document.warnings.length > 0) throw new Error(`${path}: ${String([...document.errors, ...document.warnings][0])}`);
  return document.toJS() as Tree;
}

/** Every text below a member of this name, wherever it is. */
function textsUnder(node: unknown, names: readonly string[]): readonly string[] {
  if (typeof node !== 'object' || node === null) return [];
  return Object.entries(node).flatMap(([key, value]) => (names.includes(key) ? [value].flat().filter((one): one is string => typeof one === 'string') : textsUnder(value, names)));
}

const scriptsOf = (tree: Tree): readonly string[] => textsUnder(tree, ['run', 'script', 'before_script', 'after_script']);

/** The words of each `stella` command in a script: up to a redirection, a pipe, or another command. */
function stellaCommands(script: string): readonly (readonly string[])[] {
  return [...script.replaceAll('\\\n', ' ').matchAll(/(?:^|[;&|]\s*|\$\()\s*stella ([^\n]*)/gm)].map(([, rest = '']) => {
    const words = rest.match(/"[^"]*"|'[^']*'|[^\s"';&|<>)]+|[;&|<>)]+/g) ?? [];
    const end = words.findIndex((word) => /^[;&|<>)]+$/.test(word));
    return (end < 0 ? words : words.slice(0, end)).map((word) => word.replace(/^["']|["']$/g, ''));
  });
}

describe('the pipelines in the examples', () => {
  const all = [...workflows, ...templates];

  it.each(all)('%s is YAML of one meaning, and calls stella', (path) => {
    expect(scriptsOf(yamlIn(path)).flatMap(stellaCommands).length).toBeGreaterThan(0);
  });

  it.each(all)('%s calls commands that there are, with options that they take', async (path) => {
    for (const [name = '', ...args] of scriptsOf(yamlIn(path)).flatMap(stellaCommands)) {
      const known = commands.find((one) => one.name === name);
      if (known === undefined) throw new Error(`${path}: stella ${name}`);
      const { command } = await known.load();
      expect(() => parseArguments(command, args)).not.toThrow();
    }
  });

  it.each(all)('%s runs nothing that a name could exchange: actions and images go by digest', (path) => {
    const tree = yamlIn(path);
    const byName = [...textsUnder(tree, ['uses']).filter((text) => !/^[\w.-]+\/[\w./-]+@[0-9a-f]{40}$/.test(text)), ...textsUnder(tree, ['image']).filter((text) => !/@sha256:[0-9a-f]{64}$/.test(text))];
    expect(byName).toEqual([]);
    expect(textsUnder(tree, ['uses', 'image']).length).toBeGreaterThan(0);
  });
});

describe('the workflows for GitHub', () => {
  const rightsOf = (path: string): Tree => {
    const { permissions, jobs } = yamlIn(path) as { readonly permissions: unknown; readonly jobs: Readonly<Record<string, { readonly permissions?: unknown }>> };
    return { all: permissions, ...Object.fromEntries(Object.entries(jobs).map(([name, job]) => [name, job.permissions])) };
  };

  it('have the rights that they need and no other', () => {
    expect(Object.fromEntries(workflows.map((path) => [path.replace(/^.*\//, ''), rightsOf(path)]))).toEqual({
      'check.yaml': { all: { contents: 'read' }, check: undefined },
      'release.yaml': { all: {}, build: { contents: 'read', packages: 'write' }, release: { 'id-token': 'write' } },
    });
  });

  it.each(workflows)('%s starts with no secrets for a fork, and puts nothing from outside into a script', (path) => {
    const tree = yamlIn(path);
    expect(Object.keys(tree['on'] as Tree).filter((event) => !['push', 'pull_request'].includes(event))).toEqual([]);
    expect(scriptsOf(tree).filter((script) => script.includes('${{'))).toEqual([]);
    if ('pull_request' in (tree['on'] as Tree)) expect(read(path)).not.toContain('secrets.');
  });

  it('leave no token behind where one is not used', () => {
    const steps = workflows.flatMap((path) => Object.values(yamlIn(path)['jobs'] as Readonly<Record<string, { readonly steps: readonly { readonly uses?: string; readonly with?: Tree }[] }>>).flatMap((job) => job.steps));
    const checkouts = steps.filter(({ uses }) => uses?.startsWith('actions/checkout@'));
    expect(checkouts.map((step) => step.with?.['persist-credentials'] === false || typeof step.with?.['ssh-key'] === 'string')).toEqual([true, true, true]);
  });
});

type Settings = Readonly<Record<string, unknown>>;
const settings = (path: string): Settings => JSON.parse(read(`protection/${path}`)) as Settings;

/** What is not as the forge's description of the request says. */
function faultsOf(dialect: ForgeDialect, method: string, path: string, body: unknown): readonly string[] {
  const operation = dialect.description.find(method, path);
  if (operation === null) return [`${method} ${path} is not described`];
  return dialect.description.requestFaults(operation, { query: new URLSearchParams(), contentType: 'application/json', body: JSON.stringify(body) });
}

/** What `stella doctor` finds on a forge that answers as it does with these settings. */
async function doctorOn(dialect: ForgeDialect, answers: Readonly<Record<string, unknown>>): Promise<Readonly<Record<string, string>>> {
  const opened = await openOn(dialect);
  try {
    opened.server.misbehave((request, response) => {
      const path = decodeURIComponent(new URL(request.url ?? '', 'http://forge.example').pathname);
      const found = Object.entries(answers).find(([ending]) => path.endsWith(ending));
      response.writeHead(found === undefined ? 404 : 200).end(JSON.stringify(found?.[1] ?? {}));
      return true;
    });
    const forge: Forge = opened.forge;
    const checks = await protectionChecks(forge, { target: 'refs/heads/main', evidence: 'refs/heads/stella/evidence' });
    return Object.fromEntries(checks.map(({ name, result, text }) => [name, text.startsWith('cannot tell') ? 'cannot tell' : result]));
  } finally {
    await opened.server.stop();
  }
}

const ALL_GOOD = {
  'main: no force-push': 'ok', 'main: no deletion': 'ok', 'main: stella/plan required': 'ok', 'main: pull requests only': 'ok',
  'stella/evidence: no force-push': 'ok', 'stella/evidence: no deletion': 'ok', 'stella/evidence: only the server pushes': 'ok',
};

describe('the settings that protect a repository', () => {
  it('are what GitHub takes for rulesets, and doctor finds them good as far as it can tell', async () => {
    const dialect = githubDialect();
    const rulesets = ['target', 'evidence', 'evidence-pushers'].map((name) => settings(`github/${name}.json`));
    expect(rulesets.flatMap((one) => faultsOf(dialect, 'POST', '/repos/acme/deploy/rulesets', one))).toEqual([]);
    const rulesOf = (ref: string): readonly unknown[] => rulesets.filter((one) => (one['conditions'] as { readonly ref_name: { readonly include: readonly string[] } }).ref_name.include.includes(ref)).flatMap((one) => one['rules'] as readonly unknown[]);
    const summary = { name: 'main', protected: true, protection: { enabled: false, required_status_checks: { contexts: [] } } };
    const answers = {
      '/rules/branches/main': rulesOf('refs/heads/main'), '/rules/branches/stella/evidence': rulesOf('refs/heads/stella/evidence'), '/branches/main': summary, '/branches/stella/evidence': summary,
    };
    expect(await doctorOn(dialect, answers)).toEqual({ ...ALL_GOOD, 'stella/evidence: only the server pushes': 'cannot tell' });
  });

  it('are what GitLab takes for protected branches, and doctor finds them good as far as it can tell', async () => {
    const dialect = gitlabDialect();
    const rules = ['target', 'evidence'].map((name) => settings(`gitlab/${name}.json`));
    const project = settings('gitlab/project.json');
    expect(rules.flatMap((one) => faultsOf(dialect, 'POST', '/projects/acme%2Fdeploy/protected_branches', one))).toEqual([]);
    expect(faultsOf(dialect, 'PUT', '/projects/acme%2Fdeploy', project)).toEqual([]);
    const kept = rules.map((rule, index) => ({
      id: index + 1, name: rule['name'], allow_force_push: rule['allow_force_push'], merge_access_levels: [],
      push_access_levels: rule['allowed_to_push'] === undefined ? [{ id: 1, access_level: rule['push_access_level'], access_level_description: 'No one' }] : [{ id: 2, access_level: null, user_id: 123456, access_level_description: 'stella' }],
    }));
    expect(await doctorOn(dialect, { '/protected_branches': kept, '/projects/acme/deploy': { id: 7, path_with_namespace: 'acme/deploy', ...project } })).toEqual({ ...ALL_GOOD, 'main: stella/plan required': 'cannot tell' });
  });

  it('are what Gitea takes for branch protection, and doctor finds them good', async () => {
    const dialect = giteaDialect();
    const rules = ['target', 'evidence'].map((name) => settings(`gitea/${name}.json`));
    expect(rules.flatMap((one) => faultsOf(dialect, 'POST', '/repos/acme/deploy/branch_protections', one))).toEqual([]);
    const answers = Object.fromEntries(rules.flatMap((rule) => {
      const name = String(rule['rule_name']);
      return [[`/branch_protections/${name}`, rule], [`/branches/${name}`, { name, protected: true, effective_branch_protection_name: name, enable_status_check: rule['enable_status_check'] ?? false, status_check_contexts: rule['status_check_contexts'] ?? [] }]];
    }));
    expect(await doctorOn(dialect, answers)).toEqual(ALL_GOOD);
  });

  it('are what Bitbucket takes for restrictions, and doctor finds them good as far as it can tell', async () => {
    const dialect = bitbucketDialect();
    const restrictions = settings('bitbucket/restrictions.json') as unknown as readonly Settings[];
    expect(restrictions.flatMap((one) => faultsOf(dialect, 'POST', '/repositories/acme/deploy/branch-restrictions', one))).toEqual([]);
    const kept = restrictions.map((one, index) => ({ users: [], groups: [], ...one, id: index + 1 }));
    expect(await doctorOn(dialect, { '/branch-restrictions': { values: kept } })).toEqual({ ...ALL_GOOD, 'main: stella/plan required': 'cannot tell' });
  });

  it('are all named where it is said how to apply them', () => {
    const page = read('protection/README.md');
    const named = (path: string): boolean => page.includes(path) || new RegExp(`for file in [^;]*\\b${path.replace(/^.*\//, '').replace('.json', '')}\\b`).test(page);
    expect(under('protection', /\.json$/).filter((path) => !named(`examples/${path}`))).toEqual([]);
  });
});
