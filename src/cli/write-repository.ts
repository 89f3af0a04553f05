import { isMap, isScalar, parseDocument, stringify, type Document } from 'yaml';
import type { BlobId } from '../core/model/commit-id.ts';
import type { Digest } from '../core/model/digest.ts';
import type { AnyDocument } from '../core/model/documents.ts';
import { compareText } from '../core/model/names.ts';
import { formatDiagnostic } from '../core/desired/diagnostic.ts';
import { makeGenesis, type GenesisRules } from '../core/trust/genesis.ts';
import type { DocumentParser } from '../ports/document-parser.ts';
import { CliError } from './command.ts';

export type RepositoryPlan = {
  /** Text of every file by path, the root left out. */
  readonly files: Readonly<Record<string, string>>;
  /** OpenSSH public key lines that take the place of a principal's keys, by name. */
  readonly principals?: Readonly<Record<string, string>>;
  /** SPKI PEM that takes the place of an agent's identity key, by name. */
  readonly agents?: Readonly<Record<string, string>>;
  readonly rules: GenesisRules;
  /** 64 random hexadecimal digits. */
  readonly id: string;
  readonly parser: DocumentParser;
  /** Stands above the root as a comment. */
  readonly rootComment?: string;
};
export type WrittenRepository = { readonly files: ReadonlyMap<string, string>; readonly pin: Digest };

export const ROOT_PATH = 'trust/root.yaml';

/**
 * The files of a new repository and the pin of its log: given files with real keys in the place of examples, and the genesis
 * root over them. Comments stay.
 * @throws CliError `DeclarationsInvalid` when a file has a fault, so that no log begins on one
 */
export function writeRepository(plan: RepositoryPlan): WrittenRepository {
  const files = new Map<string, string>();
  const documents: AnyDocument[] = [];
  for (const [path, text] of Object.entries(plan.files).sort(([a], [b]) => compareText(a, b))) {
    const written = /\.ya?ml$/.test(path) ? withKeys(text, plan) : text;
    files.set(path, written);
    documents.push(...parseAll(plan.parser, path, written));
  }
  const { root, pin } = makeGenesis({ id: plan.id, rules: plan.rules, documents });
  const text = stringify(root, { lineWidth: 0, aliasDuplicateObjects: false });
  const comment = (plan.rootComment ?? '').split('\n').filter((line) => line !== '').map((line) => `# ${line}\n`).join('');
  files.set(ROOT_PATH, `${comment}${text}`);
  parseAll(plan.parser, ROOT_PATH, `${comment}${text}`);
  return { files, pin };
}

function parseAll(parser: DocumentParser, path: string, text: string): readonly AnyDocument[] {
  const { documents, problems } = parser.parseFile({ path, blob: '' as BlobId, bytes: new TextEncoder().encode(text) });
  const fault = problems.find((p) => p.severity === 'error');
  if (fault !== undefined) throw new CliError('DeclarationsInvalid', formatDiagnostic(fault));
  return documents.map((d) => d.document);
}

function withKeys(text: string, plan: RepositoryPlan): string {
  const document = parseDocument(text, { keepSourceTokens: true });
  const kind = document.get('kind');
  const name = String(document.getIn(['metadata', 'name']));
  const person = kind === 'Principal' ? plan.principals?.[name] : undefined;
  const agent = kind === 'Agent' ? plan.agents?.[name] : undefined;
  if (person !== undefined) document.setIn(['spec', 'keys'], document.createNode([{ key: person, status: 'active' }]));
  if (agent !== undefined) document.setIn(['spec', 'identityKey'], agent);
  return person === undefined && agent === undefined ? text : document.toString({ lineWidth: 0 });
}

/**
 * One document of YAML text with values changed and comments kept.
 * @param changes path of members and new value; undefined removes the member
 */
export function editYaml(text: string, changes: readonly { readonly path: readonly string[]; readonly value: unknown }[]): string {
  const document: Document = parseDocument(text, { keepSourceTokens: true });
  for (const { path, value } of changes) {
    if (value === undefined) document.deleteIn(path);
    else if (typeof value === 'object') document.setIn(path, document.createNode(value, { aliasDuplicateObjects: false }));
    else setScalar(document, path, value);
  }
  return document.toString({ lineWidth: 0 });
}

/** A comment behind a value belongs to the value's node, so the node stays. */
function setScalar(document: Document, path: readonly string[], value: unknown): void {
  const node = document.getIn(path, true);
  if (isScalar(node)) {
    node.value = value;
    delete node.source;
  } else {
    const parent = document.getIn(path.slice(0, -1), true);
    if (parent === undefined || !isMap(parent)) document.setIn(path.slice(0, -1), document.createNode({}));
    document.setIn(path, value);
  }
}
