import { describe, expect, it } from 'vitest';
import { namesOnCycles } from '../../../src/core/desired/check-cycles.ts';
import { checkPolicy } from '../../../src/core/desired/check-policy.ts';
import { lookupIn, protectedDocuments } from '../../../src/core/desired/desired-state.ts';
import { lookupOf, unplaced } from '../../../src/core/desired/document-lookup.ts';
import { formatDiagnostic, type Diagnostic } from '../../../src/core/desired/diagnostic.ts';
import fc from 'fast-check';
import { certificateOf, makePgpKey } from '../commit/openpgp-maker.ts';
import { exampleTree, newKeyLine, newPem, places, stateOf, tools, type Tree } from './fixture.ts';

const example = exampleTree();

/** The example with some files changed: a text replaces the file, a pair replaces a piece of it, null deletes it. */
function exampleWith(edits: Readonly<Record<string, string | null | readonly [string, string]>>): Tree {
  const tree: Record<string, string> = { ...example };
  for (const [path, edit] of Object.entries(edits)) {
    if (edit === null) delete tree[path];
    else if (typeof edit === 'string') tree[path] = edit;
    else {
      const before = tree[path] ?? '';
      if (!before.includes(edit[0])) throw new Error(`${path} does not hold ${edit[0]}`);
      tree[path] = before.replace(...edit);
    }
  }
  return tree;
}

const check = (tree: Tree): readonly Diagnostic[] => checkPolicy(lookupIn(stateOf(tree)), tools);
const found = (edits: Parameters<typeof exampleWith>[0]): readonly string[] => places(check(exampleWith(edits)));
const head = 'apiVersion: stella/v1alpha1\n';
const keyOf = (path: string): string => /key: (ssh-ed25519 .*)/.exec(example[path] ?? '')?.[1] ?? '';

describe('a name that leads nowhere', () => {
  it.each<readonly [string, Parameters<typeof exampleWith>[0], readonly string[]]>([
    ['component of an application', { 'components/web.yaml': null }, ['apps/shop/app.yaml:7 DanglingReference']],
    ['workflow of environments', { 'workflows/rolling.yaml': null }, ['environments/dev.yaml:8 DanglingReference', 'environments/prod.yaml:15 DanglingReference', 'environments/staging.yaml:10 DanglingReference']],
    ['workflow of an application', { 'apps/shop/app.yaml': ['placement:', 'workflow: none\n  placement:'] }, ['apps/shop/app.yaml:18 DanglingReference']],
    ['registry of components', { 'integrations/images.yaml': null }, ['components/api.yaml:7 DanglingReference', 'components/web.yaml:7 DanglingReference']],
    ['agent of a target', { 'targets/dev-1.yaml': ['host-1', 'host-2'] }, ['targets/dev-1.yaml:7 DanglingReference']],
    ['environment of a target', { 'targets/dev-1.yaml': ['[dev]', '[dev, test]'] }, ['targets/dev-1.yaml:8 DanglingReference']],
    ['application of a target', { 'targets/dev-1.yaml': ['[shop]', '[shop, blog]'] }, ['targets/dev-1.yaml:9 DanglingReference']],
    ['environment that releases come from', { 'environments/staging.yaml': ['environment: dev', 'environment: test'] }, ['environments/staging.yaml:9 DanglingReference']],
    ['owner of an agent', { 'agents/host-1.yaml': ['owner: bob', 'owner: dave'] }, ['agents/host-1.yaml:12 DanglingReference']],
    ['holder of a root key', { 'trust/root.yaml': ['principal: bob', 'principal: dave'] }, ['trust/root.yaml:12 DanglingReference', 'trust/root.yaml:13 SharedKey']],
    ['environment of a freeze', { 'f.yaml': `${head}kind: Freeze\nmetadata: {name: f}\nspec:\n  environments: [prod, prdo]\n  reason: x\n` }, ['f.yaml:5 DanglingReference']],
    ['step that another needs', { 'workflows/rolling.yaml': ['[deploy]', '[deplyo]'] }, ['workflows/rolling.yaml:16 DanglingReference']],
  ])('is an error at its line: %s', (_, edits, expected) => {
    expect(found(edits)).toEqual(expected);
  });

  it('is a warning in the bounds of a role, which then entitles to nothing', () => {
    const diagnostics = check(exampleWith({ 'principals/carol.yaml': ['[shop]', '[shop, blog]'] }));
    expect(diagnostics.map((d) => [d.code, d.severity])).toEqual([['DanglingReference', 'warning']]);
  });

  it('tells what to do in words', () => {
    const [diagnostic] = check(exampleWith({ 'targets/dev-1.yaml': ['host-1', 'host-2'] }));
    expect(formatDiagnostic(diagnostic!)).toBe('targets/dev-1.yaml:7:3: error DanglingReference: `spec.agent` names Agent host-2, which does not exist. Add Agent host-2, or name an existing one.');
  });
});

