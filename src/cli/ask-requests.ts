import type { CommitId } from '../core/model/commit-id.ts';
import type { Digest } from '../core/model/digest.ts';
import { compareText } from '../core/model/names.ts';
import { plain } from '../core/model/plain-text.ts';
import { appStateOf, type LogState } from '../core/evidence/log-state.ts';
import { commitHere } from './branch-commit.ts';
import { type CloneParts, type Repository } from './clone.ts';
import { CliError, flagOption, type CommandContext } from './command.ts';
import { baseFor, openPlace, proposeChange, targetRefOf, textAt, type Proposed } from './propose-branch.ts';
import { asksTheSame, openRequestDesk, signRequest, WORKTREE, type Ground, type Request, type RequestDesk, type Wanted } from './write-request.ts';

/** An older request that a new one takes the place of, while it still waits. */
export type Replaced = { readonly subject: string; readonly release: string | null; readonly record: number; /** Whose approvals of it are in the log; they do not count for another release. */ readonly approvedBy: readonly string[] };
export type Asked = {
  readonly requests: readonly Request[];
  readonly replaces: readonly Replaced[];
  /** The commit that asks; null where only files were written, or where the target branch says it already. */
  readonly commit: CommitId | null;
  /** null: it was written where the person is. */
  readonly proposed: Proposed | null;
  /** The target branch asks for all of it already. */
  readonly isThere: boolean;
};
/** @param wanted what to ask for, given the declarations that it is written into */
export type AskPlan = { readonly wanted: (desk: RequestDesk, ground: Ground) => Promise<readonly Wanted[]>; /** null: the name that one request gets. */ readonly branch?: (requests: readonly Request[]) => string | null };

/**
 * Signs requests and brings them where they belong: one commit, on a branch of its own from the tip of the target branch, pushed, with a pull
 * request where a forge is set; or, in a clone without a remote or with --here, on the branch that the person is on.
 * @throws CliError; what is there by then stands in its message
 */
export async function askFor(context: CommandContext, clone: CloneParts, repository: Repository, plan: AskPlan): Promise<Asked & { readonly desk: RequestDesk }> {
  const place = await openPlace(context, clone, repository);
  const desk = await openRequestDesk(context, clone, repository);
  const state = desk.evidence?.state ?? null;
  const targetRef = await targetRefOf(repository, state);
  const base = place.type === 'here' ? null : await baseFor(repository, targetRef, place.remote);
  const ground = base === null ? await worktreeOf(clone, repository) : await branchGround(clone, repository, base, targetRef);
  const requests: Request[] = [];
  for (const wanted of await plan.wanted(desk, ground)) requests.push(await signRequest(desk, ground, wanted));
  if (requests.length === 0) throw new CliError('NothingAsked', 'There is nothing to ask for.', null, { exitCode: 1 });
  const replaces = state === null ? [] : requests.flatMap((request) => replacedBy(state, request));
  const given = { desk, requests, replaces };
  if (place.type === 'here' || base === null) return { ...given, commit: await writeHere(desk, requests), proposed: null, isThere: false };
  const due = requests.filter(({ isThere }) => !isThere);
  if (due.length === 0) return { ...given, commit: null, proposed: null, isThere: true };
  const proposed = await proposeChange(desk, { base, targetRef, place }, {
    files: due.map(({ file, text }) => ({ path: file, text })), branch: plan.branch?.(due) ?? branchOf(due), family: familyOf(due), title: titleOf(due.map(({ asked }) => asked)), body: bodyOf(due, replaces),
    isSame: (file, there) => asksTheSame(repository.parser, file, there),
  });
  return { ...given, requests: due, commit: proposed.commit, proposed, isThere: false };
}

async function worktreeOf(clone: CloneParts, repository: Repository): Promise<Ground> {
  return { desired: await clone.loadWorktree(repository), readText: (path) => clone.readText(`${repository.folder}/${path}`), name: WORKTREE };
}

