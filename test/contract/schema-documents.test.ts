import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { createAjv, openSchemas, schemaFileOf } from '../../src/adapters/schema/open-schemas.ts';
import type { DocumentOf, Kind, SpecOf } from '../../src/core/model/documents.ts';
import { isProtected, KINDS } from '../../src/core/model/documents.ts';
import { isPairName, isSegment } from '../../src/core/model/names.ts';
import { newKeyLine, newPem } from '../core/desired/fixture.ts';

const schemas = openSchemas();
const folder = fileURLToPath(new URL('../../schemas/', import.meta.url));
const digest = `sha256:${'a'.repeat(64)}` as never;
const key = newKeyLine();
const pem = newPem();
const quorum = { people: 1, roles: [{ role: 'sre', count: 1 }] };
const rule = { ...quorum, authorNeverApproves: false, unknownRequester: 'one-more' } as const;
const step = { name: 'a', type: 'deploy', needs: ['b'], retry: { attempts: 2, delaySeconds: 0 }, timeoutSeconds: 60 } as const;

/** Specs with every optional field; the compiler sees to it that they keep up with the types. */
const full: { readonly [K in Kind]: readonly Required<SpecOf[K]>[] | readonly SpecOf[K][] } = {
  TrustRoot: [
    {
      version: 1, previous: null, id: 'a'.repeat(64), tenant: 'acme', documents: digest, keys: [{ principal: 'a', key }], threshold: 1,
      services: [{ role: 'decisions', name: 'd', publicKey: pem }, { role: 'agent-ca', name: 'c', publicKey: pem }, { role: 'evidence-commits', name: 'e', publicKey: key }],
      quorums: { default: quorum, create: { people: 1 }, kinds: { Target: quorum } }, proposerCounts: false, stop: { roles: ['stop'] },
      minimums: { environments: [{ name: '*', ...rule }], targets: [{ name: 'x', ...rule }], breakGlass: rule },
    },
  ] satisfies Required<SpecOf['TrustRoot']>[],
  Principal: [
    { type: 'person', displayName: 'Zoë', keys: [{ key, status: 'retired', notBefore: '2031-01-01T00:00:00Z', notAfter: '2032-01-01T00:00:00.000Z', since: '2031-02-01T00:00:00Z' }], roles: [{ role: 'x', environments: ['a'], applications: ['b'] }], identities: [{ issuer: 'https://ci.example/a', subject: '7' }], suspended: { reason: 'x' } },
  ] satisfies Required<SpecOf['Principal']>[],
  Application: [
    {
      components: ['a', 'b'], placement: { matchLabels: { tier: 'web' } }, workflow: 'w', approvals: rule, gates: ['g'],
      deployment: { type: 'directory', files: ['a/b.sh', 'ä b.txt'], command: { argv: ['sh', '-c', 'x'], timeoutSeconds: 5 }, healthCheck: { type: 'http', url: 'http://127.0.0.1:8080/healthz', timeoutSeconds: 1, retries: 0, intervalSeconds: 1 } },
    },
    { components: ['a'], placement: { matchLabels: { a: '' } }, workflow: 'w', approvals: { people: 1 }, gates: ['g'], deployment: { type: 'compose', compose: 'compose.yaml', files: ['x'], healthTimeoutSeconds: 9 } },
    { components: ['a'], placement: { matchLabels: { a: 'b' } }, workflow: 'w', approvals: { people: 1 }, gates: ['g'], deployment: { type: 'directory', healthCheck: { type: 'tcp', port: 65_535, timeoutSeconds: 1, retries: 1, intervalSeconds: 1 } } },
    { components: ['a'], placement: { matchLabels: { a: 'b' } }, workflow: 'w', approvals: { people: 1 }, gates: ['g'], deployment: { type: 'directory', healthCheck: { type: 'command', argv: ['true'], timeoutSeconds: 1, retries: 1, intervalSeconds: 1 } } },
  ] satisfies Required<SpecOf['Application']>[],
  Configuration: [{ variables: { A_1: '' }, secrets: { B: { ref: 'env:X' }, C: { ref: 'file:/run/x' }, D: { ref: 'exec:pass show x' } }, override: 'a/b' }] satisfies Required<SpecOf['Configuration']>[],
  Component: [{ repository: 'a/b-c/d.e', registry: 'r' }] satisfies Required<SpecOf['Component']>[],
  Release: [
    { components: { a: { tag: 'v1.0_x', digest }, b: { digest } }, source: { repository: 'x', commit: 'a'.repeat(40), branch: 'main', build: '7' }, channel: 'stable', displayName: 'x', metadata: { 'a/b': 'c' }, deprecated: { reason: 'old' } },
  ] satisfies Required<SpecOf['Release']>[],
  Environment: [{ order: 0, from: [{ environment: 'dev', soakSeconds: 60 }], approvals: rule, gates: ['g', 'h'], workflow: 'w', allowSeconds: 60, rollback: { ...rule, withinSeconds: 60 }, breakGlass: { ...rule, skip: ['approvals', 'source', 'window', 'dependency', 'concurrency', 'expression'], withinSeconds: 60, review: quorum }, fallBackSeconds: 60, automatic: { from: 'dev', applications: ['a'] } }] satisfies Required<SpecOf['Environment']>[],
  Promotion: [{ release: '1.4.0', attempt: 2, state: 'present', breakGlass: { skip: ['source'], reason: 'x', expires: '2031-01-01T00:00:00Z' } }, { state: 'absent', attempt: 1, hold: 'not before the sale' }],
  Approval: [
    { type: 'promotion', digest, action: 'approve', environment: 'e', application: 'a', release: '1', components: { a: digest }, digestsChecked: true, comment: 'ok', expires: '2031-01-01T00:00:00Z', nonce: 'a'.repeat(32) },
    { type: 'change', digest, action: 'reject', changes: [{ kind: 'Target', name: 'x', count: 0, from: null, to: digest }], nonce: 'a'.repeat(32) },
    { type: 'review', digest, action: 'approve', environment: 'e', application: 'a', nonce: 'a'.repeat(32) },
    { type: 'rewrite', digest, action: 'approve', rewrite: { ref: 'refs/heads/main', from: 'a'.repeat(40) as never, to: 'b'.repeat(40) as never }, nonce: 'a'.repeat(32) },
  ],
  Target: [
    { type: 'directory_host', agent: 'a', environments: ['e'], applications: ['a'], labels: { a: 'b' }, connection: { root: '/srv/x' } },
    { type: 'compose_host', agent: 'a', environments: ['e'], applications: ['a'], labels: {}, connection: { folder: '/srv/x', socket: '/run/docker.sock' } },
  ] satisfies Required<SpecOf['Target']>[],
  Agent: [{ identityKey: pem, owner: 'a', capabilities: ['directory_host', 'compose_host'], suspended: { reason: 'x' } }] satisfies Required<SpecOf['Agent']>[],
  Workflow: [{ steps: [step, { name: 'b', type: 'health-check' }], onFailure: 'hold' }] satisfies Required<SpecOf['Workflow']>[],
  Gate: [
    { type: 'window', calendar: { windows: [{ start: '2031-12-20T00:00', end: '2032-01-03T00:00', timeZone: 'Europe/Berlin' }], weekly: [{ days: ['tue'], from: '09:00', to: '16:00', timeZone: 'UTC' }], exceptions: [{ start: '2031-12-27T08:00', end: '2031-12-27T12:00', timeZone: 'UTC' }] } },
    { type: 'dependency', on: [{ application: 'db', environment: 'prod', release: '1', atLeast: '1.2.0' }, { application: 'vault' }] },
    { type: 'concurrency', most: 2, environments: ['prod'], applications: ['shop'] },
    { type: 'hold', reason: 'x' },
    { type: 'expression', expression: 'source.branch == "main"' },
  ],
  Freeze: [
    {
      environments: ['e'], applications: ['a'], releases: ['a/1'], reason: 'x', except: quorum,
      calendar: {
        windows: [{ start: '2031-12-20T00:00', end: '2032-01-03T00:00', timeZone: 'Europe/Berlin' }], weekly: [{ days: ['fri', 'sat'], from: '17:00', to: '08:00', timeZone: '+02:00' }],
        exceptions: [{ start: '2031-12-27T08:00', end: '2031-12-27T12:00', timeZone: 'UTC' }],
      },
    },
  ] satisfies Required<SpecOf['Freeze']>[],
  Integration: [{ type: 'registry', host: 'registry.example:5000', insecure: true, credentials: { username: 'u', passwordRef: 'env:P' } }, { type: 'registry', host: 'r', credentials: { tokenRef: 'env:T' } }, { type: 'registry', layout: 'images' },
    { type: 'notifier-webhook', url: 'https://hooks.example/stella?x=1', secretRef: 'file:/run/secrets/hook', events: ['deployed'], environments: ['prod'], applications: ['shop'], template: { subject: '{{headline}}', text: '{{text}}' } },
    { type: 'identity-issuer', issuer: 'https://ci.example', keys: [{ id: 'k1', publicKey: pem }], claim: 'actor_id', require: { repository: 'acme/shop' }, services: ['ci'] },
    { type: 'notifier-slack', host: 'hooks.example', urlRef: 'env:HOOK', events: ['waiting', 'failed'] }, { type: 'notifier-email', host: 'mail.example:587', security: 'starttls', from: 'stella@shop.example', to: ['ops@shop.example'], events: ['stalled'], credentials: { username: 'u', passwordRef: 'env:P' } }],
};

