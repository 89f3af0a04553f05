import { describe, expect, test } from 'vitest';
import { parseAgentConfig } from '../../src/config/agent.ts';
import { parseServerConfig, SERVER_SETTINGS, type ServerConfigOutcome } from '../../src/config/server.ts';
import { variableOf } from '../../src/config/settings.ts';

const PIN = `sha256:${'a'.repeat(64)}`;
const GOOD = `
repository: { url: https://git.example/deploy.git, tokenRef: env:GIT_TOKEN }
genesis: ${PIN}
dataFolder: state
keys: { decisions: keys/decisions.pem, evidenceCommits: env:COMMIT_KEY, agentCa: /etc/stella/agent-ca.pem }
storage: { driver: filesystem, objectStore: seed-fs }
`;
const SECRET = 'hunter2-and-more';
const parse = (text: string | null, environment: Record<string, string> = {}): ServerConfigOutcome => parseServerConfig(text, environment, { folder: '/etc/stella' });
const problemsOf = (outcome: ServerConfigOutcome): readonly string[] => (outcome.ok ? [] : outcome.problems.map(({ setting, message }) => `${setting}: ${message}`));
const settingsOf = (outcome: ServerConfigOutcome): readonly string[] => (outcome.ok ? [] : outcome.problems.map(({ setting }) => setting));

