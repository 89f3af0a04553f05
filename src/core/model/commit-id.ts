/** Name of a Git object: 40 (SHA-1 repository) or 64 (SHA-256 repository) lower-case hexadecimal digits. */
export type ObjectId = string & { readonly __objectId: true };

/** Name of a commit. */
export type CommitId = ObjectId & { readonly __kind: 'commit' };

/** Name of a blob: the bytes of one file. */
export type BlobId = ObjectId & { readonly __kind: 'blob' };

/** Name of a tree: the entries of one folder. */
export type TreeId = ObjectId & { readonly __kind: 'tree' };

const OBJECT_ID = /^(?:[0-9a-f]{40}|[0-9a-f]{64})$/;
const ZERO_ID = /^0+$/;

/** Whether `text` has the form of an object id. The id of all zeros, with which Git means "none", is not one. */
export function isObjectId(text: unknown): text is ObjectId {
  return typeof text === 'string' && OBJECT_ID.test(text) && !ZERO_ID.test(text);
}

/** Whether `text` has the form of a commit id; that it exists and is a commit only a repository can say. */
export function isCommitId(text: unknown): text is CommitId {
  return isObjectId(text);
}

/** Whether `text` has the form of a blob id. */
export function isBlobId(text: unknown): text is BlobId {
  return isObjectId(text);
}

/** @throws RangeError when `text` is not 40 or 64 lower-case hexadecimal digits, or is all zeros. */
export function parseObjectId(text: string): ObjectId {
  if (!isObjectId(text)) throw new RangeError(`not a Git object id: ${JSON.stringify(text.slice(0, 100))}`);
  return text;
}

/** @throws RangeError when `text` is not 40 or 64 lower-case hexadecimal digits, or is all zeros. */
export function parseCommitId(text: string): CommitId {
  return parseObjectId(text) as CommitId;
}

/** @throws RangeError when `text` is not 40 or 64 lower-case hexadecimal digits, or is all zeros. */
export function parseBlobId(text: string): BlobId {
  return parseObjectId(text) as BlobId;
}
