import { join } from 'node:path';
import { isObjectId, type BlobId, type CommitId, type TreeId } from '../../core/model/commit-id.ts';
import { limits } from '../../core/model/limits.ts';
import { GitError } from '../../ports/git-reader.ts';
import type { AppendOutcome, EvidenceAppend, EvidenceBranch, EvidenceWriter } from '../../ports/evidence-writer.ts';
import { EvidenceTrees } from './evidence-tree.ts';
import { findGitFolder, gitCommand, type GitFolder, type GitSettings } from './git-folder.ts';
import { parseRefName } from './hardened-git.ts';
import { writeLooseObjects, type NewObject } from './loose-objects.ts';
import { ObjectStore, objectIdOf } from './object-store.ts';
import { writePack } from './pack-file.ts';
import { RefUpdater, type RefMove } from './ref-updater.ts';

/**
 * Opens a bare repository for evidence commits: own loose objects and one long-lived `git update-ref`.
 * @throws GitError `NotARepository`
 */
export async function openEvidenceWriter(path: string, settings: GitSettings): Promise<EvidenceWriter> {
  const folder = await findGitFolder(path, settings);
  const command = gitCommand(settings, [], { gitFolder: folder.gitFolder });
  const objects = new ObjectStore(folder.objectFormat, command);
  const refs = new RefUpdater(folder, objects, command);
  return {
    openBranch: (ref) => new NativeEvidenceBranch(parseRefName(ref), { folder, settings }, objects, refs),
    close: async () => void (await Promise.all([objects.close(), refs.close()])),
  };
}

/** From this many objects on an append becomes a pack: few packs, since every one makes every look-up dearer, but no fsync for each of thousands. */
const PACKED_OBJECTS = 500;

type Place = { readonly folder: GitFolder; readonly settings: GitSettings };

class NativeEvidenceBranch implements EvidenceBranch {
  readonly ref: string;
  readonly #place: Place;
  readonly #objects: ObjectStore;
  readonly #refs: RefUpdater;
  readonly #trees: EvidenceTrees;
  #last: Promise<unknown> = Promise.resolve();

  constructor(ref: string, place: Place, objects: ObjectStore, refs: RefUpdater) {
    this.ref = ref;
    this.#place = place;
    this.#objects = objects;
    this.#refs = refs;
    this.#trees = new EvidenceTrees(place.folder.objectFormat, objects);
  }

  append(request: EvidenceAppend): Promise<AppendOutcome> {
    return this.#inTurn(() => this.#append(request));
  }

  moveTo(from: CommitId | null, to: CommitId | null): Promise<RefMove> {
    if ((to !== null && !isObjectId(to)) || (from !== null && !isObjectId(from))) throw new GitError('InvalidName', 'A branch moves between commit ids.');
    return this.#inTurn(() => this.#refs.move(this.ref, from, to));
  }

  async #append(request: EvidenceAppend): Promise<AppendOutcome> {
    const { parent, files, deletes = [] } = request;
    // Looked at first so that a lost race writes nothing; decided by the compare-and-swap at the end.
    const actual = await this.#refs.read(this.ref);
    if (actual !== parent) return { ok: false, code: 'RefMoved', actual };
    const format = this.#place.folder.objectFormat;
    const blobs = files.map(({ bytes }) => ({ type: 'blob' as const, bytes }));
    const puts = files.map(({ path, bytes }) => ({ path, blob: objectIdOf(format, 'blob', bytes) as BlobId }));
    const { root, trees } = await this.#trees.change(parent === null ? null : await this.#treeOf(parent), puts, deletes);
    const bytes = await signedCommit(root, request, format === 'sha1' ? 'gpgsig' : 'gpgsig-sha256');
    // All in one go, so that the disk is waited for once: nothing leads to them before the branch moves.
    await this.#write([...blobs, ...trees, { type: 'commit', bytes }]);
    const commit = objectIdOf(format, 'commit', bytes) as CommitId;
    const moved = await this.#refs.move(this.ref, parent, commit);
    return moved.ok ? { ok: true, commit, tree: root } : moved;
  }

  async #write(objects: readonly NewObject[]): Promise<void> {
    const { folder, settings } = this.#place;
    const { commonFolder, objectFormat: format } = folder;
    const objectsFolder = join(commonFolder, 'objects');
    if (objects.length < PACKED_OBJECTS) return writeLooseObjects(objectsFolder, format, objects);
    await writePack({ objectsFolder, format, git: (args) => settings.commands.run(gitCommand(settings, args, { gitFolder: folder.gitFolder })) }, objects);
  }

  async #treeOf(commit: CommitId): Promise<TreeId> {
    const [header] = await this.#objects.describe([`${commit}^{tree}`]);
    if (header?.type !== 'tree') throw new GitError('ObjectMissing', `The repository has no commit ${commit}. Fetch it first.`);
    return header.id as TreeId;
  }

  /** One after another, whatever became of the one before. */
  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#last.then(work, work);
    this.#last = turn.catch(() => undefined);
    return turn;
  }
}

/** A raw commit with the signature as a folded header behind `committer` (T1, T2). */
async function signedCommit(tree: TreeId, request: EvidenceAppend, header: string): Promise<Uint8Array> {
  const { parent, author, at, message, sign } = request;
  const seconds = Math.floor(at.getTime() / 1000);
  const isBroken = /[<>\u0000-\u001f]/.test(author.name + author.email) || author.name.trim() === '' || !Number.isSafeInteger(seconds) || seconds < 0;
  if (isBroken || message.includes('\0') || message.trim() === '') throw new GitError('InvalidName', 'An evidence commit needs an author, a date and a message without control characters.');
  const person = `${author.name} <${author.email}> ${seconds} +0000`;
  const parents = parent === null ? '' : `parent ${parent}\n`;
  const head = `tree ${tree}\n${parents}author ${person}\ncommitter ${person}\n`;
  const body = `\n${message.endsWith('\n') ? message : `${message}\n`}`;
  const signature = (await sign(Buffer.from(head + body))).trimEnd();
  // T3: canonical armour only; anything else could close the header early.
  if (!/^-----BEGIN SSH SIGNATURE-----\n(?:[A-Za-z0-9+/=]+\n)+-----END SSH SIGNATURE-----$/.test(signature)) {
    throw new GitError('InvalidName', 'The signer returned no armoured SSH signature. Check the key of the evidence commits.');
  }
  const bytes = Buffer.from(`${head}${header} ${signature.replaceAll('\n', '\n ')}\n${body}`);
  if (bytes.length > limits.commitBytes) throw new GitError('LimitExceeded', `The evidence commit has ${bytes.length} bytes, above the limit of ${limits.commitBytes}.`);
  return bytes;
}
