import { resolve } from 'node:path';
import type { BlobId } from '../../core/model/commit-id.ts';
import type { AnyDocument, DocumentOf, Kind, PrincipalKey, ServiceRole } from '../../core/model/documents.ts';
import { formatInstant, parseInstant } from '../../core/model/instant.ts';
import { documentsOf, findDocument, type DesiredState, type Entry } from '../../core/desired/desired-state.ts';
import { formatDiagnostic } from '../../core/desired/diagnostic.ts';
import { rootOf, type LogState } from '../../core/evidence/log-state.ts';
import { relianceOf, type Reliance, type Suspects } from '../../core/evidence/reassess.ts';
import { keyName } from '../../core/trust/key-ring.ts';
import { allowedSigners } from '../allowed-signers.ts';
import { EVIDENCE_OPTIONS, REF_OPTION, type CloneParts, type Evidence, type Repository } from '../clone.ts';
import { CliError, flagOption, OUTPUT_OPTION, textOption, usageError, type Command, type CommandContext, type ExitCode } from '../command.ts';
import { requireEvidence } from '../require-evidence.ts';
import { plain } from '../../core/model/plain-text.ts';
import { columns, type Terminal } from '../terminal.ts';
import { trustView, waitingIn, type KeyView, type TrustView, type Waiting } from '../trust-model.ts';

const SERVICE_ROLES: readonly string[] = ['decisions', 'evidence-commits', 'agent-ca'] satisfies readonly ServiceRole[];

export const command: Command<CloneParts> = {
  name: 'trust',
  summary: 'Show and change who may sign what',
  usage: [
    'stella trust show [--as-of SEQ|TIME]',
    'stella trust add-key <principal> FILE [--root]',
    'stella trust rotate <principal> FILE [--fingerprint FINGERPRINT] [--root]',
    'stella trust rotate --service decisions|evidence-commits|agent-ca FILE',
    'stella trust revoke <principal> [--fingerprint FINGERPRINT] [--retired] [--root]',
    'stella trust reassess <principal>|<fingerprint>',
    'stella trust export [--as-of SEQ|TIME]',
  ],
  help: `
Keys belong to principals, and root keys stand in the trust root with the name of their person. Nothing here changes
anything by itself: add-key, rotate and revoke edit the file in your working tree, comments stay, and say what to
commit and who has to approve. It is in force once the server has recorded that.

show      what is in force, and what waits with those who may approve it. --as-of shows an earlier moment of the log.
add-key   one key more. FILE is a .pub file, or an OpenPGP certificate as gpg --export --armor prints it.
rotate    a new key in the place of an old one. The old one stays with the status superseded: what was seen before
          stays valid. With --service a key of the server itself: put the private half into keys.nextDecisions or
          keys.nextEvidenceCommits of the server first; it takes over as soon as the root lists it.
revoke    the key was lost or stolen: compromised, and no approval by it counts that is not used up. With --retired
          it is only no longer used, and what was seen before stays valid. In a hurry, \`stella stop revoke\` does it
          at once with one signature; this writes down what stays.
reassess  recorded decisions that relied on a key or a person. History is not rewritten: look at what they deployed.
export    the keys as an allowed_signers file, for git verify-commit and ssh-keygen -Y verify.

With --root the key is one of the trust root. Its next version has a number higher by one and is signed by as many
people as the root in force demands and as many as the new one does, each with a root key. It changes alone: commit it
without other documents.

Example:
  stella trust show
  stella trust rotate alice ~/.ssh/new.pub
  stella trust revoke bob --fingerprint SHA256:…
  stella trust reassess bob
  stella trust export > .git/allowed_signers

Exit codes: 0 done; reassess: nothing relied on it. 1 something did. 2 error.`,
  options: {
    'as-of': { type: 'string', value: 'SEQ|TIME', description: 'The log as it was after this record, or at this time: 2031-05-17T09:30:00Z' },
    root: { type: 'boolean', description: 'A key of the trust root' },
    service: { type: 'string', value: 'ROLE', description: 'A key of the server itself, by its role' },
    name: { type: 'string', value: 'NAME', description: 'With --service, where the root lists several of this role' },
    fingerprint: { type: 'string', value: 'FINGERPRINT', description: 'The old key: SHA256:… or openpgp:…' },
    retired: { type: 'boolean', description: 'The key is no longer used, and was not stolen' },
    since: { type: 'string', value: 'TIME', description: 'When the status changed (default: now)' },
    'not-after': { type: 'string', value: 'TIME', description: 'The new key counts until then' },
    ...REF_OPTION, ...EVIDENCE_OPTIONS, ...OUTPUT_OPTION,
  },
  run,
};