describe('a circle', () => {
  it('of environments is an error at each of them', () => {
    expect(found({ 'environments/dev.yaml': ['workflow:', 'from: [{environment: prod}]\n  workflow:'] })).toEqual([
      'environments/dev.yaml:8 Cycle', 'environments/prod.yaml:8 Cycle', 'environments/staging.yaml:8 Cycle',
    ]);
  });

  it('of one environment with itself is an error, and what only leads to it is not', () => {
    expect(found({ 'environments/dev.yaml': ['workflow:', 'from: [{environment: dev}]\n  workflow:'] })).toEqual(['environments/dev.yaml:8 Cycle']);
  });

  it('of steps is an error, and so is a step named twice', () => {
    const steps = (text: string): Parameters<typeof exampleWith>[0] => ({ 'workflows/rolling.yaml': `${head}kind: Workflow\nmetadata: {name: rolling}\nspec:\n  steps:\n${text}` });
    expect(found(steps('    - {name: a, type: deploy, needs: [b]}\n    - {name: b, type: deploy, needs: [a]}\n    - {name: c, type: deploy, needs: [b]}\n'))).toEqual(['workflows/rolling.yaml:6 Cycle', 'workflows/rolling.yaml:7 Cycle']);
    expect(found(steps('    - {name: a, type: deploy}\n    - {name: a, type: health-check}\n'))).toEqual(['workflows/rolling.yaml:7 DuplicateStep']);
  });

  it('is found wherever there is one: a name is on a circle exactly if it reaches itself', () => {
    const names = ['a', 'b', 'c', 'd', 'e'];
    const graph = fc.tuple(...names.map(() => fc.subarray(names))).map((lists) => new Map(names.map((name, i) => [name, lists[i] ?? []])));
    const reaches = (edges: ReadonlyMap<string, readonly string[]>, from: string, to: string, seen = new Set<string>()): boolean =>
      (edges.get(from) ?? []).some((next) => next === to || (!seen.has(next) && reaches(edges, next, to, seen.add(next))));
    fc.assert(
      fc.property(graph, (edges) => {
        expect([...namesOnCycles(edges)].sort()).toEqual(names.filter((name) => reaches(edges, name, name)));
      }),
    );
  });
});

