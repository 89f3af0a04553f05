import { expect, it } from 'vitest';

/**
 * How attacks are written down.
 *
 * ```ts
 * attack('SSHSIG namespace file', {
 *   rules: ['T4'],                       // what it tries to get around: literals, so that the list of attacks can be read from the source
 *   expects: 'NamespaceMismatch',        // the reason code it must meet
 *   attempt: () => signed({ namespace: 'file' }),
 *   twin: () => signed({ namespace: 'git' }),   // lacks the one defect, and is accepted
 * });
 * ```
 *
 * Called at the top level or in a `describe` of a `test/trust/*.test.ts`. The name is the line of TRUST "Attacks that must fail", or says in the same
 * style what is attempted. `attempt` and `twin` build it for real (git, ssh-keygen, gpg, raw objects) and return a {@link Verdict}:
 *
 * - bytes: `signatureVerdict(verifyCommit(…))`, `signatureVerdict(verifyDocumentSignature(…))`; `verdict(code)` for anything else with a code;
 * - pipeline: `Stage` in `attacks-fixture.ts` (one world for many attacks): `stage.verdict(environment, release)` after approvals,
 *   `stage.changeVerdict(document)` after a protected change;
 * - agent: `proofVerdict(proveOrder(…))`.
 *
 * A world costs about a second, a pass about a tenth of one: open one `Stage` per file and give each attack a release or a document of its own.
 * The attempt runs first; what it leaves behind must not help the twin. `npx vitest run test/docs.test.ts -u` writes a new attack into `docs/trust.md`
 * and `docs/attacks.md`.
 */
export type Rule =
  | 'T1' | 'T2' | 'T3' | 'T4' | 'T5' | 'T6' | 'T7' | 'T8' | 'T9' | 'T10' | 'T11' | 'T12' | 'T13' | 'T14' | 'T15' | 'T16'
  | 'T17' | 'T18' | 'T19' | 'T20' | 'T21' | 'T22' | 'T23' | 'T24' | 'T25' | 'T26' | 'T27' | 'T28' | 'T29' | 'T30' | 'T31' | 'T32';

/** What came of it. */
export type Verdict = {
  /** It counted: verified, came into force, was proven, or ran. */
  readonly accepted: boolean;
  /** Reason codes that were given, all of them. */
  readonly codes: readonly string[];
  /** What was executed because of it; must be empty for an attack. */
  readonly executed: readonly unknown[];
};

export type Attack = {
  readonly rules: readonly [Rule, ...Rule[]];
  /** A code that the attempt must be refused with. */
  readonly expects: string;
  readonly attempt: () => Verdict | Promise<Verdict>;
  readonly twin: () => Verdict | Promise<Verdict>;
};

/** Registers the test of an attack, and that of its twin. */
export function attack(name: string, { expects, attempt, twin }: Attack): void {
  it(name, async () => expectRefused(await attempt(), expects));
  it(`${name}: its twin is accepted`, async () => expectAccepted(await twin()));
}

export type Survivor = {
  readonly rules: readonly [Rule, ...Rule[]];
  /** The code that the forged one is refused with. */
  readonly expects: string;
  readonly genuine: () => Verdict | Promise<Verdict>;
  readonly forged: () => Verdict | Promise<Verdict>;
};

/** For the lines of the list that must stay valid ("rebase and squash with an embedded signature"): the genuine one holds, its forged twin does not. */
export function survives(name: string, { expects, genuine, forged }: Survivor): void {
  it(`${name}: it stays valid`, async () => expectAccepted(await genuine()));
  it(`${name}: its forged twin is refused`, async () => expectRefused(await forged(), expects));
}

function expectRefused({ accepted, codes, executed }: Verdict, code: string): void {
  expect({ accepted, codes, executed }).toEqual({ accepted: false, codes: expect.arrayContaining([code]) as unknown, executed: [] });
}

function expectAccepted({ accepted, codes }: Verdict): void {
  expect(accepted, `refused with ${codes.join(', ')}`).toBe(true);
}

/** @param code why it was refused; null when it was accepted @param executed what ran, where something could */
export function verdict(code: string | null, executed: readonly unknown[] = []): Verdict {
  return { accepted: code === null, codes: code === null ? [] : [code], executed };
}

/** Of the outcome of `verifyCommit` or `verifyDocumentSignature`. */
export function signatureVerdict(outcome: { readonly signed: true } | { readonly signed: false; readonly code: string }): Verdict {
  return verdict(outcome.signed ? null : outcome.code);
}

/** Of the outcome of `proveOrder`, of a verified receipt or record: anything with `ok` and a code. What is proven is what an agent would execute. */
export function proofVerdict(outcome: { readonly ok: true; readonly work?: unknown } | { readonly ok: false; readonly code: string }): Verdict {
  return outcome.ok ? verdict(null, [outcome.work]) : verdict(outcome.code);
}
