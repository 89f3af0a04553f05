import { createHash, generateKeyPairSync, sign } from 'node:crypto';
import { canonicalBytes, parseCanonicalJson } from '../../src/core/model/canonical-json.ts';
import { digestOfBytes } from '../../src/core/model/digest.ts';
import { assembleEnvelope, IN_TOTO_PAYLOAD_TYPE, parseEnvelope, parseForeignEnvelope, preAuthEncoding, verifyEnvelope } from '../../src/core/evidence/dsse.ts';
import { readRecord } from '../../src/core/evidence/record-codec.ts';
import { statementBytes } from '../../src/core/evidence/statement.ts';
import { decodeBundle, encodeBundle, type OrderBundle } from '../../src/core/order/bundle.ts';
import { receiptEnvelope, receiptSigningInput, verifyReceipt } from '../../src/core/order/receipt.ts';
import { demandSame, type Decoder, type Layer } from './decoder.ts';

const WORDS = ['{', '}', '[', ']', ',', ':', '"', '\\', '\\u0000', '\\ud800', 'null', 'true', '-0', '1e2', '1.5', '9007199254740993', ' ', '\n', '"payload":', '"sig":""', '"keyid":', '"__proto__":{}', '\u00e9', Buffer.of(0xff), Buffer.of(0xc0, 0x80)];

/** Canonical JSON, in which everything that is digested and signed is written. */
export const canonicalJson: Decoder = {
  name: 'canonical-json',
  open: async () => ({
    samples: [{ a: [1, -2, 'x'], '\u20ac': { b: null }, c: true }, { type: 'stella/order/v1', decision: digestOfBytes('d'), operation: 'promote', target: 'web-1', try: 1 }, [], 'text \u{1f680}'].map((value) => ({ bytes: canonicalBytes(value) })),
    words: WORDS,
    read: (input) => {
      const value = parseCanonicalJson(input);
      if (value === undefined) return 'Refused';
      return demandSame('JSON', [canonicalBytes(value)], [[input]]);
    },
  }),
};

type Pair = ReturnType<typeof keyPair>;

function keyPair() {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const der = publicKey.export({ format: 'der', type: 'spki' });
  return { privateKey, publicKey, der, keyId: createHash('sha256').update(der).digest('hex') };
}

/** Payload and signature of an envelope, each by itself. */
function envelopeLayers(payload: Uint8Array, signature: Uint8Array, wrap: (payload: Uint8Array, signature: Uint8Array) => Uint8Array): readonly Layer[] {
  return [{ bytes: payload, wrap: (changed) => wrap(changed, signature) }, { bytes: signature, wrap: (changed) => wrap(payload, changed) }];
}

/** Records of the log: DSSE envelope, statement, header and content. */
export const envelope: Decoder = {
  name: 'dsse-envelope',
  open: async () => {
    const pair = keyPair();
    const keys = [{ keyId: pair.keyId, publicKey: pair.publicKey }];
    const samples = [statement({ header: { seq: 3 }, content: { type: 'tip', ref: 'refs/heads/main', commit: 'c'.repeat(40) } }), statement({ header: {}, content: {} })].map((payload) => {
      const signature = sign('sha256', preAuthEncoding(IN_TOTO_PAYLOAD_TYPE, payload), pair.privateKey);
      const wrap = (p: Uint8Array, sig: Uint8Array): Uint8Array => assembleEnvelope(p, [{ keyid: pair.keyId, sig }]);
      return { bytes: wrap(payload, signature), payload, signature, layers: envelopeLayers(payload, signature, wrap) };
    });
    return {
      samples, words: WORDS,
      read: (input) => {
        const parsed = parseEnvelope(input);
        if (!parsed.ok) {
          const foreign = parseForeignEnvelope(input);
          if (foreign.ok && verifyEnvelope(foreign.envelope, keys).length > 0) demandSame('an envelope', [foreign.envelope.payload], samples.map(({ payload }) => [payload]));
          return parsed.code;
        }
        const record = readRecord(input, keys);
        if (!record.ok) return record.code;
        const { payload, signatures } = parsed.envelope;
        // Others may have signed beside ours; that signature alone counts.
        const ours = signatures.filter(({ sig }) => samples.some(({ signature }) => Buffer.compare(sig, signature) === 0)).map(({ sig }) => sig);
        return demandSame('a record', [payload, ours[0] ?? new Uint8Array()], samples.map((sample) => [sample.payload, sample.signature]));
      },
    };
  },
};

const statement = (predicate: object): Uint8Array =>
  statementBytes({ subjects: [{ name: 'refs/heads/main', gitCommit: 'c'.repeat(40) as never }], predicateType: 'https://stella-gitops.dev/evidence/observation/v1', predicate: predicate as never });

/** Receipts of agents. */
export const receipt: Decoder = {
  name: 'receipt',
  open: async () => {
    const pair = keyPair();
    const samples = [receiptBytes('Succeeded'), receiptBytes('Refused')].map((payload) => {
      const signature = sign('sha256', receiptSigningInput(payload), pair.privateKey);
      const wrap = (p: Uint8Array, sig: Uint8Array): Uint8Array => receiptEnvelope(p, pair.keyId, sig);
      return { bytes: wrap(payload, signature), payload, layers: envelopeLayers(payload, signature, wrap) };
    });
    return {
      samples, words: WORDS,
      read: (input) => {
        const outcome = verifyReceipt(input, pair.der);
        return outcome.ok ? demandSame('a receipt', [canonicalBytes(outcome.receipt)], samples.map(({ payload }) => [payload])) : outcome.code;
      },
    };
  },
};

function receiptBytes(result: 'Succeeded' | 'Refused'): Uint8Array {
  const refused = result === 'Refused';
  return canonicalBytes({
    type: 'stella/receipt/v1', order: digestOfBytes('order'), agent: 'anna', target: 'web-1', result, code: refused ? 'QuorumNotMet' : 'Ok', message: refused ? 'no' : '',
    running: refused ? [] : [{ component: 'api', digest: digestOfBytes('api') }], rolledBack: false, startedAt: '2026-05-04T12:00:00.000Z', endedAt: '2026-05-04T12:00:01.000Z',
  });
}

/** The wrapping of orders. What is in a bundle, `order-proof` judges. */
export const bundle: Decoder = {
  name: 'order-bundle',
  open: async () => {
    const order = { type: 'stella/order/v1', decision: digestOfBytes('d'), operation: 'promote', target: 'web-1', try: 1 } as const;
    const pair: Pair = keyPair();
    const bytes = (text: string): Uint8Array => Buffer.from(text);
    const whole: OrderBundle = { order, decision: pair.der, changes: [bytes('{}')], approvals: [bytes('{"a":1}')], artifacts: new Map([[digestOfBytes('x'), bytes('x')]]) };
    const samples = [whole, { ...whole, changes: [], approvals: [], artifacts: new Map<never, never>() }].map((b) => ({ bytes: encodeBundle(b) }));
    return {
      samples, words: [...WORDS, '"artifacts":', '"changes":', '"order":', '"try":0', 'AA==', 'AAAA', '"type":"stella/bundle/v1"'],
      read: (input) => {
        const decoded = decodeBundle(input);
        if (decoded === null) return 'Refused';
        // An artifact is what its bytes say, whatever name it came under.
        for (const [digest, artifact] of decoded.artifacts) if (digestOfBytes(artifact) !== digest) throw new Error('an artifact stands under a digest that is not its own');
        return 'Read';
      },
    };
  },
};
