import { canonicalBytes, canonicalText, type JsonObject } from '../core/model/canonical-json.ts';
import type { BlobId } from '../core/model/commit-id.ts';
import type { Digest } from '../core/model/digest.ts';
import { documentKey, type BreakGlass, type DocumentOf } from '../core/model/documents.ts';
import { splitPair } from '../core/model/names.ts';
import { intentDigest, intentPreimage, releaseSpecDigest } from '../core/model/preimages.ts';
import { findDocument, type DesiredState } from '../core/desired/desired-state.ts';
import { formatDiagnostic } from '../core/desired/diagnostic.ts';
import { appStateOf } from '../core/evidence/log-state.ts';
import { keyRingIn } from '../core/trust/key-ring.ts';
import { findRequesters } from '../core/trust/requesters.ts';
import type { DocumentParser } from '../ports/document-parser.ts';
import { signerOf } from './approval-document.ts';
import type { CloneParts, Evidence, PersonalKey, Repository } from './clone.ts';
import { CliError, type CommandContext } from './command.ts';

/** `version` is null for a removal, and for an adoption or a retry, which ask for what is asked already. */
export type Wanted = { readonly mode: 'promote' | 'absent' | 'adopt' | 'retry'; readonly environment: string; readonly application: string; readonly version: string | null; readonly breakGlass?: BreakGlass };

/** Declarations that a request is written into. */
export type Ground = { readonly desired: DesiredState; readonly readText: (path: string) => Promise<string | null>; /** `main`, `the working tree`. */ readonly name: string };

/** Who asks, and by which log. `evidence` is null before there is one; without it nobody can tell who signs. */
export type RequestDesk = {
  readonly context: CommandContext; readonly clone: CloneParts; readonly repository: Repository; readonly pin: Digest; readonly key: PersonalKey;
  readonly evidence: Evidence | null; readonly principal: string | null;
};

/** @throws CliError with what is wrong with pin, key or evidence */
export async function openRequestDesk(context: CommandContext, clone: CloneParts, repository: Repository): Promise<RequestDesk> {
  const pin = await clone.pinOf(context, repository);
  const key = await clone.personalKey(context, repository);
  const opened = await clone.openEvidence(context, repository, pin);
  if (!opened.ok && opened.code !== 'LogMissing') throw new CliError(opened.code, `The evidence cannot be relied on: ${opened.message}.`, 'Run `stella verify`.');
  const evidence = opened.ok ? opened.evidence : null;
  return { context, clone, repository, pin, key, evidence, principal: evidence === null ? null : signerOf(evidence, key, context.now()).metadata.name };
}

export type Request = {
  /** With the release that is asked for, null for a removal. */
  readonly asked: Wanted;
  readonly attempt: number;
  readonly file: string;
  /** The Promotion with the intent signature. */
  readonly text: string;
  /** The ground says the same already, and somebody signed it. */
  readonly isThere: boolean;
};

/** Writes and signs one request; nothing is stored. @throws CliError */
export async function signRequest(desk: RequestDesk, ground: Ground, wanted: Wanted): Promise<Request> {
  const { repository: { parser }, key, pin } = desk;
  const file = fileOf(ground.desired, wanted);
  const before = await ground.readText(file);
  const unsigned = wanted.mode === 'adopt' ? await adoptedText(desk, ground, { file, before }, wanted) : await unspentText(desk, ground, file, await requestText(parser, { file, before }, wanted), before);
  const promotion = parsePromotion(parser, file, unsigned);
  const preimage = canonicalBytes(intentPreimage({ logId: pin, promotion, releaseSpec: releaseSpecFor(ground, promotion) }));
  const { editYaml } = await import('./write-repository.ts');
  const signatures = [...(promotion.signatures ?? []), { format: key.format, signature: await key.sign(preimage, 'stella-intent') }];
  const text = editYaml(unsigned, [{ path: ['signatures'], value: signatures }]);
  const asked = { ...wanted, version: promotion.spec.state === 'absent' ? null : (promotion.spec.release ?? null) };
  return { asked, attempt: promotion.spec.attempt ?? 1, file, text, isThere: wanted.mode !== 'adopt' && before !== null && asksTheSame(parser, { path: file, text }, before) };
}

