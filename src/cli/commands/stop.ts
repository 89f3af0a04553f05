import { resolve } from 'node:path';
import type { BlobId } from '../../core/model/commit-id.ts';
import { canonicalText, type JsonObject } from '../../core/model/canonical-json.ts';
import { documentDigest, type AnyDocument, type DocumentOf, type FreezeSpec } from '../../core/model/documents.ts';
import { changeDigest } from '../../core/model/preimages.ts';
import { formatDiagnostic } from '../../core/desired/diagnostic.ts';
import { findDocument, type DesiredState } from '../../core/desired/desired-state.ts';
import { inForceOf } from '../../core/evidence/log-state.ts';
import { changeTo } from '../../core/trust/apply-change.ts';
import { isStop, stopFault, type Sides } from '../../core/trust/stop.ts';
import { isUnreachable, newErrors } from '../../reconciler/policy-errors.ts';
import { signedApproval, signerOf } from '../approval-document.ts';
import { EVIDENCE_OPTIONS, KEY_OPTION, REF_OPTION, type CloneParts, type Evidence, type Repository } from '../clone.ts';
import { CliError, flagOption, OUTPUT_OPTION, textOption, textOptions, usageError, type Command, type CommandContext, type ExitCode } from '../command.ts';
import { publishStop, remoteFor } from '../publish-approval.ts';
import { requireEvidence } from '../require-evidence.ts';
import { stopDocument, windowOf, type StopRequest } from '../stop-documents.ts';
import { stopsInForce, stopText, type StopView } from '../stop-view.ts';
import { plain } from '../../core/model/plain-text.ts';
import { textDifference } from '../text-difference.ts';

export const command: Command<CloneParts> = {
  name: 'stop',
  summary: 'Stop at once, with one signature',
  usage: [
    'stella stop freeze <name> --reason TEXT [--environment NAME] [--application NAME]',
    'stella stop freeze <name> --reason TEXT --from TIME --until TIME --time-zone ZONE',
    'stella stop freeze --document FILE',
    'stella stop revoke <principal> [--fingerprint FINGERPRINT] [--retired]',
    'stella stop suspend Principal/<name>|Agent/<name>|Release/<application>/<version> --reason TEXT',
    'stella stop list',
  ],
  help: `
Stopping takes one signature and no merge: of somebody with the role \`stop\` for all that is stopped (the trust root may
name other roles), or of the owner for a key of their own. The stop goes to a branch of its own on origin. It is in
force as soon as the server sees it, whatever lies on the target branch, and an open run falls before its next task.

freeze   nothing new is allowed there: until it is lifted, or with --from and --until by the clock of a time zone.
         Without --environment and --application: everywhere. Weekly windows, exceptions and who may let a promotion
         through (\`except\`) stand in a Freeze document: --document takes the file.
revoke   a key was stolen (compromised: approvals that are not used up are void) or, with --retired, is no longer used.
suspend  a person counts for nothing, an agent gets no orders, a release is refused.
list     what is stopped, why, and how it is lifted.

A stop never gives anybody anything, so nobody can reject it. Lifting it is an ordinary change: the quorum of the kind
approves, and for a person, a key or an agent somebody other than the one affected. Until the target branch holds the
stop too, \`stella approve --pending --only Freeze/<name>\` approves that it ends. To keep it, commit what is printed.

Example:
  stella stop freeze stock-taking --environment prod --reason "counting until noon"
  stella stop freeze holidays --environment prod --reason "nobody is in" --from 2031-12-20T00:00 --until 2032-01-03T00:00 --time-zone Europe/Berlin
  stella stop revoke alice --fingerprint SHA256:…
  stella stop suspend Release/shop/1.4.0 --reason "loses orders"
  stella stop list

Exit codes: 0 signed and pushed, or listed; 1 it is stopped already, or you said no; 2 error.`,
  options: {
    reason: { type: 'string', value: 'TEXT', description: 'Why; everybody reads it' },
    environment: { type: 'string', multiple: true, value: 'NAME', description: 'Freeze only this environment; may be given again' },
    application: { type: 'string', multiple: true, value: 'NAME', description: 'Freeze only this application; may be given again' },
    from: { type: 'string', value: 'TIME', description: 'It begins: 2031-12-20T00:00 on a clock of --time-zone' },
    until: { type: 'string', value: 'TIME', description: 'It ends' },
    'time-zone': { type: 'string', value: 'ZONE', description: 'Europe/Berlin, UTC, +02:00' },
    document: { type: 'string', value: 'FILE', description: 'A Freeze document instead of the options' },
    fingerprint: { type: 'string', value: 'FINGERPRINT', description: 'The key: SHA256:… or openpgp:…' },
    retired: { type: 'boolean', description: 'The key is no longer used, and was not stolen' },
    comment: { type: 'string', value: 'TEXT', description: 'A word with the signature' },
    yes: { type: 'boolean', short: 'y', description: 'Do not ask' },
    remote: { type: 'string', value: 'NAME', description: 'Remote to push to (default: origin)' },
    'no-push': { type: 'boolean', description: 'Leave the stop on a local branch' },
    ...KEY_OPTION, ...REF_OPTION, ...EVIDENCE_OPTIONS, ...OUTPUT_OPTION,
  },
  run,
};