describe('keys (T10)', () => {
  it('may not stand under two principals', () => {
    expect(found({ 'principals/carol.yaml': [keyOf('principals/carol.yaml'), keyOf('principals/alice.yaml')] })).toEqual(['principals/carol.yaml:11 SharedKey']);
  });

  it('are the same key under another comment', () => {
    const renamed = keyOf('principals/alice.yaml').replace(/ alice.*/, ' carol@example');
    expect(found({ 'principals/carol.yaml': [keyOf('principals/carol.yaml'), renamed] })).toEqual(['principals/carol.yaml:11 SharedKey']);
  });

  it('may not stand twice under one principal, where two states of one key could contradict each other', () => {
    const key = keyOf('principals/alice.yaml');
    expect(found({ 'principals/alice.yaml': ['roles:', `  - {key: ${key}, status: compromised, since: "2031-01-01T00:00:00Z"}\n  roles:`] })).toEqual(['principals/alice.yaml:12 SharedKey']);
  });

  it('of a principal may not be one of our own', () => {
    const service = `services:\n    - role: evidence-commits\n      name: writer\n      publicKey: ${keyOf('principals/alice.yaml')}`;
    expect(found({ 'trust/root.yaml': ['services:', service] })).toEqual(['trust/root.yaml:18 SharedKey']);
  });

  it('of two agents differ', () => {
    const twin = (example['agents/host-1.yaml'] ?? '').replace('name: host-1', 'name: host-2');
    expect(found({ 'agents/host-2.yaml': twin })).toEqual(['agents/host-2.yaml:7 SharedKey']);
  });

  it('of ours are separate', () => {
    const pem = /publicKey: \|\n((?: {8}.*\n)+)/.exec(example['trust/root.yaml'] ?? '')?.[1] ?? '';
    const service = `services:\n    - role: decisions\n      name: twin\n      publicKey: |\n${pem}`;
    expect(found({ 'trust/root.yaml': ['services:\n', service] })).toEqual([`trust/root.yaml:${18 + pem.trimEnd().split('\n').length + 3} SharedKey`]);
  });

  it('that are one key as an OpenSSH line and as PEM are the same key', () => {
    const jwk = { kty: 'EC', crv: 'P-256', x: 'f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU', y: 'x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0' };
    const spki = Buffer.concat([Buffer.from('3059301306072a8648ce3d020106082a8648ce3d030107034200', 'hex'), pointOf(jwk)]).toString('base64');
    const pem = `-----BEGIN PUBLIC KEY-----\n${spki.match(/.{1,64}/g)!.join('\n')}\n-----END PUBLIC KEY-----\n`;
    expect(tools.keyIdentities(ecdsaLine(pointOf(jwk)))).toEqual(tools.keyIdentities(pem));
    expect(tools.keyIdentities(pem)).not.toBeNull();
  });

  it.each([['broken base64', 'ssh-ed25519 AAAA'], ['a short RSA key', `ssh-rsa ${Buffer.concat([sshString(Buffer.from('ssh-rsa')), sshString(Buffer.from([1, 0, 1])), sshString(Buffer.alloc(129, 0x7f))]).toString('base64')}`]])('must be readable and strong: %s', (_, key) => {
    expect(found({ 'principals/alice.yaml': [keyOf('principals/alice.yaml'), key] })).toEqual(['principals/alice.yaml:10 KeyUnreadable']);
  });

  it('that are one key as an OpenSSH line and as key or subkey of an OpenPGP certificate are the same key', () => {
    const [own, subkey] = [makePgpKey('eddsa'), makePgpKey('nistp256')];
    const jwk = subkey.privateKey.export({ format: 'jwk' }) as { x: string; y: string };
    const line = `ssh-ed25519 ${Buffer.concat([sshString(Buffer.from('ssh-ed25519')), sshString(own.packet.subarray(-32))]).toString('base64')}`;
    const identities = tools.keyIdentities(certificateOf(own, { subkeys: [{ key: subkey }] }));
    expect(identities).toEqual([...(tools.keyIdentities(line) ?? []), ...(tools.keyIdentities(ecdsaLine(pointOf(jwk))) ?? [])]);
    expect(identities).toHaveLength(2);
    expect(tools.keyIdentities(certificateOf(own).replace('-----\n\n', '-----\nComment: x\n\n'))).toBeNull();
  });

  it('of agents are on P-256', () => {
    expect(tools.keyIdentities(newPem())).not.toBeNull();
    expect(tools.keyIdentities('-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n')).toBeNull();
    expect(tools.keyIdentities(newKeyLine())).not.toEqual(tools.keyIdentities(newKeyLine()));
  });
});

function pointOf(jwk: { readonly x: string; readonly y: string }): Buffer {
  return Buffer.concat([Buffer.from([4]), Buffer.from(jwk.x, 'base64url'), Buffer.from(jwk.y, 'base64url')]);
}

function sshString(bytes: Buffer): Buffer {
  const length = Buffer.alloc(4);
  length.writeUInt32BE(bytes.length);
  return Buffer.concat([length, bytes]);
}

function ecdsaLine(point: Buffer): string {
  return `ecdsa-sha2-nistp256 ${Buffer.concat([sshString(Buffer.from('ecdsa-sha2-nistp256')), sshString(Buffer.from('nistp256')), sshString(point)]).toString('base64')}`;
}