const nameOf = (kind: Kind): string => (['Release', 'Promotion', 'Configuration'].includes(kind) ? 'a/b' : 'a');
const documentWith = (kind: Kind, spec: unknown, name = nameOf(kind)): unknown => ({ apiVersion: 'stella/v1alpha1', kind, metadata: { name, description: 'x' }, spec });
const codes = (kind: Kind, value: unknown): readonly string[] => {
  const result = schemas.validateDocument(kind, value);
  return result.ok ? [] : result.problems.map((p) => `${p.code} ${p.path.join('.')}`);
};
const specCodes = (kind: Kind, spec: unknown): readonly string[] => codes(kind, documentWith(kind, spec));

describe('the schemas', () => {
  const files = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.json') && name !== 'openapi.json');

  it.each(files)('%s is a JSON Schema 2020-12 in strict mode, with the id of its place', (name) => {
    const ajv = createAjv({ validateSchema: true });
    for (const other of files) ajv.addSchema(JSON.parse(readFileSync(`${folder}/${other}`, 'utf8')) as object);
    const schema = JSON.parse(readFileSync(`${folder}/${name}`, 'utf8')) as { $id: string; $schema: string };
    expect(schema.$schema).toBe('https://json-schema.org/draft/2020-12/schema');
    expect(schema.$id).toBe(`https://stella-gitops.dev/schemas/${name.replaceAll('\\', '/')}`);
    expect(ajv.getSchema(schema.$id)).toBeTypeOf('function');
  });

  it('close every object that has properties', () => {
    const open: string[] = [];
    const visit = (node: unknown, at: string): void => {
      if (typeof node !== 'object' || node === null) return;
      const { properties, additionalProperties, allOf } = node as { properties?: object; additionalProperties?: unknown; allOf?: unknown };
      const isBranch = /\/(?:if|then|else)$|\/allOf\/\d+|dependentSchemas/.test(at);
      if (properties !== undefined && !isBranch && !at.endsWith('/properties') && additionalProperties === undefined && allOf === undefined) open.push(at);
      for (const [name, value] of Object.entries(node)) visit(value, `${at}/${name}`);
    };
    for (const name of files) visit(JSON.parse(readFileSync(`${folder}/${name}`, 'utf8')), name);
    expect(open).toEqual([]);
  });
});