type Desk = { readonly context: CommandContext; readonly clone: CloneParts; readonly repository: Repository };

async function run(context: CommandContext, parts: () => Promise<CloneParts>): Promise<ExitCode> {
  const [verb, ...rest] = context.positionals;
  const isList = verb === 'list' && rest.length === 0;
  const known = isList || (verb === 'freeze' && rest.length === (textOption(context.values, 'document') === undefined ? 1 : 0)) || ((verb === 'revoke' || verb === 'suspend') && rest.length === 1);
  if (!known) throw usageError(verb === undefined ? 'stop needs to know what: freeze, revoke, suspend or list.' : `stop ${[verb, ...rest].join(' ')} is nothing that it does.`, command);
  const clone = await parts();
  const repository = await clone.openRepository(context);
  try {
    const desk = { context, clone, repository };
    const evidence = await requireEvidence(context, clone, repository);
    return isList ? await list(desk, evidence) : await stop(desk, evidence, await documentFor(desk, evidence, verb ?? '', rest[0] ?? ''));
  } finally {
    await repository.close();
  }
}

function reasonOf({ values }: CommandContext): string {
  const reason = textOption(values, 'reason');
  if (reason === undefined) throw usageError('Say why: --reason "…"', command);
  return reason;
}

async function documentFor(desk: Desk, { state }: Evidence, verb: string, name: string): Promise<AnyDocument> {
  const { context } = desk;
  const file = textOption(context.values, 'document');
  if (file !== undefined) return freezeFrom(desk, file);
  return stopDocument(state, requestFor(context, verb, name), context.now());
}

function requestFor(context: CommandContext, verb: string, name: string): StopRequest {
  const { values } = context;
  if (verb === 'revoke') return { verb, principal: name, key: textOption(values, 'fingerprint'), status: flagOption(values, 'retired') ? 'retired' : 'compromised' };
  if (verb === 'suspend') return { verb, what: name, reason: reasonOf(context) };
  const [environments, applications] = [textOptions(values, 'environment'), textOptions(values, 'application')];
  const window = windowOf({ from: textOption(values, 'from'), until: textOption(values, 'until'), timeZone: textOption(values, 'time-zone') });
  const spec: FreezeSpec = {
    reason: reasonOf(context), ...(environments.length === 0 ? {} : { environments }), ...(applications.length === 0 ? {} : { applications }), ...(window === null ? {} : { calendar: { windows: [window] } }),
  };
  return { verb: 'freeze', name, spec };
}

async function freezeFrom({ context, clone, repository }: Desk, file: string): Promise<DocumentOf<'Freeze'>> {
  const text = await clone.readText(resolve(context.cwd, file));
  if (text === null) throw new CliError('DocumentMissing', `There is no file ${file}.`, 'Name a YAML file with one Freeze.');
  return freezeIn(repository, file, text);
}

/** What the server would read. @throws CliError `DocumentInvalid` */
function freezeIn({ parser }: Repository, file: string, text: string): DocumentOf<'Freeze'> {
  const { documents, problems } = parser.parseFile({ path: file, blob: '0'.repeat(40) as BlobId, bytes: new TextEncoder().encode(text) });
  const [problem] = problems;
  if (problem !== undefined) throw new CliError('DocumentInvalid', formatDiagnostic(problem));
  const [first, ...more] = documents.map(({ document }) => document as unknown as AnyDocument);
  if (first?.kind !== 'Freeze' || more.length > 0) throw new CliError('DocumentInvalid', `${file} does not hold exactly one Freeze.`);
  return first;
}