describe('thresholds and roles (T10)', () => {
  it.each<readonly [string, Parameters<typeof exampleWith>[0], readonly string[]]>([
    ['root threshold above the people with root keys', { 'trust/root.yaml': ['threshold: 1', 'threshold: 2'] }, ['trust/root.yaml:14 ThresholdUnreachable']],
    ['quorum above the people there are', { 'trust/root.yaml': ['people: 2', 'people: 4'] }, ['trust/root.yaml:37 ThresholdUnreachable']],
    ['role in a quorum that nobody holds', { 'trust/root.yaml': ['role: sre', 'role: root-admin'] }, ['trust/root.yaml:34 RoleUnheld']],
    ['role in a quorum that is held only for one environment', { 'trust/root.yaml': ['role: sre\n          count: 1', 'role: approver\n          count: 2'] }, ['trust/root.yaml:32 ThresholdUnreachable']],
    ['role of an environment that nobody holds', { 'environments/prod.yaml': ['role: approver', 'role: qa'] }, ['environments/prod.yaml:13 RoleUnheld']],
    ['role that is held for another environment only', { 'environments/prod.yaml': ['role: approver', 'role: qa'], 'principals/alice.yaml': ['role: developer', 'role: qa\n      environments: [dev]'] }, ['environments/prod.yaml:13 RoleUnheld']],
    ['role that is held for another application only', { 'environments/prod.yaml': ['role: approver', 'role: qa'], 'principals/alice.yaml': ['role: developer', 'role: qa\n      applications: [blog]'] }, ['environments/prod.yaml:13 RoleUnheld', 'principals/alice.yaml:14 DanglingReference']],
    ['more people than hold the role', { 'environments/prod.yaml': ['people: 1', 'people: 3'] }, ['environments/prod.yaml:11 ThresholdUnreachable']],
    ['one person for two places', { 'environments/prod.yaml': ['count: 1', 'count: 1\n      - role: qa\n        count: 1\n      - role: qb\n        count: 1'], 'principals/alice.yaml': ['role: developer', 'role: qa\n    - role: qb'] }, ['environments/prod.yaml:11 ThresholdUnreachable']],
    ['minimum of the root that nobody can meet', { 'trust/root.yaml': ['name: prod\n        people: 1', 'name: prod\n        people: 3'] }, ['trust/root.yaml:42 ThresholdUnreachable']],
    ['approvals of an application', { 'apps/shop/app.yaml': ['placement:', 'approvals: {people: 1, roles: [{role: qa, count: 1}]}\n  placement:'] }, ['apps/shop/app.yaml:18 RoleUnheld']],
    ['a person whose only key is compromised', { 'principals/bob.yaml': ['status: active', 'status: compromised\n      since: "2031-01-01T00:00:00Z"'], 'principals/carol.yaml': ['role: approver', 'role: reader'] }, ['environments/prod.yaml:13 RoleUnheld']],
    ['a service with the role', { 'principals/bob.yaml': ['type: person', 'type: service'], 'principals/carol.yaml': ['role: approver', 'role: reader'] }, ['environments/prod.yaml:13 RoleUnheld', 'trust/root.yaml:12 NotAPerson']],
  ])('cannot be met: %s', (_, edits, expected) => {
    expect(found(edits)).toEqual(expected);
  });

  it('leave out who asks: two approvers of three people are enough, three are not', () => {
    const two = ['people: 1\n  roles:\n    - role: approver\n      count: 1', 'people: 2'].map((text) => text.replaceAll('\n', '\n  ')) as [string, string];
    expect(found({ 'environments/prod.yaml': two })).toEqual([]);
    expect(found({ 'environments/prod.yaml': [two[0], 'people: 3'] })).toEqual(['environments/prod.yaml:11 ThresholdUnreachable']);
    expect(found({ 'environments/prod.yaml': [two[0], 'people: 3\n    authorNeverApproves: false'] })).toEqual([]);
  });

  it('want exactly one root', () => {
    expect(found({ 'trust/root.yaml': null })).toEqual(['null:0 TrustRootCount']);
    expect(found({ 'trust/other.yaml': (example['trust/root.yaml'] ?? '').replace('name: root', 'name: other') }).filter((p) => p.endsWith('TrustRootCount'))).toHaveLength(2);
  });
});

