import { createDocumentParser } from '../../src/adapters/yaml/document-parser.ts';
import { verifyDocumentSignature } from '../../src/core/commit/document-signature.ts';
import { createKeyCache } from '../../src/core/commit/ssh-key.ts';
import { parseArmour } from '../../src/core/commit/ssh-signature.ts';
import type { BlobId } from '../../src/core/model/commit-id.ts';
import { digestOfBytes } from '../../src/core/model/digest.ts';
import { documentPreimage, type AnyDocument, type DocumentOf } from '../../src/core/model/documents.ts';
import { armour, makeSignature, makeTestKey } from '../core/commit/signature-maker.ts';
import { doc, yamlOf } from '../fakes/world.ts';
import { demandSame, type Decoder } from './decoder.ts';

const WORDS = ['---\n', '...\n', '&a ', '*a', '!!str ', '<<: ', '{', '}', '[', ']', ': ', '- ', '|\n', '>-\n', '"', "'", '\t', '\0', '# ', '%YAML 1.1\n', 'kind: Approval\n', 'kind: Principal\n', 'spec:\n', 'digest: ', '~', 'yes', '0x1f', '1e3', '__proto__: ', 'action: reject\n', '\u2028', '\uFEFF'];

/** Approvals: YAML, schema, and the embedded signature. */
export const approvalDocument: Decoder = {
  name: 'approval-document',
  open: async () => {
    const parser = createDocumentParser();
    const keys = { ssh: createKeyCache() };
    const key = makeTestKey('ssh-ed25519');
    const samples = approvals().map((document) => {
      const preimage = documentPreimage(document);
      const signature = makeSignature(key, preimage, { namespace: 'stella-approval' });
      const text = yamlOf({ ...document, signatures: [{ format: 'sshsig', signature }] } as AnyDocument);
      const [before = '', after = ''] = text.split(indented(signature));
      const wrap = (changed: Buffer): Buffer => Buffer.from(before + indented(armour(changed)) + after);
      return { bytes: Buffer.from(text), preimage, blob: blobOf(signature), layers: [{ bytes: blobOf(signature), wrap }] };
    });
    const readOne = (document: AnyDocument & { readonly signatures?: readonly { readonly signature: string }[] }): string => {
      const preimage = documentPreimage(document);
      let answer = 'Read';
      for (const { signature } of document.signatures ?? []) {
        const outcome = verifyDocumentSignature({ preimage, armoured: signature, namespace: 'stella-approval', keys });
        answer = outcome.signed ? demandSame('an approval', [preimage, blobOf(signature)], samples.map((sample) => [sample.preimage, sample.blob])) : outcome.code;
      }
      return answer;
    };
    return {
      samples, words: WORDS,
      read: (input) => {
        const { documents, problems } = parser.parseFile({ path: 'approvals/a.yaml', blob: 'a'.repeat(40) as BlobId, bytes: input });
        const answers = documents.map(({ document }) => readOne(document as never));
        return answers[0] ?? problems[0]?.code ?? 'Nothing';
      },
    };
  },
};

function approvals(): readonly DocumentOf<'Approval'>[] {
  const [digest, nonce] = [digestOfBytes('promotion'), 'ab'.repeat(16)];
  return [
    doc('Approval', 'bob-1', { type: 'promotion', action: 'approve', environment: 'prod', application: 'shop', digest, nonce }),
    doc('Approval', 'bob-2', { type: 'change', action: 'reject', digest, nonce, changes: [{ kind: 'Freeze', name: 'stop', count: 1, from: digest, to: null }] }),
  ];
}

/** A signature as it stands in the YAML. */
const indented = (armoured: string): string => armoured.trimEnd().replaceAll('\n', '\n      ');

function blobOf(armoured: string): Uint8Array {
  const parsed = parseArmour(armoured);
  if (!parsed.ok) throw new Error(`accepted an armour that cannot be read: ${parsed.code}`);
  return parsed.bytes;
}