type Desk = { readonly context: CommandContext; readonly clone: CloneParts; readonly repository: Repository };

async function run(context: CommandContext, parts: () => Promise<CloneParts>): Promise<ExitCode> {
  const [verb, ...rest] = context.positionals;
  const work = workFor(context, verb, rest);
  const clone = await parts();
  const repository = await clone.openRepository(context);
  try {
    return await work({ context, clone, repository });
  } finally {
    await repository.close();
  }
}

function workFor({ values }: CommandContext, verb: string | undefined, rest: readonly string[]): (desk: Desk) => Promise<ExitCode> {
  const [first = '', second = ''] = rest;
  const service = textOption(values, 'service');
  if (verb === 'show' && rest.length === 0) return show;
  if (verb === 'export' && rest.length === 0) return exportSigners;
  if (verb === 'reassess' && rest.length === 1) return (desk) => reassess(desk, first);
  if (verb === 'add-key' && rest.length === 2) return (desk) => addKey(desk, first, second);
  if (verb === 'rotate' && service !== undefined && rest.length === 1) return (desk) => rotateService(desk, service, first);
  if (verb === 'rotate' && service === undefined && rest.length === 2) return (desk) => rotate(desk, first, second);
  if (verb === 'revoke' && rest.length === 1) return (desk) => revoke(desk, first);
  throw usageError(verb === undefined ? 'trust needs to know what: show, add-key, rotate, revoke, reassess or export.' : `trust ${[verb, ...rest].join(' ')} is nothing that it does.`, command);
}

/** The log at the moment that was asked for; the newest without. @throws CliError `AsOfUnknown` */
async function stateAsOf({ context, clone, repository }: Desk): Promise<{ readonly evidence: Evidence; readonly state: LogState; readonly isNewest: boolean }> {
  const asked = textOption(context.values, 'as-of');
  const seq = asked !== undefined && /^\d{1,9}$/.test(asked) ? Number(asked) : null;
  const time = asked === undefined || seq !== null ? null : parseInstant(asked);
  if (asked !== undefined && seq === null && time === null) throw usageError(`--as-of ${asked} is neither the number of a record nor a time in UTC such as 2031-05-17T09:30:00Z.`, command);
  const found: { state: LogState | null } = { state: null };
  const evidence = await requireEvidence(context, clone, repository, ({ record: { header }, after }) => {
    if (seq === null ? time !== null && (parseInstant(header.asOf) ?? 0) <= time : header.seq === seq) found.state = after;
  });
  if (asked === undefined) return { evidence, state: evidence.state, isNewest: true };
  if (found.state === null) throw new CliError('AsOfUnknown', `The log has no record ${seq === null ? `as early as ${asked}` : asked}; it has ${evidence.state.size}.`, 'Records are counted from 0: see `stella verify`.');
  return { evidence, state: found.state, isNewest: false };
}

async function show(desk: Desk): Promise<ExitCode> {
  const { terminal, values } = desk.context;
  const { state, isNewest, evidence } = await stateAsOf(desk);
  const view = trustView(state);
  const waiting = isNewest ? waitingIn(state, (await desk.clone.loadCommit(desk.repository, textOption(values, 'ref') ?? 'HEAD')).desired, evidence.openPgp) : [];
  await terminal.result({ ...view, waiting }, () => [...viewLines(view, terminal), ...waiting.flatMap((one) => waitingLines(one, terminal))].join('\n'));
  return 0;
}

