import { openOpenPgpVerifier } from '../../src/adapters/openpgp/open-verifier.ts';

/** The real verifier, one for a test file. It starts its worker with the first question and does not keep the process alive. */
export const openPgp = openOpenPgpVerifier();
