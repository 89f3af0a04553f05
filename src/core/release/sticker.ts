import { canonicalBytes } from '../model/canonical-json.ts';
import type { Digest } from '../model/digest.ts';

/** The version sticker on a target, and the one that a fallback puts back. */
export const STICKER = 'stella.version.json';
export const PREVIOUS_STICKER = 'stella.version.previous.json';
/** The decision as a document for readers of the target's folder. */
export const EVIDENCE_FILE = 'release.evidence.json';

export type StickerContent = {
  readonly environment: string;
  readonly application: string;
  readonly release: string;
  readonly lock: Digest;
  readonly components: readonly { readonly name: string; readonly digest: Digest }[];
  readonly generation: number;
  readonly promotion: Digest;
  readonly decidedAt: string;
  readonly requesters: readonly string[];
  readonly approvers: readonly string[];
};

/** Canonical JSON and a final newline. Its time is `decidedAt`: it derives from the signed decision (DESIGN §8). */
export function renderSticker(content: StickerContent): Uint8Array {
  const json = canonicalBytes({ type: 'stella/version/v1', ...content });
  return new Uint8Array([...json, 0x0a]);
}