function viewLines({ logId, records, asOf, root, principals }: TrustView, terminal: Terminal): readonly string[] {
  const { threshold, keys, services, quorums, proposerCounts } = root;
  const rules = Object.entries({ default: quorums.default, create: quorums.create, ...quorums.kinds });
  const minimums = [...(root.minimums?.environments ?? []).map((m) => ['environment', m] as const), ...(root.minimums?.targets ?? []).map((m) => ['target', m] as const)];
  return [
    `log   ${logId}, ${records} records, the last of ${asOf ?? 'never'}`,
    `${terminal.paint('bold', `root  version ${root.version}`)}  ${root.digest}`,
    `  the next root takes ${threshold} of ${new Set(keys.map((k) => k.principal)).size} people with root keys; who proposes a change ${proposerCounts ? 'counts' : 'does not count'} towards its quorum`,
    ...keys.map((k) => `  root key   ${k.principal}  ${k.fingerprint}`),
    ...services.map((s) => `  our key    ${s.role}  ${s.name}  ${s.key}`),
    ...rules.map(([kind, { people, roles = [] }]) => `  quorum     ${kind}: ${people}${roles.length === 0 ? '' : ` (${roles.map((r) => `${r.count} ${r.role}`).join(', ')})`}`),
    ...minimums.map(([kind, { name, people, roles = [] }]) => `  minimum    ${kind} ${name}: ${people}${roles.length === 0 ? '' : ` (${roles.map((r) => `${r.count} ${r.role}`).join(', ')})`}`),
    '',
    ...principals.flatMap((p) => [
      `${terminal.paint('bold', p.name)}  ${p.type}${p.suspended ? `  ${terminal.paint('red', 'suspended')}` : ''}${p.roles.length === 0 ? '' : `  ${p.roles.join(', ')}`}`,
      ...p.keys.map((k) => `  ${k.fingerprint}  ${keyText(k, terminal)}`),
    ]),
  ];
}

function keyText({ status, since, notBefore, notAfter }: KeyView, terminal: Terminal): string {
  const dates = [since === undefined ? '' : `since ${since}`, notBefore === undefined ? '' : `from ${notBefore}`, notAfter === undefined ? '' : `until ${notAfter}`].filter((text) => text !== '');
  return [status === 'active' ? status : terminal.paint(status === 'compromised' ? 'red' : 'yellow', status), ...dates].join(' ');
}

function waitingLines({ digest, changes, approvedBy }: Waiting, terminal: Terminal): readonly string[] {
  const only = changes.length === 1 ? ` --only ${changes[0]?.kind ?? ''}/${changes[0]?.name ?? ''}` : '';
  return [
    '', terminal.paint('yellow', `waits  ${digest}`),
    ...changes.flatMap((c) => [
      `  ${c.kind}/${c.name} ${c.from === null ? 'is new' : c.to === null ? 'is deleted' : 'changes'}; needs ${c.quorum}; may approve: ${c.mayApprove.join(', ') || 'nobody'}`,
      ...(c.fault === null ? [] : [`    ${terminal.paint('red', c.fault.code)}: ${c.fault.message}`]),
    ]),
    `  approved by ${approvedBy.join(', ') || 'nobody yet'}; to approve: stella approve --pending${only}`,
  ];
}

async function exportSigners(desk: Desk): Promise<ExitCode> {
  const { terminal } = desk.context;
  const { state } = await stateAsOf(desk);
  const { lines, leftOut } = allowedSigners(state);
  await terminal.result({ lines, leftOut }, () => `${lines.join('\n')}\n`);
  for (const one of leftOut) terminal.note(`left out: ${plain(one)}`);
  return 0;
}

async function reassess({ context, clone, repository }: Desk, suspect: string): Promise<ExitCode> {
  const isKey = /^(?:SHA256|openpgp):/.test(suspect);
  const suspects: Suspects = isKey ? { principal: null, fingerprints: new Set([suspect]) } : { principal: suspect, fingerprints: new Set() };
  const steps: Reliance[] = [];
  const evidence = await requireEvidence(context, clone, repository, ({ before, record }, artifact) => {
    const found = relianceOf(before, record, suspects, { artifact, openPgp: repository.openPgp });
    if (found !== null) steps.push(found);
  });
  const relied = steps.map((one) => ({ ...one, runs: one.lock !== null && evidence.state.states.get(`${one.environment ?? ''}/${one.application ?? ''}`)?.lock === one.lock }));
  await context.terminal.result({ suspect, relied }, () => {
    if (relied.length === 0) return `Nothing in ${evidence.state.size} records relied on ${suspect}.`;
    const rows = relied.map((r) => [String(r.seq), r.decidedAt, r.type, r.environment === null ? '' : `${r.environment}/${r.application ?? ''}`, r.as.join(', '), r.runs ? 'runs now' : r.outcome, r.digest ?? '']);
    return columns([['record', 'decided', 'type', 'where', 'as', 'outcome', 'digest'], ...rows]);
  });
  return relied.length === 0 ? 0 : 1;
}