describe('claims (T17)', () => {
  const blog = `${head}kind: Application\nmetadata: {name: blog}\nspec:\n  components: [web]\n  deployment: {type: directory}\n`;

  it('of one component by two applications are errors at both', () => {
    expect(found({ 'apps/blog/app.yaml': blog })).toEqual(['apps/blog/app.yaml:5 ComponentShared', 'apps/shop/app.yaml:7 ComponentShared']);
  });

  it.each(['/srv/stella/prod', '/srv/stella/prod/inner', '/srv/stella', '/srv'])('of two targets on one folder, or on one within the other, are errors: %s', (root) => {
    const places = found({ 'targets/dev-1.yaml': ['/srv/stella/dev', root] });
    expect(places).toContain('targets/dev-1.yaml:13 TargetClaimed');
    expect(places).toContain('targets/prod-1.yaml:13 TargetClaimed');
  });

  it.each(['/srv/stella/prod2', '/srv/stella/pro', '/srv/stella/prod-'])('on folders whose names only begin alike are none: %s', (root) => {
    expect(found({ 'targets/dev-1.yaml': ['/srv/stella/dev', root] })).toEqual([]);
  });

  it('on the same folder of two machines are none', () => {
    const second = (example['agents/host-1.yaml'] ?? '').replace('name: host-1', 'name: host-2').replace(/ {4}-----BEGIN[^]*END PUBLIC KEY-----\n/, newPem().replace(/^(?=.)/gm, '    '));
    const target = (example['targets/dev-1.yaml'] ?? '').replace('host-1', 'host-2').replace('/srv/stella/dev', '/srv/stella/prod');
    expect(found({ 'agents/host-2.yaml': second, 'targets/dev-1.yaml': target })).toEqual([]);
  });

  it('of an agent that cannot do the work are errors', () => {
    expect(found({ 'agents/host-1.yaml': ['[directory_host]', '[compose_host]'] })).toEqual(['targets/dev-1.yaml:7 AgentIncapable', 'targets/prod-1.yaml:7 AgentIncapable', 'targets/staging-1.yaml:7 AgentIncapable']);
  });

  it('of two environments on one place in the order are warnings', () => {
    const diagnostics = check(exampleWith({ 'environments/staging.yaml': ['order: 2', 'order: 1'] }));
    expect(diagnostics.map((d) => [d.code, d.severity])).toEqual([['OrderShared', 'warning'], ['OrderShared', 'warning']]);
  });
});

it('documents in force, which have no file, are checked as those of the tree', () => {
  const inForce = protectedDocuments(stateOf(exampleWith({ 'components/web.yaml': null }))).map((entry) => unplaced(entry.document as never));
  const diagnostics = checkPolicy(lookupOf(inForce), tools);
  expect(diagnostics.map((d) => [d.code, d.file, d.line, d.subject])).toEqual([['DanglingReference', null, 0, 'Application/shop']]);
});

describe('a freeze', () => {
  const freeze = (spec: string): Parameters<typeof exampleWith>[0] => ({ 'freezes/x.yaml': `${head}kind: Freeze\nmetadata: {name: x}\nspec:\n  reason: x\n${spec}` });

  it.each<readonly [string, string, readonly string[]]>([
    ['that is a latch', '', []],
    ['whose calendar means something', '  calendar:\n    windows: [{start: "2031-12-20T00:00", end: "2032-01-03T00:00", timeZone: Europe/Berlin}]\n    weekly: [{days: [fri], from: "17:00", to: "08:00", timeZone: "+02:00"}]\n', []],
    ['in a time zone that nobody knows', '  calendar:\n    weekly: [{days: [fri], from: "17:00", to: "08:00", timeZone: Mars/Olympus}]\n', ['freezes/x.yaml:7 InvalidValue']],
    ['that ends before it begins', '  calendar:\n    windows: [{start: "2031-12-20T00:00", end: "2031-12-20T00:00", timeZone: UTC}]\n', ['freezes/x.yaml:7 InvalidValue']],
    ['on a day that does not exist', '  calendar:\n    windows: [{start: "2031-02-29T00:00", end: "2031-12-20T00:00", timeZone: UTC}]\n', ['freezes/x.yaml:7 InvalidValue']],
    ['of a release of an application that does not exist', '  releases: [blog/1.0]\n', ['freezes/x.yaml:6 DanglingReference']],
  ])('%s', (_, spec, expected) => {
    expect(found(freeze(spec))).toEqual(expected);
  });
});

