import fc from 'fast-check';
import type { CommitId } from '../../src/core/model/commit-id.ts';
import type { Digest } from '../../src/core/model/digest.ts';
import type { ExplainLine } from '../../src/core/decision/explain.ts';
import type { Decision } from '../../src/core/decision/types.ts';
import type { Finding } from '../../src/core/proposal/finding.ts';
import type { ChangeKind, FileChange, PromotionPlan, ProposalPlan, ProtectedPlan, ReleasePlan } from '../../src/core/proposal/plan-model.ts';

/** What somebody writes into names, paths, values and messages to get out of them. */
export const HOSTILE = [
  '|', '\\|', '\\', '`', '``', '````', '\n```\n', '```', '~~~', '</details>', '</summary>', '<details>', '<!--', '-->', '<img src=x onerror=alert(1)>', '<script>', '@alice', '@org/team', 'x@evil.example', '[text](https://evil.example)',
  '![image](https://evil.example/x.png)', '[id]: https://evil.example', 'https://evil.example', 'http://evil.example', 'www.evil.example', 'mailto:x@evil.example', '#1', 'GH-1', 'org/repo#1', '!1', '&1', '%1', '$x$', '$`x`$', ':tada:', '*', '**', '_', '__', '- ',
  '1. ', '+ ', '> ', '# ', '===', '---', '| --- |', '\n\n', '\r\n', '\u2028', '\u202e', '\u0000', '\u200b', '&lt;', '&#64;alice', '&amp;', '[x]', '[ ] ', '[^1]', ' ', '', 'ordinary',
] as const;
const hostile = fc.array(fc.constantFrom(...HOSTILE), { maxLength: 5 }).map((parts) => parts.join(''));
/** Somebody wrote it, and no tool looked at its form. */
const word = hostile.map((text) => `a${text}`);

const digest: fc.Arbitrary<Digest> = fc.nat(0xffff).map((n) => `sha256:${n.toString(16).padStart(64, '0')}` as Digest);
const commit: fc.Arbitrary<CommitId> = fc.nat(0xffff).map((n) => n.toString(16).padStart(40, '0') as CommitId);
const listOf = <T>(one: fc.Arbitrary<T>, maxLength = 3): fc.Arbitrary<readonly T[]> => fc.array(one, { maxLength });
const nullable = <T>(one: fc.Arbitrary<T>): fc.Arbitrary<T | null> => fc.option(one, { nil: null });
const kind = fc.constantFrom<ChangeKind>('added', 'removed', 'changed', 'unchanged');
const moved = fc.constantFrom<Exclude<ChangeKind, 'unchanged'>>('added', 'removed', 'changed');
const diff = nullable(fc.array(hostile, { minLength: 1, maxLength: 40 }).map((lines) => lines.map((line) => `+${line}`).join('\n')));

const line: fc.Arbitrary<ExplainLine> = fc.record({
  about: fc.constantFrom('gate', 'situation', 'rejected-approval', 'next', 'decision'), gate: nullable(fc.constantFrom('approvals', 'freeze', 'source')), subject: word, outcome: fc.constantFrom('passed', 'pending', 'refused'), code: fc.constant('Ok'),
  text: word, remedy: nullable(word), command: nullable(word), who: listOf(word, 12), opensAt: nullable(fc.constant('2026-12-01T00:00:00.000Z')),
}) as unknown as fc.Arbitrary<ExplainLine>;
const decision: fc.Arbitrary<Decision> = fc.record({ outcome: fc.constantFrom('allow', 'pending', 'refuse'), gates: listOf(fc.record({ gate: fc.constantFrom('approvals', 'freeze'), subject: word, outcome: fc.constantFrom('passed', 'pending'), code: fc.constantFrom('Frozen', 'ApprovalsMissing', 'Soaking'), detail: fc.constant({}), opensAt: fc.constant(null) })) }) as unknown as fc.Arbitrary<Decision>;
const version = nullable(fc.record({ tag: nullable(word), digest }));
const setting = fc.record({ name: word, from: nullable(word), to: nullable(word) });

const promotion: fc.Arbitrary<PromotionPlan> = fc.record({
  environment: word, application: word, effect: fc.constantFrom('deploy', 'redeploy', 'rollback', 'remove', 'extend', 'withdraw', 'nothing', 'unplannable'), release: fc.record({ from: nullable(word), to: nullable(word) }),
  lock: fc.record({ from: nullable(digest), to: nullable(digest) }), components: listOf(fc.record({ name: word, change: kind, from: version, to: version })),
  files: listOf(fc.record({ path: word, change: kind, diff, from: nullable(digest), to: nullable(digest) }) as fc.Arbitrary<FileChange>), variables: listOf(setting), secrets: listOf(setting),
  targets: fc.record({ all: listOf(word), added: listOf(word), removed: listOf(word) }), strategy: nullable(word), notes: listOf(word), promotionDigest: nullable(digest), decision: nullable(decision), lines: listOf(line, 6), couldPassAt: nullable(fc.constant('2026-12-01T00:00:00.000Z')),
});
const protectedChange: fc.Arbitrary<ProtectedPlan> = fc.record({ digest: nullable(digest), kind: word, name: word, change: moved, diff, quorum: word, approvedBy: listOf(word), couldApprove: listOf(word), command: nullable(word), isMet: fc.boolean(), why: nullable(word) });
const release: fc.Arbitrary<ReleasePlan> = fc.record({ name: word, change: moved, lock: nullable(digest), components: listOf(fc.record({ name: word, tag: nullable(word), digest })) });
const finding: fc.Arbitrary<Finding> = fc.record({ code: word, severity: fc.constantFrom('refused', 'waits', 'note'), commit: nullable(word), file: nullable(word), line: nullable(fc.nat(99)), subject: nullable(word), message: word, remedy: nullable(word), command: nullable(word) });

/** A plan in which every text is somebody's. */
export const hostilePlan: fc.Arbitrary<ProposalPlan> = fc.record({
  type: fc.constant('stella/proposal-plan/v1'), candidate: commit, target: fc.record({ ref: word, commit }), logSize: fc.nat(999), asOf: fc.constant('2026-11-01T00:00:00.000Z'), outcome: fc.constantFrom('nothing', 'changes', 'error'),
  promotions: listOf(promotion), protectedChanges: listOf(protectedChange), releases: listOf(release), findings: listOf(finding, 5), nextChangeAt: fc.constant(null),
});