describe('a configuration', () => {
  test('has a default for everything that a server can do without', () => {
    expect(parse(GOOD)).toMatchObject({
      ok: true,
      config: {
        repository: { ref: 'refs/heads/main', objectFormat: 'sha1', tokenRef: 'env:GIT_TOKEN', username: null },
        evidence: { url: 'https://git.example/deploy.git', ref: 'refs/heads/stella/evidence', tokenRef: 'env:GIT_TOKEN' },
        dataFolder: '/etc/stella/state', keys: { decisions: '/etc/stella/keys/decisions.pem', evidenceCommits: 'env:COMMIT_KEY', agentCa: '/etc/stella/agent-ca.pem', nextDecisions: null, nextEvidenceCommits: null },
        http: { host: '127.0.0.1' }, agents: { host: '127.0.0.1' }, webhook: { secretRef: null }, pollSeconds: 60, tagPollSeconds: 300, offline: false, layouts: {}, secretFolders: [],
        storage: { database: { driver: 'filesystem' } },
      },
    });
  });

  test('names the refs of pull requests by patterns, and no branch of its own', () => {
    const withCandidates = (pattern: string): ServerConfigOutcome => parse(GOOD.replace('tokenRef: env:GIT_TOKEN', `tokenRef: env:GIT_TOKEN, candidates: ["${pattern}"]`));
    expect(withCandidates('refs/pull/*/head')).toMatchObject({ ok: true, config: { repository: { candidates: ['refs/pull/*/head'] } } });
    expect(withCandidates('refs/heads/feature/*')).toMatchObject({ ok: true });
    for (const pattern of ['refs/heads/*', 'refs/heads/stella/*', 'refs/stella/*', 'refs/pull/1/head', 'refs/pull/*/*', 'pull/*/head', 'refs/heads/../*', '--upload-pack=*']) {
      expect(settingsOf(withCandidates(pattern))).toEqual(['repository.candidates']);
    }
  });

  test('knows no forge without its settings, and plans branches promote/*', () => {
    expect(parse(GOOD)).toMatchObject({ ok: true, config: { forge: null, proposals: { branches: ['refs/heads/promote/*'], context: 'stella/plan', mergedDays: 7, plansRef: 'refs/heads/stella/plans' } } });
  });

  test('takes a forge with its references, and the token of a clone for nothing of its own', () => {
    const forge = 'forge: { type: gitea, url: https://forge.example/api/v1, repository: team/deploy, tokenRef: env:FORGE_TOKEN, webhookSecretRef: file:/run/secrets/hook }\n';
    expect(parse(`${GOOD}${forge}`, { STELLA_FORGE_TOKEN: 'of a clone' })).toMatchObject({
      ok: true, config: { forge: { type: 'gitea', url: 'https://forge.example/api/v1', repository: 'team/deploy', tokenRef: 'env:FORGE_TOKEN', webhookSecretRef: 'file:/run/secrets/hook', account: null } },
    });
  });

  test.each([
    ['a forge without a type', 'forge: { repository: team/deploy, tokenRef: env:T }', ['forge.type']],
    ['a forge of a kind that nobody knows', 'forge: { type: sourcehut, repository: team/deploy, tokenRef: env:T }', ['forge.type']],
    ['a forge without a token', 'forge: { type: github, repository: team/deploy }', ['forge.tokenRef']],
    ['a token in the place of a reference', `forge: { type: github, repository: team/deploy, tokenRef: ${SECRET} }`, ['forge.tokenRef']],
    ['a repository that is a URL', 'forge: { type: github, repository: "https://github.example/team/deploy", tokenRef: env:T }', ['forge.repository']],
    ['an address of a forge with a credential', 'forge: { type: github, url: "https://me:pw@forge.example", repository: team/deploy, tokenRef: env:T }', ['forge.url']],
    ['a forge that offline refuses', 'offline: true\nallowHosts: [git.example]\nforge: { type: github, url: "https://forge.example", repository: team/deploy, tokenRef: env:T }', ['forge.url']],
    ['all branches as proposals', 'proposals: { branches: ["refs/heads/*"] }', ['proposals.branches']],
    ['our own branches as proposals', 'proposals: { branches: ["refs/heads/stella/*"] }', ['proposals.branches']],
    ['the target branch as a proposal', 'proposals: { branches: ["refs/heads/m*"] }', ['proposals.branches']],
    ['plans on the evidence branch', 'proposals: { plansBranch: stella/evidence }', ['proposals.plansBranch']],
    ['a context with spaces', 'proposals: { context: "my plan" }', ['proposals.context']],
  ])('refuses %s', (_, text, settings) => {
    expect(settingsOf(parse(`${GOOD}${text}\n`))).toEqual(settings);
  });

  test('cannot be changed after it was parsed', () => {
    const outcome = parse(GOOD);
    if (!outcome.ok) throw new Error('the configuration is good');
    expect([outcome.config, outcome.config.http, outcome.config.agents.serverNames].every(Object.isFrozen)).toBe(true);
  });

  test('takes the environment over the file', () => {
    const outcome = parse(GOOD, { STELLA_POLL_SECONDS: '5', STELLA_AGENTS__SERVER_NAMES: 'a.example, b.example', STELLA_LAYOUTS__IMAGES: 'images', STELLA_OFFLINE: 'true', STELLA_ALLOW_HOSTS: 'git.example', STORAGE__DRIVER: 'inmemory' });
    expect(outcome).toMatchObject({
      ok: true, config: { pollSeconds: 5, agents: { serverNames: ['a.example', 'b.example'] }, layouts: { images: '/etc/stella/images' }, offline: true, storage: { database: { driver: 'inmemory' } } },
    });
  });

  test('can come from the environment alone', () => {
    const keys = { STELLA_KEYS__DECISIONS: '/a', STELLA_KEYS__EVIDENCE_COMMITS: '/b', STELLA_KEYS__AGENT_CA: '/c' };
    expect(parse(null, { STELLA_REPOSITORY__URL: '/srv/deploy.git', STELLA_GENESIS: PIN, STELLA_DATA_FOLDER: '/var/lib/stella', STELLA_ENV: 'development', ...keys })).toMatchObject({
      ok: true, config: { repository: { url: '/srv/deploy.git' } }, assumed: ['STORAGE__DRIVER=filesystem', 'STORAGE__OBJECTSTORE__DRIVER=seed-fs'],
    });
  });

  test('does not send the credential of the repository to another host that keeps the evidence', () => {
    expect(parse(`${GOOD}evidence: { url: https://elsewhere.example/log.git }\n`)).toMatchObject({ ok: true, config: { evidence: { url: 'https://elsewhere.example/log.git', tokenRef: null } } });
  });

  test('has a variable of its own for every setting', () => {
    const variables = Object.keys(SERVER_SETTINGS).map((path) => variableOf('STELLA_', path));
    expect(new Set(variables).size).toBe(variables.length);
    expect(variableOf('STELLA_', 'http.channelPort')).toBe('STELLA_HTTP__CHANNEL_PORT');
  });
});