describe.each(KINDS)('the schema of %s', (kind) => {
  it('takes documents with every field', () => {
    for (const spec of full[kind]) expect(specCodes(kind, spec)).toEqual([]);
  });

  it('takes a document that its type allows with required fields only, and nothing without a required one', () => {
    const { spec: schema } = (JSON.parse(readFileSync(`${folder}/${schemaFileOf(kind)}`, 'utf8')) as { properties: { spec: { required?: string[] } } }).properties;
    for (const name of schema.required ?? []) {
      const { [name]: _, ...rest } = full[kind][0] as unknown as Record<string, unknown>;
      expect(specCodes(kind, rest)).toContain('MissingField spec');
    }
  });

  it('refuses an unknown field wherever it stands', () => {
    const place = (value: unknown, path: readonly string[]): readonly string[][] => {
      if (typeof value !== 'object' || value === null) return [];
      const below = Object.entries(value).flatMap(([name, member]) => place(member, [...path, name]));
      return Array.isArray(value) ? [...below] : [[...path], ...below];
    };
    for (const spec of full[kind]) {
      const document = documentWith(kind, spec);
      for (const path of place(document, [])) {
        const copy = structuredClone(document);
        const object = path.reduce((at: unknown, name) => (at as Record<string, unknown>)[name], copy) as Record<string, unknown>;
        object['un known'] = 1;
        expect({ path, ok: schemas.validateDocument(kind, copy).ok }).toEqual({ path, ok: false });
      }
    }
  });

  it('wants a name of its form and nothing else', () => {
    const spec = full[kind][0];
    const names = ['a', 'a/b', 'a/b/c', 'A', '', '../a', 'a/..', 'a\u0000', 'é'];
    const fits = nameOf(kind) === 'a/b' ? isPairName : isSegment;
    for (const name of names) expect({ name, ok: schemas.validateDocument(kind, documentWith(kind, spec, name)).ok }).toEqual({ name, ok: fits(name) });
  });

  it('takes signatures only where they are read', () => {
    const signatures = [{ format: 'sshsig', signature: '-----BEGIN SSH SIGNATURE-----\nU1NIU0lH\n-----END SSH SIGNATURE-----\n' }];
    const result = schemas.validateDocument(kind, { ...(documentWith(kind, full[kind][0]) as DocumentOf<'Promotion'>), signatures });
    expect(result.ok).toBe(kind === 'Promotion' || kind === 'Approval');
    const token = [{ format: 'oidc', signature: 'e30.e30.AA' }];
    expect(schemas.validateDocument(kind, { ...(documentWith(kind, full[kind][0]) as DocumentOf<'Promotion'>), signatures: token } as never).ok).toBe(kind === 'Release');
  });

  it('takes a signature only in the form that it is said to have', () => {
    const [ssh, pgp] = ['-----BEGIN SSH SIGNATURE-----\nU1NIU0lH\n-----END SSH SIGNATURE-----\n', '-----BEGIN PGP SIGNATURE-----\n\nwsBz\n=AAAA\n-----END PGP SIGNATURE-----\n'];
    const takes = (format: string, signature: string): boolean => schemas.validateDocument(kind, { ...(documentWith(kind, full[kind][0]) as DocumentOf<'Promotion'>), signatures: [{ format, signature }] } as never).ok;
    const isSigned = kind === 'Promotion' || kind === 'Approval';
    expect([takes('sshsig', ssh), takes('openpgp', pgp), takes('sshsig', pgp), takes('openpgp', ssh), takes('x509', ssh)]).toEqual([isSigned, isSigned, false, false, false]);
    expect(takes('openpgp', pgp.replace('-----\n\n', '-----\nComment: x\n\n'))).toBe(false);
  });
});

