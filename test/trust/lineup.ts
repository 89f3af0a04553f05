import { objectIdOf } from '../../src/core/commit/commit-object.ts';
import { verifyDocumentSignature } from '../../src/core/commit/document-signature.ts';
import { documentDigest, documentPreimage, type AnyDocument, type DocumentOf } from '../../src/core/model/documents.ts';
import { changeDigest } from '../../src/core/model/preimages.ts';
import { verifyCommit } from '../../src/core/commit/verify-commit.ts';
import { keyRingIn } from '../../src/core/trust/key-ring.ts';
import { openPgp } from '../fakes/openpgp.ts';
import { doc, pathOf, yamlOf } from '../fakes/world.ts';
import { signatureVerdict, type Verdict } from './attack.ts';
import type { Stage } from './attacks-fixture.ts';

const PERSON = 'Ada Example <ada@example.test> 1767225600 +0000';

/** Makes a raw commit of these headers (tree, parents, author, committer) and this message, signed or as if. */
export type MakeCommit = (headers: readonly string[], message: string) => Uint8Array;
/** Makes an armoured signature over the preimage of an approval, or what goes for one. */
export type MakeSignature = (preimage: Uint8Array) => string;
type Entry<M> = { readonly attempt: M; readonly twin: M };
type Staged = { readonly attempt: () => Promise<Verdict>; readonly twin: () => Promise<Verdict> };
type Round = ReadonlyMap<string, Verdict>;

/**
 * Tries many forged signatures on one world at the price of two rounds. Each entry wants a Workflow of its own in force, which takes one admin. In the first round
 * every document lies on the target branch with the attempt's signature, in the second with the twin's. Whether the signature verifies is asked of the
 * raw bytes, whether it counts of the log.
 */
abstract class Lineup<M> {
  readonly entries = new Map<string, Entry<M>>();
  readonly #stage: () => Stage;
  #played: Promise<{ readonly attempt: Round; readonly twin: Round }> | null = null;

  constructor(stage: () => Stage) {
    this.#stage = stage;
  }

  /** To be spread into an `attack`. */
  enter(entry: Entry<M>): Staged {
    const name = `${this.prefix}-${this.entries.size}`;
    this.entries.set(name, entry);
    const play = async (round: 'attempt' | 'twin'): Promise<Verdict> => (await (this.#played ??= this.#play()))[round].get(name) ?? { accepted: false, codes: [], executed: [] };
    return { attempt: () => play('attempt'), twin: () => play('twin') };
  }

  async #play(): Promise<{ attempt: Round; twin: Round }> {
    const stage = this.#stage();
    const attempt = await this.#round(stage, (entry) => entry.attempt);
    await stage.world.commit([], { deletes: [...this.entries.keys()].map((name) => pathOf(wanted(name))) });
    await stage.settle();
    return { attempt, twin: await this.#round(stage, (entry) => entry.twin) };
  }

  async #round(stage: Stage, pick: (entry: Entry<M>) => M): Promise<Round> {
    const codes = await this.present(stage, [...this.entries].map(([name, entry]) => [name, pick(entry)]));
    await stage.settle();
    const verdicts = new Map<string, Verdict>();
    for (const [name, found] of codes) {
      const { accepted, codes: reasons } = await stage.changeVerdict(wanted(name));
      verdicts.set(name, { accepted, codes: accepted ? [] : [...found, ...reasons], executed: stage.world.executor.executed });
    }
    return verdicts;
  }

  protected abstract readonly prefix: string;
  /** Puts all of them on the target branch. @returns what the raw bytes say about each signature */
  protected abstract present(stage: Stage, makers: readonly (readonly [string, M])[]): Promise<ReadonlyMap<string, readonly string[]>>;
}

const wanted = (name: string): AnyDocument => doc('Workflow', name, { steps: [{ name: 'deploy', type: 'deploy' }] }) as unknown as AnyDocument;

/** Commits with the trailer that makes them their signer's approval, one after the other. */
export class CommitLineup extends Lineup<MakeCommit> {
  protected readonly prefix = 'commit';

  protected async present(stage: Stage, makers: readonly (readonly [string, MakeCommit])[]): Promise<ReadonlyMap<string, readonly string[]>> {
    const { repository, pin } = stage.world;
    const codes = new Map<string, readonly string[]>();
    for (const [name, make] of makers) {
      const tip = (await repository.tip('main')) ?? '';
      const document = wanted(name);
      const draft = await repository.commit({ branch: 'draft', parents: [tip as never], files: { [pathOf(document)]: yamlOf(document) } });
      const tree = await repository.git(['rev-parse', `${draft}^{tree}`]);
      const message = `Add ${name}\n\nStella-Change: ${changeDigest(pin, await stage.change('Workflow', name, document))}\n`;
      const raw = make([`tree ${tree}`, `parent ${tip}`, `author ${PERSON}`, `committer ${PERSON}`], message);
      await repository.git(['hash-object', '-t', 'commit', '-w', '--stdin', '--literally'], raw);
      await repository.git(['update-ref', 'refs/heads/main', objectIdOf(raw, 'sha1')]);
      codes.set(name, signatureVerdict(verifyCommit(raw, 'sha1', objectIdOf(raw, 'sha1'), keyRingIn(await stage.world.state(), openPgp))).codes);
    }
    return codes;
  }
}

/** Approval documents with an embedded signature, all in one unsigned commit. */
export class ApprovalLineup extends Lineup<MakeSignature> {
  protected readonly prefix = 'approval';

  protected async present(stage: Stage, makers: readonly (readonly [string, MakeSignature])[]): Promise<ReadonlyMap<string, readonly string[]>> {
    const codes = new Map<string, readonly string[]>();
    const documents: AnyDocument[] = [];
    for (const [name, make] of makers) {
      const document = wanted(name);
      const changes = await stage.change('Workflow', name, document);
      const nonce = documentDigest(document).slice(-32);
      const approval: DocumentOf<'Approval'> = doc('Approval', `for-${name}`, { type: 'change', action: 'approve', digest: changeDigest(stage.world.pin, changes), changes, nonce });
      const preimage = documentPreimage(approval);
      const signature = make(preimage);
      codes.set(name, signatureVerdict(verifyDocumentSignature({ preimage, armoured: signature, namespace: 'stella-approval', keys: keyRingIn(await stage.world.state(), openPgp) })).codes);
      documents.push(document, { ...approval, signatures: [{ format: signature.includes('BEGIN PGP') ? 'openpgp' : 'sshsig', signature }] });
    }
    await stage.world.commit(documents, {});
    return codes;
  }
}