/** Whether two texts of one Promotion ask for the same, and the second is signed by somebody. */
export function asksTheSame(parser: DocumentParser, file: { readonly path: string; readonly text: string }, there: string): boolean {
  const [mine, theirs] = [parsePromotion(parser, file.path, file.text), tryParse(parser, file.path, there)];
  const spec = (promotion: DocumentOf<'Promotion'>): string => canonicalText(promotion.spec as unknown as JsonObject);
  return theirs !== null && theirs.metadata.name === mine.metadata.name && spec(theirs) === spec(mine) && (theirs.signatures ?? []).length > 0;
}

function tryParse(parser: DocumentParser, file: string, text: string): DocumentOf<'Promotion'> | null {
  try {
    return parsePromotion(parser, file, text);
  } catch (error) {
    if (error instanceof CliError) return null;
    throw error;
  }
}

/** The document as everybody else will read it: by the one parser. @throws CliError `PromotionUnusable`, `SeveralDocuments` */
function parsePromotion(parser: DocumentParser, file: string, text: string): DocumentOf<'Promotion'> {
  const { documents, problems } = parser.parseFile({ path: file, blob: '' as BlobId, bytes: new TextEncoder().encode(text) });
  const [only, second] = documents;
  if (problems[0] !== undefined) throw new CliError('PromotionUnusable', formatDiagnostic(problems[0]));
  if (second !== undefined) throw new CliError('SeveralDocuments', `${file} holds several documents.`, 'Give the Promotion a file of its own, or edit it by hand.');
  if (only?.document.kind !== 'Promotion') throw new CliError('PromotionUnusable', `${file} holds no Promotion.`);
  return only.document;
}

/** What the intent says of the release; null for a removal. @throws CliError `ReleaseMissing` */
function releaseSpecFor({ desired, name: where }: Ground, { metadata, spec }: DocumentOf<'Promotion'>): Digest | null {
  if (spec.state === 'absent') return null;
  const name = `${splitPair(metadata.name)[1]}/${spec.release ?? ''}`;
  const entry = desired.usable.Release.get(documentKey('Release', name));
  if (entry !== undefined) return releaseSpecDigest(entry.document as unknown as DocumentOf<'Release'>);
  const write = `Write it with: stella release create ${name}; or see \`stella lint\`.`;
  throw new CliError('ReleaseMissing', `There is no usable Release ${name} in ${where}.`, where === WORKTREE ? write : `Merge it first. Where it is on your own branch, ask on that one: stella promote … --here. ${write}`);
}

export const WORKTREE = 'the working tree';

type Here = { readonly file: string; readonly before: string | null };

/**
 * T20: the request as it stands, to be signed by somebody who answers for it. A spent intent brings nobody back, so what ended before is asked
 * for once more.
 * @throws CliError `NothingToAdopt`
 */
async function adoptedText({ repository: { parser }, evidence, pin }: RequestDesk, ground: Ground, { file, before: there }: Here, { environment, application }: Wanted): Promise<string> {
  if (there === null || evidence === null) {
    throw new CliError('NothingToAdopt', there === null ? `There is no request for ${environment}/${application} in ${ground.name}.` : 'Without the evidence nobody can tell whether the author is known.', there === null ? 'Ask for it yourself: stella promote' : 'Fetch: git fetch origin', { exitCode: 1 });
  }
  const promotion = parsePromotion(parser, file, there);
  const releaseSpec = releaseSpecFor(ground, promotion);
  const { spentIntents } = appStateOf(evidence.state, environment, application);
  const requesters = findRequesters({ logId: pin, promotion, releaseSpec, spentIntents, commits: [], actingFor: null, ring: keyRingIn(evidence.state, evidence.openPgp), lockUnchanged: false, observedAt: Date.parse(evidence.state.asOf ?? '') });
  if (requesters.intents.length > 0) throw new CliError('NothingToAdopt', `${requesters.people.join(', ')} signed this request, so its author is known.`, null, { exitCode: 1 });
  const { editYaml } = await import('./write-repository.ts');
  const isSpent = spentIntents.includes(intentDigest({ logId: pin, promotion, releaseSpec }));
  return isSpent ? editYaml(there, [{ path: ['spec', 'attempt'], value: (promotion.spec.attempt ?? 1) + 1 }, { path: ['signatures'], value: undefined }]) : there;
}