describe('values without effect or sense are refused', () => {
  const root = full.TrustRoot[0];
  it.each<readonly [Kind, unknown, readonly string[]]>([
    ['Environment', { order: 1, approvals: { people: 0 } }, ['InvalidValue spec.approvals.people']], ['Environment', { order: 1.5 }, ['InvalidValue spec.order']],
    ['Environment', { order: 1, from: [] }, ['InvalidValue spec.from']], ['Environment', { order: 1, aprovals: { people: 1 } }, ['UnknownField spec.aprovals']],
    ['TrustRoot', { ...root, threshold: 0 }, ['InvalidValue spec.threshold']], ['TrustRoot', { ...root, quorums: { default: { people: 0 }, create: quorum } }, ['InvalidValue spec.quorums.default.people']],
    ['TrustRoot', { ...root, quorums: { default: quorum, create: quorum, kinds: { Release: quorum } } }, ['InvalidName spec.quorums.kinds.Release']],
    ['TrustRoot', { ...root, quorums: { default: quorum, create: quorum, kinds: { TrustRoot: quorum } } }, ['InvalidName spec.quorums.kinds.TrustRoot']],
    ['TrustRoot', { ...root, version: 2 }, ['InvalidValue spec.previous', 'InvalidValue spec.documents']], ['TrustRoot', { ...root, documents: null }, ['InvalidValue spec.documents']],
    ['TrustRoot', { ...root, services: [{ role: 'decisions', name: 'x', publicKey: key }] }, ['InvalidValue spec.services.0.publicKey']],
    ['Principal', { type: 'person', keys: [{ key, status: 'compromised' }] }, ['MissingField spec.keys.0']], ['Principal', { type: 'person', keys: [{ key: `command="x" ${key}`, status: 'active' }] }, ['InvalidValue spec.keys.0.key']],
    ['Principal', { type: 'person', keys: [{ key: '-----BEGIN PGP PRIVATE KEY BLOCK-----\n\nxVgE\n-----END PGP PRIVATE KEY BLOCK-----\n', status: 'active' }] }, ['InvalidValue spec.keys.0.key']],
    ['Principal', { type: 'person', keys: [{ key: '-----BEGIN PGP PUBLIC KEY BLOCK-----\nComment: x\n\nxjME\n-----END PGP PUBLIC KEY BLOCK-----\n', status: 'active' }] }, ['InvalidValue spec.keys.0.key']],
    ['Principal', { type: 'person', keys: [{ key, status: 'active', notAfter: '2031-02-30T00:00:00Z' }] }, ['InvalidValue spec.keys.0.notAfter']],
    ['Principal', { type: 'person', keys: [{ key, status: 'active' }], roles: [{ role: 'x', environments: [] }] }, ['InvalidValue spec.roles.0.environments']],
    ['Environment', { order: 1, maxStale: '1h' }, ['UnsupportedField spec.maxStale']], ['Environment', { order: 1, witness: 'w' }, ['UnsupportedField spec.witness']],
    ['Environment', { order: 1, approvals: { people: 1, maxStale: '1h' } }, ['UnsupportedField spec.approvals.maxStale']],
    ['TrustRoot', { ...root, witnesses: [{ name: 'w', publicKey: key }] }, ['UnsupportedField spec.witnesses']],
    ['TrustRoot', { ...root, services: [{ role: 'witness', name: 'x', publicKey: key }] }, ['UnsupportedField spec.services.0.role']],
    ['TrustRoot', { ...root, services: [{ role: 'evidence-commits', name: 'x', publicKey: key, compromised: { logSize: 5 } }] }, ['UnsupportedField spec.services.0.compromised']],
    ['Freeze', { reason: 'x', environments: [] }, ['InvalidValue spec.environments']], ['Freeze', {}, ['MissingField spec']],
    ['Freeze', { reason: 'x', calendar: {} }, ['InvalidValue spec.calendar']], ['Freeze', { reason: 'x', calendar: { exceptions: [{ start: '2031-12-20T00:00', end: '2032-01-03T00:00', timeZone: 'UTC' }] } }, ['InvalidValue spec.calendar']],
    ['Freeze', { reason: 'x', calendar: { windows: [{ start: '2031-12-20T00:00:00Z', end: '2032-01-03T00:00', timeZone: 'Berlin/../x' }] } }, ['InvalidValue spec.calendar.windows.0.start', 'InvalidValue spec.calendar.windows.0.timeZone']],
    ['Freeze', { reason: 'x', calendar: { weekly: [{ days: ['friday'], from: '24:00', to: '8:00', timeZone: 'UTC' }] } }, ['InvalidValue spec.calendar.weekly.0.days.0', 'InvalidValue spec.calendar.weekly.0.from', 'InvalidValue spec.calendar.weekly.0.to']],
    ['Freeze', { reason: 'x', releases: ['1.4.0'] }, ['InvalidName spec.releases.0']], ['Freeze', { reason: 'x', except: { people: 0 } }, ['InvalidValue spec.except.people']], ['Principal', { type: 'person', keys: [{ key, status: 'active' }], suspended: true }, ['InvalidValue spec.suspended']],
    ['Approval', { type: 'change', digest, action: 'approve', nonce: 'a'.repeat(32), changes: [{ kind: 'Freeze', name: 'a', count: 0, from: null, to: digest }], excepts: ['a'] }, ['UnsupportedField spec.excepts']],
    ['Approval', { type: 'promotion', digest, action: 'reject', nonce: 'a'.repeat(32), environment: 'e', application: 'a', excepts: ['a'] }, ['UnsupportedField spec.excepts']],
    ['Promotion', { state: 'absent', release: '1' }, ['UnsupportedField spec.release']], ['Promotion', {}, ['MissingField spec']], ['Promotion', { release: 'shop/1' }, ['InvalidName spec.release']], ['Promotion', { release: '1', attempt: 0 }, ['InvalidValue spec.attempt']],
    ['Integration', { type: 'registry' }, ['InvalidValue spec']], ['Integration', { type: 'registry', host: 'a', layout: 'b' }, ['InvalidValue spec']], ['Integration', { type: 'registry', layout: 'b', insecure: true }, ['UnsupportedField spec.insecure']],
    ['Integration', { type: 'notifier-webhook', url: 'https://a', events: ['deployed'] }, ['MissingField spec']], ['Integration', { type: 'notifier-webhook', url: 'https://u:p@a', secretRef: 'env:K', events: ['deployed'] }, ['InvalidValue spec.url']],
    ['Integration', { type: 'notifier-slack', host: 'a', urlRef: 'https://a/T0/B0/x', events: ['deployed'] }, ['InvalidValue spec.urlRef']], ['Integration', { type: 'notifier-slack', host: 'a', urlRef: 'env:U', events: ['tick'] }, ['InvalidValue spec.events.0']],
    ['Integration', { type: 'notifier-email', host: 'a', from: 'x@y\nBcc: z@z', to: ['a@b'], events: ['deployed'] }, ['InvalidValue spec.from']], ['Integration', { type: 'registry', host: 'a', events: ['deployed'] }, ['UnsupportedField spec.events']],
    ['Integration', { type: 'registry', host: 'https://a' }, ['InvalidValue spec.host']], ['Integration', { type: 'registry', host: 'a', credentials: { username: 'u' } }, ['InvalidValue spec.credentials']],
    ['Integration', { type: 'registry', host: 'a', credentials: { username: 'u', passwordRef: 'hunter2' } }, ['InvalidValue spec.credentials.passwordRef']],
    ['Target', { type: 'directory_host', agent: 'a', environments: ['e'], applications: ['a'], connection: { folder: '/x' } }, ['MissingField spec.connection', 'UnknownField spec.connection.folder']],
    ['Target', { type: 'winrm_host', agent: 'a', environments: ['e'], applications: ['a'], connection: {} }, ['InvalidValue spec.type']],
    ['Application', { components: ['a', 'a'], deployment: { type: 'directory' } }, ['InvalidValue spec.components']], ['Application', { components: ['a'], deployment: { type: 'scripts' } }, ['InvalidValue spec.deployment.type']],
    ['Application', { components: ['a'], deployment: { type: 'compose', compose: 'x', command: { argv: ['x'] } } }, ['UnknownField spec.deployment.command']],
    ['Release', { components: {} }, ['InvalidValue spec.components']], ['Release', { components: { a: {} } }, ['InvalidValue spec.components.a']], ['Release', { components: { a: { digest: 'sha256:x' } } }, ['InvalidValue spec.components.a.digest']],
    ['Configuration', { variables: { 'A B': 'x' } }, ['InvalidName spec.variables.A B']], ['Configuration', { variables: { A: 1 } }, ['InvalidValue spec.variables.A']], ['Configuration', { secrets: { A: { ref: 'hunter2' } } }, ['InvalidValue spec.secrets.A.ref']],
    ['Workflow', { steps: [] }, ['InvalidValue spec.steps']], ['Workflow', { steps: [{ name: 'a', type: 'approval' }] }, ['InvalidValue spec.steps.0.type']],
    ['Approval', { type: 'change', digest, action: 'approve', nonce: 'a'.repeat(32), environment: 'e' }, ['MissingField spec', 'UnsupportedField spec.environment']],
    ['Approval', { type: 'promotion', digest, action: 'approve', nonce: 'a'.repeat(32), environment: 'e', application: 'a', changes: [] }, ['UnsupportedField spec.changes']],
    ['Approval', { type: 'change', digest, action: 'approve', nonce: 'a'.repeat(32), changes: [{ kind: 'Release', name: 'a/b', count: 0, from: null, to: null }] }, ['InvalidValue spec.changes.0.kind']],
  ])('%s %j', (kind, spec, expected) => {
    for (const code of expected) expect(specCodes(kind, spec)).toContain(code);
  });

  it('in words that say what was meant', () => {
    const result = schemas.validateDocument('Environment', documentWith('Environment', { order: 1, aprovals: { people: 1 }, approvals: { people: 0 } }));
    const messages = result.ok ? [] : result.problems.map((p) => p.message);
    expect(messages).toEqual(['unknown field `spec.aprovals`; did you mean `approvals`?', '`spec.approvals.people` must be at least 1']);
  });

  it('that say what is not supported yet, and what to do until then', () => {
    const result = schemas.validateDocument('Environment', documentWith('Environment', { order: 1, maxStale: '1h' }));
    const [problem] = result.ok ? [] : result.problems;
    expect(problem?.message).toContain('not supported yet');
    expect(problem?.remedy).toContain('Take it out');
  });

  it('with look-alike letters escaped, so that they show', () => {
    const result = schemas.validateDocument('Freeze', documentWith('Freeze', { reason: 'x' }, 'pr\u043ed'));
    expect(result.ok ? '' : result.problems[0]?.message).toContain('pr\\u043ed');
  });
});

it('protection in the schemas is that of the code', () => {
  const { $defs } = JSON.parse(readFileSync(`${folder}/common.schema.json`, 'utf8')) as { $defs: Record<string, { enum: string[] }> };
  expect($defs['kind']?.enum).toEqual([...KINDS]);
  expect($defs['protectedKind']?.enum).toEqual(KINDS.filter(isProtected));
});
