import { afterAll, beforeAll, describe } from 'vitest';
import { openForge } from '../../src/adapters/forge/open-forge.ts';
import { ForgeError } from '../../src/ports/forge.ts';
import { githubDialect } from '../fakes/forge-github.ts';
import { addProposal, fakeForge, type FakeForgeServer, startFakeForge } from '../fakes/forge-server.ts';
import { attack, type Verdict, verdict } from './attack.ts';

let genuine: FakeForgeServer;
/** A server of the attacker, which would answer like the forge to whoever brings the token. */
let elsewhere: FakeForgeServer;

beforeAll(async () => {
  const dialect = githubDialect();
  const state = fakeForge();
  addProposal(state);
  [genuine, elsewhere] = await Promise.all([startFakeForge(dialect, state), startFakeForge(dialect, state)]);
}, 60_000);

afterAll(async () => {
  await Promise.all([genuine.stop(), elsewhere.stop()]);
});

/** Lists proposals with the token; what is executed is what the attacker was asked. */
async function listAt(url: string): Promise<Verdict> {
  const before = elsewhere.seen.length;
  const world = { now: () => new Date(), random: () => 0, sleep: () => Promise.resolve(), allowedHosts: null };
  try {
    const forge = await openForge('github', { url, repository: 'acme/deploy', token: () => Promise.resolve('token-of-stella'), account: null }, world);
    const { proposals } = await forge.listOpen('refs/heads/main');
    return verdict(proposals.length === 1 ? null : 'NotListed');
  } catch (error) {
    if (!(error instanceof ForgeError)) throw error;
    return verdict(error.code, elsewhere.seen.slice(before));
  }
}

async function redirected(target: FakeForgeServer | null): Promise<Verdict> {
  genuine.misbehave((request, response) => {
    if (target === null) return false;
    response.writeHead(307, { location: `${target.url}${request.url ?? ''}` }).end();
    return true;
  });
  return await listAt(genuine.url);
}

describe('the token of a forge', () => {
  attack('token of a forge sent to a redirect', { rules: ['T18'], expects: 'Refused', attempt: () => redirected(elsewhere), twin: () => redirected(null) });

  attack('token of a forge sent in the open to another machine', {
    rules: ['T18'],
    expects: 'Refused',
    // The name leads to this machine, which is where a name server of the attacker would lead it as well.
    attempt: () => listAt(genuine.url.replace('127.0.0.1', 'forge.localhost')),
    twin: () => listAt(genuine.url),
  });
});