/**
 * T19: a spent intent brings nobody back. What was asked for before, with something else in between, is asked for as another attempt: the way back
 * after a squash would have no author otherwise. So is what failed here without anybody having written it down (T22).
 */
async function unspentText({ repository: { parser }, evidence, pin }: RequestDesk, ground: Ground, file: string, text: string, before: string | null): Promise<string> {
  if (evidence === null || (before !== null && asksTheSame(parser, { path: file, text }, before))) return text;
  const promotion = parsePromotion(parser, file, text);
  const [environment, application] = splitPair(promotion.metadata.name);
  const { spentIntents, closed } = appStateOf(evidence.state, environment, application);
  const releaseSpec = releaseSpecFor(ground, promotion);
  const first = promotion.spec.attempt;
  const lock = evidence.state.locks.get(`${application}/${promotion.spec.release ?? ''}`)?.digest;
  let attempt = closed?.operation === 'promote' && closed.lock === lock && (first ?? 1) <= closed.attempt ? closed.attempt + 1 : first;
  while (spentIntents.includes(intentDigest({ logId: pin, promotion: attempt === undefined ? promotion : { ...promotion, spec: { ...promotion.spec, attempt } }, releaseSpec }))) attempt = (attempt ?? 1) + 1;
  const { editYaml } = await import('./write-repository.ts');
  return attempt === first ? text : editYaml(text, [{ path: ['spec', 'attempt'], value: attempt }]);
}

/** Where the Promotion stands, or where it goes by convention. */
function fileOf(desired: DesiredState, { environment, application }: Wanted): string {
  const name = `${environment}/${application}`;
  const found = findDocument(desired, 'Promotion', name);
  if (found.status === 'absent') return `promotions/${name}.yaml`;
  if (found.status === 'unusable') throw new CliError('PromotionUnusable', `The Promotion ${name} in ${found.claims[0]?.file ?? '?'} cannot be used.`, 'See `stella lint`, and correct it first.');
  return found.entry.file;
}

async function requestText(parser: DocumentParser, { file, before: there }: Here, { mode, environment, application, version, breakGlass }: Wanted): Promise<string> {
  const { editYaml } = await import('./write-repository.ts');
  const before = there === null ? null : parsePromotion(parser, file, there);
  if (mode === 'retry') {
    if (there === null || before === null) throw new CliError('NoPromotion', `There is no Promotion ${environment}/${application} to try again.`, `Ask for one with: stella promote ${application}/<version> --to ${environment}`, { exitCode: 1 });
    if (version !== null && before.spec.release !== version) throw new CliError('OtherRelease', `${environment}/${application} does not ask for ${version}, but for ${before.spec.release ?? 'its removal'}.`, `Ask for it: stella promote ${application}/${version} --to ${environment}`, { exitCode: 1 });
    // A new attempt breaks no glass by itself (T27): whoever needs that asks for it again.
    return editYaml(there, [{ path: ['spec', 'attempt'], value: (before.spec.attempt ?? 1) + 1 }, { path: ['spec', 'breakGlass'], value: undefined }, { path: ['signatures'], value: undefined }]);
  }
  const spec = version === null ? { release: undefined, state: 'absent' } : { release: version, state: undefined };
  const edits = [{ path: ['spec', 'release'], value: spec.release }, { path: ['spec', 'state'], value: spec.state }, { path: ['spec', 'breakGlass'], value: breakGlass }];
  if (there === null || before === null) {
    const frame = `apiVersion: stella/v1alpha1\nkind: Promotion\nmetadata:\n  name: ${environment}/${application}\nspec:\n  release: x\n`;
    return editYaml(frame, edits);
  }
  const isSame = version === null ? before.spec.state === 'absent' : before.spec.release === version && before.spec.state !== 'absent';
  return editYaml(there, [...edits, { path: ['spec', 'attempt'], value: isSame ? before.spec.attempt : undefined }, { path: ['signatures'], value: undefined }]);
}