async function stop(desk: Desk, evidence: Evidence, document: AnyDocument): Promise<ExitCode> {
  const { context, clone, repository } = desk;
  const { terminal, values } = context;
  const key = await clone.personalKey(context, repository);
  const signer = signerOf(evidence, key, context.now());
  const principal = signer.metadata.name;
  const { stringify } = await import('yaml');
  const text = stringify(document, { lineWidth: 0, aliasDuplicateObjects: false });
  if (document.kind === 'Freeze') freezeIn(repository, `Freeze/${document.metadata.name}`, text);
  const sides: Sides = { before: inForceOf(evidence.state, document.kind, document.metadata.name) as AnyDocument | null, after: document };
  demandStop(evidence, sides, signer);
  // Before anything is signed: a signature that nobody gets is worse than none.
  const remote = flagOption(values, 'no-push') ? null : await remoteFor(repository, textOption(values, 'remote'));
  const shown = [`Stops at once: ${document.kind}/${document.metadata.name}. In force → new:`, ...textDifference(specText(sides.before), specText(document)).map((line) => `  ${line}`)];
  if (terminal.form === 'table' || terminal.isInteractive) terminal.note(shown.map(plain).join('\n'));
  if (!(await isAgreed(context, principal))) return 1;
  const changes = [changeTo(evidence.state, document.kind, document.metadata.name, documentDigest(document))];
  const digest = changeDigest(evidence.state.logId, changes);
  const comment = textOption(values, 'comment');
  const approval = await signedApproval(evidence, principal, { type: 'change', digest, action: 'approve', changes, nonce: clone.randomHex(16), ...(comment === undefined ? {} : { comment }) }, key);
  const approvalText = stringify(approval, { lineWidth: 0, aliasDuplicateObjects: false });
  const published = await terminal.during('Pushing', publishStop(repository, { document: approval, text: approvalText, principal, remote, stop: { name: `${document.kind.toLowerCase()}.yaml`, text } }));
  const model = { kind: document.kind, name: document.metadata.name, digest, principal, fingerprint: key.fingerprint, document, ...published };
  const where = published.remote === null ? `on the local branch ${published.branch}; push it` : `pushed to ${published.remote} ${published.branch}`;
  await terminal.result(model, () => `${terminal.paint('green', 'Stopped')} by ${principal}: ${where}\nIn force once the server sees it. To keep it on the target branch too, commit:\n\n${text.split('\n').map(plain).join('\n')}`);
  return 0;
}

/** What the server would say to it, before anything is signed. @throws CliError */
function demandStop({ state }: Evidence, sides: Sides, signer: DocumentOf<'Principal'>): void {
  const { after, before } = sides;
  if (after === null || (before !== null && canonicalText(before.spec as unknown as JsonObject) === canonicalText(after.spec as unknown as JsonObject))) {
    throw new CliError('AlreadyStopped', 'This is in force already.', 'See: stella stop list', { exitCode: 1 });
  }
  if (!isStop(sides)) throw new CliError('NotAStop', `${after.kind}/${after.metadata.name} is in force, and this would not only stop more.`, 'Choose another name, or change the document on the target branch and have its quorum approve it.');
  const fault = stopFault(state, [sides], [signer]);
  if (fault !== null) throw new CliError('StopNotEntitled', `${fault}.`, `${signer.metadata.name} may ask somebody who holds it, or propose the document on the target branch.`);
  const error = newErrors(state, [changeTo(state, after.kind, after.metadata.name, documentDigest(after))], () => after).find((d) => !isUnreachable(d));
  if (error !== undefined) throw new CliError('DocumentInvalid', `${error.message}.`, error.remedy);
}

async function isAgreed({ terminal, values }: CommandContext, principal: string): Promise<boolean> {
  if (flagOption(values, 'yes')) return true;
  if (!terminal.isInteractive) throw new CliError('NotAsked', 'Nobody is there to be asked.', 'Look at what is shown, then say --yes.');
  if (/^y(es)?$/i.test(await terminal.ask(`Stop this as ${principal}? [y/N] `))) return true;
  terminal.note('Nothing was signed.');
  return false;
}

async function list({ context, clone, repository }: Desk, { state }: Evidence): Promise<ExitCode> {
  const { terminal, values } = context;
  const tip = state.tip?.commit;
  const ref = textOption(values, 'ref') ?? tip;
  const desired = ref === undefined ? null : (await clone.loadCommit(repository, ref)).desired;
  const stops = stopsInForce(state, context.now().getTime()).map((one) => ({ ...one, onTarget: desired !== null && isHeld(desired, state, one) }));
  await terminal.result({ logId: state.logId, asOf: context.now().toISOString(), stops }, () => {
    if (stops.length === 0) return 'Nothing is stopped.';
    const lines = stops.flatMap((one) => [`${plain(stopText(one))}${one.holds ? '' : terminal.paint('dim', '  (not now)')}`, `  ${one.onTarget ? 'to lift it: take it back on the target branch, then its quorum approves:' : 'the target branch does not hold it; to lift it, its quorum approves:'} ${one.lift}`]);
    return lines.join('\n');
  });
  return 0;
}

/** Whether the target branch says the same as what is in force. */
function isHeld(desired: DesiredState, state: Evidence['state'], { kind, name }: StopView): boolean {
  const found = findDocument(desired, kind, name);
  return found.status === 'present' && found.entry.digest === state.inForce.get(`${kind}/${name}`)?.digest;
}

/** Sorted members, so that only what differs in meaning differs in the text. */
function specText(document: AnyDocument | null): string {
  return document === null ? '' : JSON.stringify(JSON.parse(canonicalText(document.spec as unknown as JsonObject)), null, 2);
}
