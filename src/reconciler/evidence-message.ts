import type { EvidenceRecord, PromotionDecisionPredicate } from '../core/evidence/records.ts';

/** Lines about records, and trailers about gates, in one commit message; a batch may hold thousands. */
const RECORD_LINES = 50;
const TRAILERS = 60;
const VALUE_CHARS = 160;

/**
 * Message of an evidence commit: subject, one line a record, and trailers with what the gates found, readable in any forge and by
 * `git log --format='%(trailers)'`. For readers only: records say what was decided, and nothing reads a message as anybody's word (T30). The
 * paragraph of trailers holds keys that no approval has, so it can never pass for one (T15).
 */
export function evidenceMessage(records: readonly EvidenceRecord[]): string {
  const first = records[0]?.header.seq ?? 0;
  const last = first + Math.max(records.length - 1, 0);
  const lines = records.slice(0, RECORD_LINES).map((record) => `${record.header.seq} ${describe(record)}`);
  return `Record ${first}${last > first ? `-${last}` : ''}\n\n${lines.join('\n')}\n\n${trailersOf(records, first, last).join('\n')}\n`;
}

function trailersOf(records: readonly EvidenceRecord[], first: number, last: number): readonly string[] {
  const all = records.flatMap((record): readonly string[] => {
    if (record.type === 'promotion-decision') return decisionTrailers(record.predicate);
    if (record.type !== 'deployment-outcome') return [];
    const { environment, application, result } = record.predicate;
    return [trailer('Stella-Outcome', `${environment}/${application}`, result)];
  });
  const more = all.length > TRAILERS ? [trailer('Stella-Omitted', String(all.length - TRAILERS))] : [];
  return [trailer('Stella-Record', first === last ? String(first) : `${first}..${last}`), ...all.slice(0, TRAILERS), ...more];
}

function decisionTrailers({ environment, application, decision }: PromotionDecisionPredicate): readonly string[] {
  const place = `${environment}/${application}`;
  return [
    trailer('Stella-Decision', place, decision.outcome),
    ...decision.gates.map(({ gate, subject, outcome, code }) => trailer('Stella-Gate', place, subject === '' ? gate : `${gate}:${subject}`, outcome, ...(outcome === 'passed' ? [] : [code]))),
  ];
}

/** Words with nothing in them that could end a line, begin another trailer, or mean something to a terminal. */
function trailer(key: string, ...words: readonly string[]): string {
  return `${key}: ${words.map((word) => word.replace(/[^A-Za-z0-9._/:-]/g, '_').slice(0, VALUE_CHARS)).join(' ')}`;
}

function describe(record: EvidenceRecord): string {
  switch (record.type) {
    case 'observation':
      return `observation ${record.predicate.type}`;
    case 'protected-change':
      return `protected-change ${record.predicate.changes.length}`;
    case 'release-lock':
      return `release-lock ${record.predicate.application}/${record.predicate.release}`;
    case 'promotion-decision':
      return `promotion-decision ${record.predicate.environment}/${record.predicate.application} ${record.predicate.decision.outcome}`;
    case 'deployment-outcome':
      return `deployment-outcome ${record.predicate.environment}/${record.predicate.application} ${record.predicate.result}`;
    case 'review':
      return `review ${record.predicate.environment}/${record.predicate.application}`;
    case 'anchor':
      return `anchor ${record.predicate.rewrite.from.slice(0, 12)}..${record.predicate.rewrite.to.slice(0, 12)}`;
  }
}