type Opened<K extends Kind> = { readonly entry: Entry; readonly file: string; readonly text: string; readonly document: DocumentOf<K> };

/** The one document of a file in the working tree. @throws CliError `DocumentMissing`, `DocumentUnusable`, `SeveralDocuments` */
async function open<K extends Kind>({ clone, repository }: Desk, desired: DesiredState, kind: K, name: string): Promise<Opened<K>> {
  const found = findDocument(desired, kind, name);
  if (found.status === 'absent') throw new CliError('DocumentMissing', `There is no ${kind} ${name} in the working tree.`, `See \`stella trust show\`${inForceHint(kind)}.`);
  if (found.status === 'unusable') throw new CliError('DocumentUnusable', `${kind} ${name} in ${found.claims[0]?.file ?? '?'} cannot be used.`, 'See `stella lint`, and correct it first.');
  const { entry } = found;
  const file = resolve(repository.folder, entry.file);
  const text = (await clone.readText(file)) ?? '';
  const { documents } = repository.parser.parseFile({ path: entry.file, blob: '' as BlobId, bytes: new TextEncoder().encode(text) });
  if (documents.length !== 1) throw new CliError('SeveralDocuments', `${entry.file} holds several documents.`, `Give ${kind} ${name} a file of its own, or edit it by hand.`);
  return { entry, file, text, document: entry.document as unknown as DocumentOf<K> };
}

const inForceHint = (kind: Kind): string => (kind === 'Principal' ? ', or add it with its first key by hand' : '');

/** A public key as documents hold it. @throws CliError `KeyUnreadable` */
async function keyIn({ context, clone }: Desk, file: string): Promise<string> {
  const text = await clone.readText(resolve(context.cwd, file));
  if (text === null) throw new CliError('KeyUnreadable', `There is no file ${file}.`, 'Name the public half: the .pub file.');
  const key = text.startsWith('-----BEGIN PGP ') ? text : text.trim();
  if (keyName(key) === null) throw new CliError('KeyUnreadable', `${file} holds no public key that may sign.`, 'Take the .pub file of an ed25519, ecdsa, sk- or RSA key of at least 3072 bits, or an OpenPGP certificate.');
  return key;
}

function timeOption({ values, now }: CommandContext, option: string): string {
  const given = textOption(values, option);
  if (given === undefined) return `${formatInstant(now().getTime()).slice(0, 19)}Z`;
  if (parseInstant(given) === null) throw usageError(`--${option} ${given} is no time in UTC; write it as 2031-05-17T09:30:00Z.`, command);
  return given;
}

function newKey({ context }: Desk, key: string): PrincipalKey {
  const notAfter = textOption(context.values, 'not-after');
  return { key, status: 'active', ...(notAfter === undefined ? {} : { notAfter: timeOption(context, 'not-after') }) };
}

async function addKey(desk: Desk, name: string, file: string): Promise<ExitCode> {
  const key = await keyIn(desk, file);
  if (flagOption(desk.context.values, 'root')) return editRoot(desk, `add a root key of ${name}`, () => ({ type: 'key', principal: name, old: null, key }));
  const { withKey } = await import('../trust-edit.ts');
  return editPrincipal(desk, name, `add a key of ${name}`, ({ text, document }) => withKey(text, document, newKey(desk, key)));
}

async function rotate(desk: Desk, name: string, file: string): Promise<ExitCode> {
  const [key, given] = [await keyIn(desk, file), textOption(desk.context.values, 'fingerprint')];
  const { keyMeant, withKey, withStatus } = await import('../trust-edit.ts');
  const what = `rotate the key of ${name}`;
  if (flagOption(desk.context.values, 'root')) {
    return editRoot(desk, what, ({ spec }) => ({ type: 'key', principal: name, old: keyMeant(spec.keys.filter((k) => k.principal === name), given, `the trust root for ${name}`), key }));
  }
  return editPrincipal(desk, name, what, ({ text, document }) => {
    const old = keyMeant(document.spec.keys.filter((k) => k.status === 'active'), given, name);
    return withKey(withStatus(text, document, old, 'superseded', timeOption(desk.context, 'since')), document, newKey(desk, key));
  });
}

