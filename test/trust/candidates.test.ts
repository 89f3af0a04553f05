import { existsSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe } from 'vitest';
import { buildImage, buildLayer } from '../../src/adapters/oci/build-image.ts';
import { createRegistryClient } from '../../src/adapters/oci/registry-client.ts';
import type { AnyDocument, DocumentOf, RegistrySpec } from '../../src/core/model/documents.ts';
import { answer, startMiniatureRegistry, type MiniatureRegistry } from '../fakes/registry-server.ts';
import { doc, pathOf, yamlOf } from '../fakes/world.ts';
import { cloneFor, json, putImage, type Clone } from '../integration/cli-fixture.ts';
import { attack, verdict, type Verdict } from './attack.ts';
import { releaseOf, Stage } from './attacks-fixture.ts';
import { putInForce } from './promotion-desk.ts';

/** What somebody can do with a branch alone, before anything of it is merged (T18). */

let stage: Stage;
let evil: MiniatureRegistry;
let reviewer: Clone;
let made = 0;
beforeAll(async () => {
  stage = await Stage.open();
  evil = await startMiniatureRegistry({ '6.6': buildImage([await buildLayer([{ path: 'a', content: 'evil', mode: 0o644 }])]) });
  await putImage(stage.world, 'shop/api', '1.0', 'genuine');
  await stage.world.commit([releaseOf('1.0'), doc('Promotion', 'dev/shop', { release: '1.0' })], { by: stage.world.people.alice });
  await stage.settle();
  reviewer = await cloneFor(stage.world, stage.world.people.bob);
});
afterAll(async () => {
  await evil.stop();
  await stage.close();
});

type Explained = { readonly decision: { readonly outcome: string; readonly reasons: readonly string[]; readonly promotionDigest: string | null }; readonly lock: { readonly basis: string } };

/** A branch from `from` with these documents, as whoever opens a pull request makes it. */
async function fork(documents: readonly AnyDocument[], from = 'origin/main'): Promise<string> {
  const name = `fork-${++made}`;
  await reviewer.git('fetch', '-q', 'origin');
  await reviewer.git('switch', '-q', '-C', name, from);
  for (const document of documents) {
    const file = join(reviewer.folder, pathOf(document));
    await mkdir(dirname(file), { recursive: true });
    await writeFile(file, yamlOf(document));
  }
  await reviewer.git('add', '-A');
  await reviewer.git('commit', '-q', '--no-gpg-sign', '-m', 'From a fork');
  return name;
}

async function explained(ref: string): Promise<Explained> {
  return json<readonly Explained[]>(await reviewer.stella(['explain', 'prod/shop', '--ref', ref, '-o', 'json'], { environment: { REGISTRY_TOKEN: 'secret' } }))[0]!;
}

const marker = (): string => join(stage.world.folder, 'executed');
/** What reached the attacker: requests to their registry, and their command. */
const reached = (): readonly unknown[] => [...evil.seen.map(({ path }) => path), ...(existsSync(marker()) ? [marker()] : [])];

