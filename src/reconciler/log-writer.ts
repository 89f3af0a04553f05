import type { OpenPgpVerifier } from '../core/commit/openpgp.ts';
import type { CommitId } from '../core/model/commit-id.ts';
import { rootOf, type LogState } from '../core/evidence/log-state.ts';
import type { EvidenceBranch } from '../ports/evidence-writer.ts';
import type { GitRemote, RemoteRefusal } from '../ports/git-remote.ts';
import type { Signers } from '../ports/signing.ts';
import type { ArtifactCache } from './artifact-cache.ts';
import { evidenceMessage } from './evidence-message.ts';
import { LogBatch } from './log-batch.ts';
import { commitSignerUnder } from './own-keys.ts';

export type LogWriterParts = {
  readonly remote: GitRemote;
  readonly branch: EvidenceBranch;
  readonly signers: Signers;
  readonly artifacts: ArtifactCache;
  readonly openPgp: OpenPgpVerifier;
  readonly author: { readonly name: string; readonly email: string };
  readonly engineVersion: string;
};
export type Published = { readonly ok: true; readonly commit: CommitId } | { readonly ok: false; readonly code: RemoteRefusal['code'] | 'ForeignEvidence'; readonly message: string };

/**
 * The one sequencer of an evidence branch. A batch becomes one signed commit and one compare-and-swap push; only when the
 * push has arrived does the log's state move on. A decision that is not pushed has not been taken.
 */
export class LogWriter {
  readonly #parts: LogWriterParts;
  #state: LogState;
  #tip: CommitId | null;
  /** A batch that was committed here and whose push got no clear answer. */
  #unsure: { readonly commit: CommitId; readonly batch: LogBatch } | null = null;

  constructor(parts: LogWriterParts, state: LogState, tip: CommitId | null) {
    this.#parts = parts;
    this.#state = state;
    this.#tip = tip;
  }

  get state(): LogState {
    return this.#state;
  }

  /** Tip of the evidence branch as far as it is pushed. */
  get tip(): CommitId | null {
    return this.#tip;
  }

  begin(context: { readonly commit: CommitId; readonly at: Date }): LogBatch {
    const { signers, artifacts, openPgp, engineVersion } = this.#parts;
    return new LogBatch(this.#state, signers, { artifact: artifacts.get, openPgp }, { commit: context.commit, asOf: context.at.toISOString(), engineVersion });
  }

  /** Commits and pushes the batch. When that is refused nothing has happened: begin a new batch on what is there then. */
  async publish(batch: LogBatch, at: Date): Promise<Published> {
    const { branch, signers, author, remote } = this.#parts;
    const appended = await branch.append({ parent: this.#tip, files: batch.files(), message: evidenceMessage(batch.records.map(({ record }) => record)), author, at, sign: commitSignerUnder(rootOf(this.#state), signers) });
    if (!appended.ok) return { ok: false, code: 'ForeignEvidence', message: `the local evidence branch is at ${appended.actual ?? 'nothing'}; another process writes it` };
    const pushed = await remote.push([{ ref: branch.ref, from: this.#tip, to: appended.commit }]);
    if (pushed.ok) {
      this.#confirm(appended.commit, batch);
      return { ok: true, commit: appended.commit };
    }
    this.#unsure = { commit: appended.commit, batch };
    return this.settle(pushed);
  }

  get isUnsure(): boolean {
    return this.#unsure !== null;
  }

  /**
   * After a push without a clear answer: asks the remote where its branch is. Ours arrived, or nothing did and the local
   * branch goes back; anything else was written by somebody else (T30).
   */
  async settle(refusal?: RemoteRefusal): Promise<Published> {
    const unsure = this.#unsure;
    if (unsure === null) throw new Error('nothing to settle');
    const { remote, branch } = this.#parts;
    const listed = await remote.listRefs(branch.ref);
    if (!listed.ok) return { ok: false, code: refusal?.code ?? listed.code, message: refusal?.message ?? listed.message };
    const there = listed.refs.find((r) => r.name === branch.ref)?.id ?? null;
    if (there === unsure.commit) {
      this.#confirm(unsure.commit, unsure.batch);
      return { ok: true, commit: unsure.commit };
    }
    if (there !== this.#tip) return { ok: false, code: 'ForeignEvidence', message: `the evidence branch is at ${there ?? 'nothing'}, which this server did not write` };
    await branch.moveTo(unsure.commit, this.#tip);
    this.#unsure = null;
    return { ok: false, code: refusal?.code ?? 'Unreachable', message: refusal?.message ?? 'the push did not arrive' };
  }

  #confirm(commit: CommitId, batch: LogBatch): void {
    this.#tip = commit;
    this.#state = batch.state;
    this.#unsure = null;
    for (const [digest, bytes] of batch.artifacts) this.#parts.artifacts.put(digest, bytes);
  }
}
