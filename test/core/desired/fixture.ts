import { createHash, generateKeyPairSync } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { openSchemas } from '../../../src/adapters/schema/open-schemas.ts';
import { parseFile } from '../../../src/adapters/yaml/parse-documents.ts';
import { canFillRoles } from '../../../src/core/decision/match-roles.ts';
import type { PolicyTools } from '../../../src/core/desired/check-policy.ts';
import { applyFiles, emptyDesiredState, type DesiredState, type FileChange } from '../../../src/core/desired/desired-state.ts';
import type { Diagnostic } from '../../../src/core/desired/diagnostic.ts';
import { keyIdentities } from '../../../src/core/desired/key-identity.ts';
import { isDeclarationPath, type ParsedFile } from '../../../src/core/desired/parsed-file.ts';
import type { BlobId } from '../../../src/core/model/commit-id.ts';

export const exampleFolder = fileURLToPath(new URL('../../../examples/repo-layout/', import.meta.url));
export const tools: PolicyTools = { keyIdentities, canFillRoles };
const schemas = openSchemas();

/** Text of every declaration by path. */
export type Tree = Readonly<Record<string, string>>;

export function blobOf(text: string): BlobId {
  return createHash('sha1').update(text).digest('hex') as BlobId;
}

export function parseText(path: string, text: string): ParsedFile {
  return parseFile({ path, blob: blobOf(text), bytes: new TextEncoder().encode(text) }, schemas);
}

/** All files of the example, and a root as `stella init` would write it. */
export function exampleTree(): Tree {
  const paths = readdirSync(exampleFolder, { recursive: true, encoding: 'utf8' }).filter(isDeclarationPath);
  const files = paths.map((path) => [path.replaceAll('\\', '/'), readFileSync(join(exampleFolder, path), 'utf8')] as const);
  return { ...Object.fromEntries(files), 'trust/root.yaml': rootText(keyLineIn(Object.fromEntries(files)['principals/bob.yaml'] ?? '')) };
}

function keyLineIn(text: string): string {
  return /key: (ssh-ed25519 .*)/.exec(text)?.[1] ?? '';
}

/** @param bobKey the key that Bob signs with */
function rootText(bobKey: string): string {
  const pem = (): string => `\n${newPem().trimEnd().replace(/^/gm, '        ')}`;
  return `apiVersion: stella/v1alpha1
kind: TrustRoot
metadata:
  name: root
spec:
  version: 1
  previous: null
  id: ${'0123456789abcdef'.repeat(4)}
  tenant: acme
  documents: sha256:${'0'.repeat(64)}
  keys:
    - principal: bob
      key: ${bobKey}
  threshold: 1
  services:
    - role: decisions
      name: decisions-1
      publicKey: |${pem()}
    - role: agent-ca
      name: agents-1
      publicKey: |${pem()}
  quorums:
    default:
      people: 1
      roles:
        - role: sre
          count: 1
    create:
      people: 2
  proposerCounts: true
  minimums:
    environments:
      - name: prod
        people: 1
`;
}

/** A new public key as PEM (SPKI, P-256). */
export function newPem(): string {
  return String(generateKeyPairSync('ec', { namedCurve: 'prime256v1' }).publicKey.export({ type: 'spki', format: 'pem' }));
}

/** A new ed25519 key as an OpenSSH public key line. */
export function newKeyLine(): string {
  const { x = '' } = generateKeyPairSync('ed25519').publicKey.export({ format: 'jwk' });
  const type = Buffer.from('ssh-ed25519');
  const point = Buffer.from(x, 'base64url');
  const length = (n: number): Buffer => Buffer.from([0, 0, 0, n]);
  return `ssh-ed25519 ${Buffer.concat([length(type.length), type, length(point.length), point]).toString('base64')} test`;
}

export function changesOf(tree: Tree): readonly FileChange[] {
  return Object.entries(tree).map(([path, text]) => ({ path, parsed: parseText(path, text) }));
}

export function stateOf(tree: Tree): DesiredState {
  return applyFiles(emptyDesiredState(), changesOf(tree)).state;
}

/** `file:line code` of each, which is what tests compare. */
export function places(diagnostics: readonly Diagnostic[]): readonly string[] {
  return diagnostics.map((d) => `${d.file}:${d.line} ${d.code}`);
}