describe('a fork', () => {
  const integration = (credentials: RegistrySpec['credentials']): DocumentOf<'Integration'> =>
    doc('Integration', 'images', { type: 'registry', host: evil.host, insecure: true, ...(credentials === undefined ? {} : { credentials }) });

  attack('fork\'s Integration with `exec:`', {
    rules: ['T18', 'T14'], expects: 'LockMissing',
    attempt: async () => {
      // The fork repoints the registry in force to one of its own, whose token is the output of a command.
      const ref = await fork([integration({ tokenRef: `exec:touch ${marker()}` }), doc('Component', 'api', { repository: `${evil.host}/shop/api`, registry: 'images' }), releaseOf('6.6'), doc('Promotion', 'prod/shop', { release: '6.6' })]);
      const { decision, lock } = await explained(ref);
      return { accepted: lock.basis !== 'none', codes: decision.reasons, executed: reached() };
    },
    twin: async () => {
      await putInForce(stage, integration({ tokenRef: 'env:REGISTRY_TOKEN' }));
      await putInForce(stage, doc('Component', 'api', { repository: `${evil.host}/shop/api`, registry: 'images' }));
      const { decision, lock } = await explained(await fork([releaseOf('6.6'), doc('Promotion', 'prod/shop', { release: '6.6' })]));
      await putInForce(stage, doc('Component', 'api', { repository: 'shop/api', registry: 'images' }));
      await putInForce(stage, doc('Integration', 'images', { type: 'registry', layout: 'images' }));
      return { accepted: lock.basis === 'resolved-here' && evil.seen.length > 0, codes: decision.reasons, executed: [] };
    },
  });

  attack('rules loosened in the branch that is approved', {
    rules: ['T14', 'T15', 'T18'], expects: 'ApprovalsMissing',
    attempt: async () => verdictOf(await explained(await fork([doc('Environment', 'prod', { order: 2 }), doc('Promotion', 'prod/shop', { release: '1.0' })]))),
    twin: async () => {
      await putInForce(stage, doc('Environment', 'prod', { order: 2 }));
      const found = await explained(await fork([doc('Promotion', 'prod/shop', { release: '1.0' })]));
      await putInForce(stage, doc('Environment', 'prod', { order: 2, from: [{ environment: 'dev' }], approvals: { people: 1, roles: [{ role: 'sre', count: 1 }] } }));
      return verdictOf(found);
    },
  });

  attack('branch that undoes what the target branch changed meanwhile', {
    rules: ['T18', 'T26'], expects: 'Conflict',
    attempt: () => overtaken(doc('Configuration', 'prod/shop', { variables: { LEVEL: 'the fork' } })),
    twin: () => overtaken(doc('Configuration', 'dev/shop', { variables: { LEVEL: 'the fork' } })),
  });

  /** The fork began before the target branch changed the configuration of prod. */
  async function overtaken(own: AnyDocument): Promise<Verdict> {
    await reviewer.git('fetch', '-q', 'origin');
    const before = await reviewer.git('rev-parse', 'origin/main');
    await stage.world.commit([doc('Configuration', 'prod/shop', { variables: { LEVEL: `the team ${++made}` } })], { by: stage.world.people.alice });
    await stage.settle();
    const ref = await fork([own, doc('Promotion', 'prod/shop', { release: '1.0' })], before);
    const approved = await reviewer.stella(['approve', 'prod/shop', '--ref', ref, '--yes', '--no-push']);
    const checked = json<{ findings: readonly { code: string; severity: string }[] }>(await reviewer.stella(['check', ref, '-o', 'json']));
    return { accepted: approved.code === 0, codes: checked.findings.map(({ code }) => code), executed: stage.executed('prod') };
  }

  function verdictOf({ decision }: Explained): Verdict {
    return { accepted: !decision.reasons.includes('ApprovalsMissing') && decision.promotionDigest !== null, codes: decision.reasons, executed: [] };
  }
});

describe('a registry', () => {
  /** A registry that knows us sends us on to somebody else, or answers itself. */
  async function asked(to: 'elsewhere' | 'itself'): Promise<Verdict> {
    const image = buildImage([await buildLayer([{ path: 'a', content: 'A', mode: 0o644 }])]);
    const [own, other] = [await startMiniatureRegistry({ '1.0': image }), await startMiniatureRegistry({ '1.0': image })];
    try {
      other.misbehave((request, response) => (request.headers.authorization === undefined ? answer(request, response, 401, { 'www-authenticate': 'Basic realm="x"' }) : false));
      own.misbehave((request, response) => {
        if (request.headers.authorization === undefined) return answer(request, response, 401, { 'www-authenticate': 'Basic realm="x"' });
        return to === 'elsewhere' ? answer(request, response, 307, { location: `${other.origin}${request.url ?? ''}` }) : false;
      });
      const client = createRegistryClient({ registry: own.origin, credentials: [{ host: own.host, username: 'robot', password: 'secret' }], now: () => new Date(0), backoff: () => 1, timeoutMs: 2_000 });
      const found = await client.resolve({ repository: 'shop/api', tag: '1.0' });
      return verdict(found.ok ? null : found.code, other.seen.flatMap(({ authorization }) => authorization ?? []));
    } finally {
      await Promise.all([own.stop(), other.stop()]);
    }
  }
  attack('credential sent to a redirect', { rules: ['T18'], expects: 'RegistryUnauthorized', attempt: () => asked('elsewhere'), twin: () => asked('itself') });
});
