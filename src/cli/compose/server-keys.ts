import { createHash, X509Certificate } from 'node:crypto';
import { readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { openCommitSigner, openNextCommitSigner, type CommitKey } from '../../adapters/keys/commit-key.ts';
import { KeyError } from '../../adapters/keys/key-error.ts';
import { openRecordSigner } from '../../adapters/keys/record-key.ts';
import { publicKeyDer } from '../../adapters/pki/key-form.ts';
import { certifyAuthority, openAuthority, type AgentAuthority } from '../../adapters/pki/authority.ts';
import type { ServerConfig } from '../../config/server.ts';
import type { Signers } from '../../ports/signing.ts';

type Environment = Readonly<Record<string, string | undefined>>;

/** The keys for decisions and evidence commits (T29). @throws KeyError */
export async function openSigners(keys: ServerConfig['keys'], environment: Environment): Promise<Signers> {
  const decisions = await readKey(keys.decisions, environment, 'keys.decisions');
  const nextDecisions = keys.nextDecisions === null ? null : await readKey(keys.nextDecisions, environment, 'keys.nextDecisions');
  const commitKey = async (reference: string, setting: string): Promise<CommitKey> => {
    const { PATH, HOME, SSH_AUTH_SOCK } = environment;
    return { ...(await readKey(reference, environment, setting)), environment: { PATH, HOME, SSH_AUTH_SOCK } };
  };
  return {
    records: openRecordSigner(decisions.text, decisions.where),
    commits: openCommitSigner(await commitKey(keys.evidenceCommits, 'keys.evidenceCommits')),
    next: {
      ...(nextDecisions === null ? {} : { records: openRecordSigner(nextDecisions.text, nextDecisions.where) }),
      ...(keys.nextEvidenceCommits === null ? {} : { commits: openNextCommitSigner(await commitKey(keys.nextEvidenceCommits, 'keys.nextEvidenceCommits')) }),
    },
  };
}

const CERTIFICATE = 'agent-ca.pem';

/** A certificate of its own for each key that was ever rotated in: agents pin it, so it is never made twice. */
async function certificateFile(folder: string, privateKeyPem: string): Promise<string> {
  const first = await readFile(join(folder, CERTIFICATE), 'utf8').catch(() => null);
  const own = Buffer.from(publicKeyDer(privateKeyPem));
  const isOwn = first === null || own.equals(publicKeyDerOfCertificate(first));
  return join(folder, isOwn ? CERTIFICATE : `agent-ca-${createHash('sha256').update(own).digest('hex').slice(0, 16)}.pem`);
}

function publicKeyDerOfCertificate(pem: string): Buffer {
  return new X509Certificate(pem).publicKey.export({ type: 'spki', format: 'der' });
}

/**
 * The agents' authority. Its certificate is made once for each key and kept in the data folder, because tokens and agents pin it.
 * @throws KeyError, RangeError
 */
export async function openAgentAuthority(config: Pick<ServerConfig, 'keys' | 'dataFolder'>, environment: Environment, now: Date): Promise<AgentAuthority> {
  const { text } = await readKey(config.keys.agentCa, environment, 'keys.agentCa');
  const file = await certificateFile(config.dataFolder, text);
  const known = await readFile(file, 'utf8').catch(() => null);
  const certificatePem = known ?? (await certifyAuthority({ privateKeyPem: text, name: 'stella agents', now }));
  const authority = await openAuthority({ privateKeyPem: text, certificatePem });
  if (known === null) {
    await writeFile(`${file}.new`, certificatePem, { mode: 0o644 });
    await rename(`${file}.new`, file);
  }
  return authority;
}

/** @param reference absolute path, or `env:NAME` */
async function readKey(reference: string, environment: Environment, setting: string): Promise<{ readonly text: string; readonly file: string | null; readonly where: string }> {
  if (reference.startsWith('env:')) {
    const text = environment[reference.slice('env:'.length)];
    if (text === undefined || text === '') throw new KeyError('KeyUnreadable', `${setting}: ${reference} is not set`);
    return { text, file: null, where: reference };
  }
  const text = await readFile(reference, 'utf8').catch((cause: unknown) => {
    throw new KeyError('KeyUnreadable', `${setting}: ${reference} cannot be read: check the path and its permissions`, cause);
  });
  return { text, file: reference, where: reference };
}