describe('a bad configuration is refused', () => {
  test('with everything that is missing at once', () => {
    expect(settingsOf(parse(null))).toEqual(expect.arrayContaining(['repository.url', 'genesis', 'dataFolder', 'keys.decisions', 'keys.evidenceCommits', 'keys.agentCa', 'STORAGE__DRIVER', 'STORAGE__OBJECTSTORE__DRIVER']));
  });

  test.each([
    ['an unknown setting, with the one that was meant', `${GOOD}polSeconds: 5\n`, {}, 'polSeconds: is no setting of ours: did you mean pollSeconds?'],
    ['an unknown setting further in', `${GOOD}http: { prot: 1 }\n`, {}, 'http.prot: is no setting of ours: did you mean http.port?'],
    ['a setting in the wrong place', `${GOOD}port: 80\n`, {}, 'port: is no setting of ours: did you mean http.port?'],
    ['an unknown variable', GOOD, { STELLA_HTTP__PROT: '1' }, 'STELLA_HTTP__PROT: is no setting of ours: did you mean STELLA_HTTP__PORT?'],
    ['a variable that is nearly one of ours', GOOD, { STELLA_GENESI: PIN }, 'STELLA_GENESI: is no setting of ours: did you mean STELLA_GENESIS?'],
  ] as const)('%s', (_, text, environment, problem) => {
    expect(problemsOf(parse(text, environment))).toEqual([problem]);
  });

  test.each([
    ['YAML that is none', 'a: [', 'file'],
    ['a key twice', `${GOOD}genesis: ${PIN}\n`, 'file'],
    ['an alias', 'a: &a 1\nb: *a\n', 'file'],
    ['a list in the place of the whole', '- 1\n', 'file'],
    ['a port that is none', `${GOOD}http: { port: 70000 }\n`, 'http.port'],
    ['a number in words', `${GOOD}pollSeconds: often\n`, 'pollSeconds'],
    ['a pin that is none', GOOD.replace(PIN, 'sha256:abc'), 'genesis'],
    ['a branch that is none', `${GOOD}evidence: { branch: ../x }\n`, 'evidence.branch'],
    ['evidence on the branch of the declarations', `${GOOD}evidence: { branch: main }\n`, 'evidence.branch'],
    ['one key for two purposes', GOOD.replace('env:COMMIT_KEY', 'keys/decisions.pem'), 'keys'],
    ['a repository that offline refuses', `${GOOD}offline: true\n`, 'repository.url'],
    ['a name of a layout that is none', `${GOOD}layouts: { "../x": y }\n`, 'layouts.../x'],
  ] as const)('%s', (_, text, setting) => {
    expect(settingsOf(parse(text))).toContain(setting);
  });

  test.each([
    ['a token in the place of its reference', GOOD.replace('env:GIT_TOKEN', SECRET), 'repository.tokenRef'],
    ['a password in the URL', GOOD.replace('https://git', `https://me:${SECRET}@git`), 'repository.url'],
    ['a secret in a line that is no YAML', `webhook: { secretRef: "${SECRET}\n`, 'file'],
    ['a webhook secret itself', `${GOOD}webhook: { secretRef: ${SECRET} }\n`, 'webhook.secretRef'],
  ] as const)('%s, and what was written is not repeated', (_, text, setting) => {
    const outcome = parse(text);
    expect(settingsOf(outcome)).toContain(setting);
    expect(JSON.stringify(outcome)).not.toContain(SECRET);
  });
});

describe('the configuration of an agent', () => {
  const parseAgent = (text: string | null, environment: Record<string, string> = {}): ReturnType<typeof parseAgentConfig> => parseAgentConfig(text, environment, { folder: '/srv' });

  test('names folders and hosts by Integration', () => {
    const text = 'folder: agent\nlayouts: { images: layouts }\nregistries: { hub: { host: hub.example, username: ci, passwordRef: file:/run/secrets/hub } }\n';
    expect(parseAgent(text, { STELLA_AGENT__SERVER: 'stella.example:9443' })).toMatchObject({
      ok: true, config: { folder: '/srv/agent', server: 'stella.example:9443', registries: { images: { layout: '/srv/layouts' }, hub: { host: 'hub.example', username: 'ci', passwordRef: 'file:/run/secrets/hub', insecure: false } } },
    });
  });

  test.each([
    ['no folder', 'name: a\n', 'folder'],
    ['a registry that is two things', 'folder: a\nregistries: { x: { host: h, layout: l } }\n', 'registries.x'],
    ['an unknown word about a registry', 'folder: a\nregistries: { x: { host: h, pasword: p } }\n', 'registries.x.pasword'],
    ['a password in the place of its reference', `folder: a\nregistries: { x: { host: h, username: u, passwordRef: ${SECRET} } }\n`, 'registries.x.passwordRef'],
    ['a server without a port', 'folder: a\nserver: example\n', 'server'],
  ] as const)('is refused for %s', (_, text, setting) => {
    const outcome = parseAgent(text);
    expect(outcome.ok ? [] : outcome.problems.map((problem) => problem.setting)).toContain(setting);
    expect(JSON.stringify(outcome)).not.toContain(SECRET);
  });
});
