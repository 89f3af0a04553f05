import { plain } from '../model/plain-text.ts';

/** refused: would not count, or not come into force, if it were merged now. waits: somebody or something else is needed. note: worth knowing. */
export type Severity = 'refused' | 'waits' | 'note';

/** Something that a contributor should know before the merge. `code` is stable; messages are for people. */
export type Finding = {
  readonly code: string;
  readonly severity: Severity;
  readonly commit: string | null;
  readonly file: string | null;
  readonly line: number | null;
  /** `Promotion/prod/shop`, or whoever it is about. */
  readonly subject: string | null;
  readonly message: string;
  readonly remedy: string | null;
  readonly command: string | null;
};

export function finding(f: Pick<Finding, 'code' | 'severity' | 'message'> & Partial<Finding>): Finding {
  return { commit: null, file: null, line: null, subject: null, remedy: null, command: null, ...f };
}

const ORDER: readonly Severity[] = ['refused', 'waits', 'note'];

/** The gravest first, each once. */
export function sortedFindings(findings: readonly Finding[]): readonly Finding[] {
  const unique = [...new Map(findings.map((f) => [JSON.stringify(f), f])).values()];
  const place = (f: Finding): string => `${f.file ?? '~'} ${String(f.line ?? 0).padStart(9, '0')} ${f.commit ?? ''} ${f.code} ${f.subject ?? ''}`;
  return unique.sort((a, b) => ORDER.indexOf(a.severity) - ORDER.indexOf(b.severity) || (place(a) < place(b) ? -1 : 1));
}

/** `file:line: refused Code: message. remedy`, as editors and terminals make links of. */
export function findingText(f: Finding): string {
  const place = f.file !== null ? `${f.file}${f.line === null ? '' : `:${f.line}`}` : f.commit !== null ? f.commit.slice(0, 12) : (f.subject ?? 'repository');
  const where = f.file !== null && f.commit !== null ? ` (commit ${f.commit.slice(0, 12)})` : '';
  const rows = [`${place}: ${f.severity} ${f.code}: ${f.message}${where}`, ...[f.remedy, f.command].flatMap((text) => (text === null ? [] : [`    ${text}`]))];
  return rows.map(plain).join('\n');
}

/** @param strict what waits for others is refused as well: the branch goes to where nobody else is asked any more */
export function exitCodeOf(findings: readonly Finding[], strict: boolean): 0 | 1 {
  return findings.some(({ severity }) => severity === 'refused' || (strict && severity === 'waits')) ? 1 : 0;
}