it('a person who is suspended is nobody who could meet a rule', () => {
  const suspended = { 'principals/carol.yaml': ['  type: person\n', '  type: person\n  suspended: {reason: left}\n'] } as const;
  const both = { ...suspended, 'principals/bob.yaml': ['  type: person\n', '  type: person\n  suspended: {reason: left}\n'] } as const;
  const codes = (edits: Parameters<typeof exampleWith>[0]): readonly string[] => check(exampleWith(edits)).map((d) => d.code);
  expect(codes(both)).toContain('RoleUnheld');
});

describe('automatic promotion', () => {
  const automatic = (rule: string): readonly string[] => found({ 'environments/prod.yaml': ['  workflow: rolling', `  automatic: ${rule}\n  workflow: rolling`] });

  it.each<readonly [string, string, readonly string[]]>([
    ['from an environment that releases come from', '{from: staging}', []],
    ['from a channel, for one application', '{channel: stable, applications: [shop]}', []],
    ['from an environment that none comes from', '{from: dev}', ['UnsupportedField']],
    ['from itself', '{from: prod}', ['UnsupportedField']],
    ['from both', '{from: staging, channel: stable}', ['InvalidValue']],
    ['from neither', '{applications: [shop]}', ['InvalidValue']],
    ['of an application that does not exist', '{channel: stable, applications: [blog]}', ['DanglingReference']],
  ])('is refused where it could have no effect: %s', (_, rule, codes) => {
    expect(automatic(rule).map((place) => place.split(' ').at(-1))).toEqual(codes);
  });

  it('is refused for an application that no target there takes', () => {
    const rule = ['  workflow: rolling', '  automatic: {channel: stable, applications: [shop]}\n  workflow: rolling'] as const;
    const without = Object.fromEntries(Object.keys(example).filter((path) => (example[path] ?? '').includes('environments: [prod]') && path.startsWith('targets/')).map((path) => [path, null]));
    expect(found({ 'environments/prod.yaml': rule, ...without }).filter((place) => place.startsWith('environments/')).map((place) => place.split(' ').at(-1))).toEqual(['UnsupportedField']);
  });
});

describe('identity issuers', () => {
  const issuer = (more = '', key = newPem()): string => `${head}kind: Integration\nmetadata: {name: forge}\nspec:\n  type: identity-issuer\n  issuer: https://ci.example\n  keys:\n    - id: k1\n      publicKey: |\n${key.trim().replace(/^/gm, '        ')}\n  claim: actor_id\n  require: {repository: acme/shop}\n  services: [ci]\n${more}`;
  const service = (type = 'service', more = ''): string => `${head}kind: Principal\nmetadata: {name: ci}\nspec:\n  type: ${type}\n  keys: [{key: "${newKeyLine()}", status: active}]\n${more}`;
  const identity = '  identities: [{issuer: https://ci.example, subject: "7"}]\n';
  const codesOf = (edits: Parameters<typeof exampleWith>[0]): readonly string[] => check(exampleWith(edits)).map((d) => `${d.code} ${d.severity}`);

  it('are in order with a key that can be read and a service that exists', () => {
    expect(codesOf({ 'forge.yaml': issuer(), 'ci.yaml': service() })).toEqual([]);
  });

  it.each<readonly [string, () => Parameters<typeof exampleWith>[0], readonly string[]]>([
    ['a service that does not exist', () => ({ 'forge.yaml': issuer() }), ['DanglingReference error']],
    ['a person as the service', () => ({ 'forge.yaml': issuer(), 'ci.yaml': service('person') }), ['InvalidValue error']],
    ['a key that cannot be read', () => ({ 'forge.yaml': issuer('', newPem().replace(/([^\n-]{56})[^\n-]{8}\n/, '$1AAAAAAAA\n')), 'ci.yaml': service() }), ['KeyUnreadable error']],
    ['an identity of a service', () => ({ 'forge.yaml': issuer(), 'ci.yaml': service('service', identity) }), ['UnsupportedField error']],
    ['an identity at an issuer that no document names', () => ({ 'principals/carol.yaml': ['  roles:', `${identity}  roles:`] }), ['DanglingReference warning']],
    ['one identity of two people', () => ({ 'forge.yaml': issuer(), 'ci.yaml': service(), 'principals/carol.yaml': ['  roles:', `${identity}  roles:`], 'principals/bob.yaml': ['  roles:', `${identity}  roles:`] }), ['SharedKey error']],
  ])('are refused with %s', (_, edits, expected) => {
    expect(codesOf(edits())).toEqual(expected);
  });
});
