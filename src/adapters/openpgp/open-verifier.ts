import type { OpenPgpVerifier } from '../../core/commit/openpgp.ts';
import { refusal } from '../../core/commit/signature-code.ts';

export type OpenedOpenPgp = OpenPgpVerifier & { close(): Promise<void> };

/** Nothing starts before the first question. */
export function openOpenPgpVerifier(): OpenedOpenPgp {
  return {
    readCertificate: () => ({ ok: false, ...refusal('SignatureUnsupported', 'openpgp') }),
    verify: (questions) => questions.map(() => false),
    close: () => Promise.resolve(),
  };
}
