import { createPrivateKey, sign, type KeyObject } from 'node:crypto';
import { mkdir, open, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { canonicalBytes } from '../core/model/canonical-json.ts';
import { keyIdOf, receiptEnvelope, receiptSigningInput, type Receipt } from '../core/order/receipt.ts';
import type { AgentKeys } from '../ports/agent-keys.ts';

/** The agent's long-lived key, which stands in its Agent document. */
export type AgentIdentity = {
  readonly agent: string;
  readonly privateKeyPem: string;
  readonly publicKeyDer: Uint8Array;
  readonly privateKey: KeyObject;
};

/** What enrolment gave: how this agent is known, and by what it knows its server. All PEM. */
export type AgentCertificates = { readonly certificateChainPem: string; readonly authorityPem: string };

const KEY = 'identity.key';
const CHAIN = 'certificate.pem';
const AUTHORITY = 'authority.pem';

/**
 * Reads the identity key from the state folder; makes it there, mode 0600, the first time.
 * @throws when the folder cannot be written or the key is not P-256.
 */
export async function openIdentity(folder: string, agent: string, keys: AgentKeys): Promise<AgentIdentity> {
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const known = await readIfThere(join(folder, KEY));
  const privateKeyPem = known ?? keys.newPrivateKeyPem();
  if (known === null) await writePrivate(folder, KEY, privateKeyPem);
  return { agent, privateKeyPem, publicKeyDer: keys.publicKeyDer(privateKeyPem), privateKey: createPrivateKey(privateKeyPem) };
}

/** Null before enrolment. */
export async function readCertificates(folder: string): Promise<AgentCertificates | null> {
  const [certificateChainPem, authorityPem] = await Promise.all([readIfThere(join(folder, CHAIN)), readIfThere(join(folder, AUTHORITY))]);
  return certificateChainPem === null || authorityPem === null ? null : { certificateChainPem, authorityPem };
}

/** Keeps what enrolment or a renewal gave. */
export async function storeCertificates(folder: string, certificates: AgentCertificates): Promise<void> {
  await writePrivate(folder, AUTHORITY, certificates.authorityPem);
  await writePrivate(folder, CHAIN, certificates.certificateChainPem);
}

/** Signs a receipt: the raw envelope that the outcome record keeps. */
export function signReceipt(identity: AgentIdentity, receipt: Receipt): Uint8Array {
  const payload = canonicalBytes(receipt);
  const signature = sign('sha256', receiptSigningInput(payload), identity.privateKey);
  return receiptEnvelope(payload, keyIdOf(identity.publicKeyDer), signature);
}

async function readIfThere(path: string): Promise<string | null> {
  try {
    return await readFile(path, 'utf8');
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw cause;
  }
}

async function writePrivate(folder: string, name: string, text: string): Promise<void> {
  const temporary = join(folder, `.${name}.new`);
  await rm(temporary, { force: true });
  const file = await open(temporary, 'wx', 0o600);
  try {
    await file.writeFile(text);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(temporary, join(folder, name));
}
