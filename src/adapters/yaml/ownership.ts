import { KINDS } from '../../core/model/documents.ts';

/**
 * Which YAML is ours. A repository holds other YAML as well (Compose files, CI, manifests of other systems), and that is
 * not to be complained about; but a document of ours that is passed over in silence would be an open door (T12): an
 * ignored freeze freezes nothing. So: whoever names one of our kinds or our version means us, right or wrong; only a
 * version of another system, which has a domain in front (`argoproj.io/v1alpha1`), takes a kind out.
 */
export type Ownership = 'ours' | 'foreign';

const OUR_KINDS: ReadonlySet<string> = new Set(KINDS.map((kind) => kind.toLowerCase()));
const FOREIGN_VERSION = /^(?!stella)[a-z0-9-]+(?:\.[a-z0-9-]+)+\//;

/** @param members top-level members of a parsed document whose values are text */
export function ownershipOf(members: Iterable<readonly [string, string]>): Ownership {
  let kind = '';
  let version = '';
  for (const [name, value] of members) {
    const plain = plainForm(name);
    if (plain === 'kind') kind = plainForm(value);
    if (plain === 'apiversion') version = plainForm(value);
  }
  if (version.startsWith('stella')) return 'ours';
  return OUR_KINDS.has(kind) && !FOREIGN_VERSION.test(version) ? 'ours' : 'foreign';
}

/** Without case, white space and compatibility forms, so that a slip of the pen does not make a document foreign. */
function plainForm(text: string): string {
  return text.normalize('NFKC').toLowerCase().replace(/\s+/g, '');
}

const kindWords = KINDS.join('|');
// Every repetition is bounded: these run over files that were made to be expensive.
const OUR_VERSION_TEXT = /apiversion["']?\s{0,8}:?\s{0,8}["']?\s{0,8}stella|stella\/v\d/i;
const OUR_KIND_TEXT = new RegExp(`(?:^|[\\s{,"'])kind["']?\\s{0,8}:?\\s{0,8}["']?(?:${kindWords})\\b`, 'im');
const FOREIGN_VERSION_TEXT = /apiversion["']?\s{0,8}:\s{0,8}["']?(?!stella)[a-z0-9-]+(?:\.[a-z0-9-]+)+\//i;

/** Judges text that cannot be parsed. */
export function ownershipOfText(text: string): Ownership {
  if (OUR_VERSION_TEXT.test(text)) return 'ours';
  return OUR_KIND_TEXT.test(text) && !FOREIGN_VERSION_TEXT.test(text) ? 'ours' : 'foreign';
}

const COULD_BE_OURS = new RegExp(`stella|${kindWords}|\\\\|[^\\x00-\\x7f]`, 'i');

/** False only for text that cannot hold a document of ours however it is spelled, so that nobody needs to parse it. */
export function couldBeOurs(text: string): boolean {
  return COULD_BE_OURS.test(text);
}