async function revoke(desk: Desk, name: string): Promise<ExitCode> {
  const { context } = desk;
  const { keyMeant, withStatus } = await import('../trust-edit.ts');
  const given = textOption(context.values, 'fingerprint');
  const status = flagOption(context.values, 'retired') ? 'retired' : 'compromised';
  if (flagOption(context.values, 'root')) {
    return editRoot(desk, `take a root key of ${name} out`, ({ spec }) => ({ type: 'key', principal: name, old: keyMeant(spec.keys.filter((k) => k.principal === name), given, `the trust root for ${name}`), key: null }));
  }
  return editPrincipal(desk, name, `mark a key of ${name} as ${status}`, ({ text, document }) => {
    const usable = document.spec.keys.filter((k) => k.status !== 'compromised' && (status === 'compromised' ? true : k.status === 'active'));
    return withStatus(text, document, keyMeant(usable, given, name), status, timeOption(context, 'since'));
  });
}

async function rotateService(desk: Desk, role: string, file: string): Promise<ExitCode> {
  if (!SERVICE_ROLES.includes(role)) throw usageError(`--service ${role} is no role of a key of ours: ${SERVICE_ROLES.join(', ')}.`, command);
  const text = await desk.clone.readText(resolve(desk.context.cwd, file));
  if (text === null) throw new CliError('KeyUnreadable', `There is no file ${file}.`, 'Name the public half: openssl pkey -pubout, or the .pub file.');
  if (text.includes('PRIVATE KEY')) throw new CliError('KeyUnreadable', `${file} holds a private key.`, 'Name the public half: openssl pkey -pubout, or the .pub file.');
  const name = textOption(desk.context.values, 'name') ?? null;
  const publicKey = role === 'evidence-commits' ? text.trim() : text;
  return editRoot(desk, `rotate our key for ${role}`, () => ({ type: 'service', role: role as ServiceRole, name, publicKey }));
}

async function editPrincipal(desk: Desk, name: string, what: string, edit: (opened: Opened<'Principal'>) => string): Promise<ExitCode> {
  const desired = await desk.clone.loadWorktree(desk.repository);
  const opened = await open(desk, desired, 'Principal', name);
  return write(desk, opened, edit(opened), what);
}

type RootEdit = import('../trust-edit.ts').RootEdit;

/** The next version of the trust root. It follows the one in force, so the evidence has to be at hand. */
async function editRoot(desk: Desk, what: string, edit: (draft: DocumentOf<'TrustRoot'>) => RootEdit): Promise<ExitCode> {
  const { nextRoot } = await import('../trust-edit.ts');
  const { state } = await requireEvidence(desk.context, desk.clone, desk.repository);
  const desired = await desk.clone.loadWorktree(desk.repository);
  const name = documentsOf(desired, 'TrustRoot')[0]?.document.metadata.name ?? rootOf(state).metadata.name;
  const opened = await open(desk, desired, 'TrustRoot', name);
  const inForce = { digest: state.inForceDigests.root, version: rootOf(state).spec.version };
  return write(desk, opened, nextRoot({ text: opened.text, draft: opened.document.spec, inForce }, edit(opened.document)), what);
}

/** Writes the file if it reads back as the same kind of document, and says how it comes into force. */
async function write(desk: Desk, { entry, file, text: before }: Opened<Kind>, text: string, what: string): Promise<ExitCode> {
  const { context, clone, repository } = desk;
  const { documents, problems } = repository.parser.parseFile({ path: entry.file, blob: '' as BlobId, bytes: new TextEncoder().encode(text) });
  const problem = problems.find((p) => p.severity === 'error');
  if (problem !== undefined) throw new CliError('DocumentUnusable', `The file would be wrong then, so it is not written: ${formatDiagnostic(problem)}`);
  const document = documents[0]?.document as AnyDocument | undefined;
  if (document === undefined || text === before) throw new CliError('NothingChanged', `${entry.file} says that already.`, null, { exitCode: 1 });
  await clone.writeText(file, text);
  const only = `${document.kind}/${document.metadata.name}`;
  const next = [`git commit -S -m ${JSON.stringify(what[0]?.toUpperCase() + what.slice(1))} -- ${entry.file}`, `stella approve --pending --only ${only}`];
  await context.terminal.result({ file: entry.file, document: only, next }, () => [
    `${entry.file} is written: ${what}. Look at it with git diff, then`, ...next.map((line) => `  ${line}`),
    document.kind === 'TrustRoot' ? 'Commit the trust root alone. It is in force when enough people of both roots have approved with their root keys: stella trust show' : 'It is in force when its quorum has approved: stella trust show',
  ].join('\n'));
  return 0;
}