async function branchGround(clone: CloneParts, repository: Repository, base: CommitId, targetRef: string): Promise<Ground> {
  const { desired } = await clone.loadCommit(repository, base);
  return { desired, readText: (path) => textAt(repository, base, path), name: targetRef.replace(/^refs\/heads\//, '') };
}

async function writeHere({ context, clone, repository, key, principal }: RequestDesk, requests: readonly Request[]): Promise<CommitId | null> {
  for (const { file, text } of requests) await clone.writeText(`${repository.folder}/${file}`, text);
  if (flagOption(context.values, 'no-commit')) return null;
  return commitHere(repository, { paths: requests.map(({ file }) => file), message: titleOf(requests.map(({ asked }) => asked)), author: { key, name: principal ?? 'stella' } });
}

/** T4: what waits is superseded by a request for something else, and approvals are for one promotion digest. */
function replacedBy(state: LogState, { asked }: Request): readonly Replaced[] {
  const app = appStateOf(state, asked.environment, asked.application);
  const last = app.lastDecision;
  if (last === null || last.ended || last.outcome === 'allow' || (asked.mode !== 'promote' && asked.mode !== 'absent') || last.release === asked.version) return [];
  const said = app.approvals.flatMap((digest: Digest) => state.approvals.get(digest) ?? []).filter(({ action }) => action === 'approve');
  return [{ subject: `${asked.environment}/${asked.application}`, release: last.release, record: last.seq, approvedBy: [...new Set(said.map(({ principal }) => principal))].sort(compareText) }];
}

function titleOf(asked: readonly Wanted[]): string {
  const [first, second] = asked;
  if (first === undefined) return 'Ask for nothing';
  if (second !== undefined) return `Promote ${asked.map(({ application, version }) => `${application} ${version ?? 'away'}`).join(', ')} in ${first.environment}`;
  const { mode, environment, application, version } = first;
  const what = version === null ? `Remove ${application} from ${environment}` : `Promote ${application} ${version} to ${environment}`;
  return mode === 'adopt' ? `Adopt the request: ${what}` : mode === 'retry' ? `Try again: ${what}` : what;
}

function familyOf([first]: readonly Request[]): string {
  return first === undefined ? 'promote/' : `promote/${first.asked.environment}/${first.asked.application}-`;
}

function branchOf(requests: readonly Request[]): string {
  const [first] = requests;
  if (first === undefined) return 'promote/nothing';
  const { mode, version } = first.asked;
  const what = mode === 'adopt' ? 'adopt' : version ?? 'absent';
  return `${familyOf(requests)}${what.replace(/\.{2,}/g, '.').replace(/\.(?:lock)?$/, '')}${first.attempt > 1 ? `-attempt-${first.attempt}` : ''}`;
}

/** Names of documents are safe in Markdown as code; what people wrote freely is left to the document. */
function bodyOf(requests: readonly Request[], replaces: readonly Replaced[]): string {
  const asks = requests.map(({ asked: { environment, application, version, breakGlass } }) => {
    const what = version === null ? `\`${application}\` is removed from \`${environment}\`` : `\`${application}\` \`${version}\` runs in \`${environment}\``;
    return `- ${what}${breakGlass === undefined ? '' : `, **breaking the glass**: skips ${breakGlass.skip.join(', ')} until ${breakGlass.expires}; the reason stands in the document`}`;
  });
  const older = replaces.map(({ subject, release, approvedBy }) => `- takes the place of \`${release ?? 'a removal'}\` in \`${subject}\`, which waits: that is superseded${approvedBy.length === 0 ? '' : `, and the approvals of ${approvedBy.join(', ')} do not count for this`}`);
  return [
    'This asks that', '', ...asks, ...(older.length === 0 ? [] : ['', ...older]), '',
    'Who asks has signed the document itself, so a squash does not lose it. Who approves does so in a clone, with the number of this pull request:', '', '```sh', 'stella approve <number>', '```', '',
    'Merged means requested: it runs once every gate is open. Reverting it is the rollback.', '',
  ].join('\n');
}

export function askedModel({ requests, commit, proposed, replaces, isThere, desk: { key, principal } }: Asked & { readonly desk: RequestDesk }): object {
  const [first, ...others] = requests.map(({ asked, file, attempt }) => ({ ...asked, file, attempt }));
  const branch = proposed === null ? {} : { branch: proposed.branch, remote: proposed.remote, isNew: proposed.isNew, proposal: proposed.proposal, rivals: proposed.rivals };
  return { ...first, ...(others.length === 0 ? {} : { more: others }), commit, principal, fingerprint: key.fingerprint, isThere, ...branch, replaces };
}

/** What was done and what comes next. */
export function askedText({ requests, commit, proposed, replaces, isThere }: Asked): string {
  const asks = requests.map(({ asked }) => asksText(asked)).join(', and ');
  const places = requests.map(({ asked: { environment, application } }) => `${environment}/${application}`);
  const place = places[0] ?? '';
  if (isThere) return `The target branch asks ${asks} already. See how it stands: stella explain ${place}; after a run that failed: stella retry ${place}`;
  const older = replaces.map(({ subject, release, record, approvedBy }) =>
    `Once merged, it takes the place of ${release ?? 'a removal'} in ${subject}, which waits (record ${record}) and is superseded then${approvedBy.length === 0 ? '' : `; the approvals of ${approvedBy.join(', ')} fall with it`}.`);
  if (proposed === null) {
    const what = commit === null ? `${requests.map(({ file }) => file).join(', ')} asks ${asks}. Commit and push it, then: stella explain ${place}` : `${commit.slice(0, 12)} asks ${asks}. Push it or open a pull request; see what it meets with: stella explain ${place}`;
    return [what, ...older].join('\n');
  }
  return [...proposedLines(proposed, asks), ...older, ...nextLines(proposed, place)].map(plain).join('\n');
}

function asksText({ environment, application, version }: Wanted): string {
  return version === null ? `that ${application} is removed from ${environment}` : `for ${application} ${version} in ${environment}`;
}

function proposedLines({ branch, commit, remote, isNew, proposal, rivals }: Proposed, asks: string): readonly string[] {
  const where = remote === null ? `the local branch ${branch}` : `branch ${branch} of ${remote}`;
  const also = rivals.map((other) => `${other.branch}${other.number === null ? '' : ` (#${other.number})`}`);
  return [
    `${commit.slice(0, 12)} asks ${asks}, on ${where}${isNew ? '' : '; it was there already'}.`,
    ...(proposal === null ? [] : [`#${proposal.number} ${proposal.url}${proposal.opened ? '' : ' (open already)'}`]),
    ...(also.length === 0 ? [] : [`Also asked for, on ${also.join(', ')}: what is merged last is what counts.`]),
  ];
}

function nextLines({ branch, remote, proposal }: Proposed, place: string): readonly string[] {
  const [environment] = place.split('/');
  const named = proposal === null ? branch : String(proposal.number);
  return [
    '', 'Next:', `  stella plan ${branch}      what it would do, and who has to approve`, `  stella approve ${named}      for those who may`,
    remote === null ? `  git push origin ${branch}` : proposal === null ? '  merge the branch; the server also writes the plan to the branch stella/plans' : '  merge the pull request: merged means requested, it runs once every gate is open',
    `  stella status ${environment ?? ''} --watch`,
  ];
}
