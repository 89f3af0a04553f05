import { Counter, Gauge, Histogram, Registry } from 'prom-client';
import type { AgentPresence } from '../ports/agent-hub.ts';
import type { LoopPass, LoopStatus } from '../reconciler/loop.ts';

export type Metrics = {
  readonly observePass: (pass: LoopPass) => void;
  readonly text: () => Promise<{ readonly type: string; readonly text: string }>;
};

/** Since the start, but for `open`. */
export type ProposalNumbers = { readonly open: number; readonly planned: number; readonly failures: number; readonly waits: number; readonly foreignDeliveries: number };
const NO_PROPOSALS: ProposalNumbers = { open: 0, planned: 0, failures: 0, waits: 0, foreignDeliveries: 0 };

/** Numbers about this server, in a registry of their own. */
export function createMetrics(world: { readonly status: () => LoopStatus; readonly connected: () => readonly AgentPresence[]; readonly now: () => Date; readonly proposals?: () => ProposalNumbers }): Metrics {
  const registers = [new Registry()];
  const passes = new Counter({ name: 'stella_reconcile_passes_total', help: 'Reconciles that have ended, by result.', labelNames: ['result'] as const, registers });
  const records = new Counter({ name: 'stella_records_total', help: 'Records pushed to the evidence branch.', registers });
  const failures = new Counter({ name: 'stella_reconcile_failures_total', help: 'Reconciles that failed, by code.', labelNames: ['code'] as const, registers });
  const durations = new Histogram({ name: 'stella_reconcile_seconds', help: 'Duration of a reconcile.', buckets: [0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30], registers });
  const gauge = (name: string, help: string, value: () => number): void => {
    new Gauge({ name, help, registers, collect() { this.set(value()); } });
  };
  gauge('stella_agents_connected', 'Agents with an open stream.', () => world.connected().length);
  gauge('stella_reconcile_overdue', '1 when no reconcile has succeeded for several polls.', () => Number(world.status().overdue));
  gauge('stella_loop_suspects', 'Places that are written about no more, because records were written again and again without anything new from outside.', () => world.status().lastReport?.suspects.length ?? 0);
  gauge('stella_reconcile_last_success_age_seconds', 'Since the last reconcile that succeeded; -1 before the first.', () => ageSeconds(world.status(), world.now()));
  countProposals(registers, world.proposals ?? (() => NO_PROPOSALS), gauge);
  passes.inc({ result: 'succeeded' }, 0);
  passes.inc({ result: 'failed' }, 0);
  return {
    observePass: ({ report, durationMs }) => {
      passes.inc({ result: report.ok ? 'succeeded' : 'failed' });
      records.inc(Math.max(report.records, 0));
      durations.observe(durationMs / 1000);
      if (report.fault !== null) failures.inc({ code: report.fault.code });
    },
    text: async () => ({ type: registers[0]?.contentType ?? 'text/plain', text: (await registers[0]?.metrics()) ?? '' }),
  };
}

function ageSeconds({ lastSuccessAt }: LoopStatus, now: Date): number {
  return lastSuccessAt === null ? -1 : (now.getTime() - lastSuccessAt.getTime()) / 1000;
}

function countProposals(registers: Registry[], numbers: () => ProposalNumbers, gauge: (name: string, help: string, value: () => number) => void): void {
  const counter = (name: string, help: string, value: () => number): void => {
    new Counter({ name, help, registers, collect() { this.reset(); this.inc(value()); } });
  };
  gauge('stella_proposals_open', 'Open proposals and branches that are planned.', () => numbers().open);
  counter('stella_proposal_plans_total', 'Plans of proposals that were made.', () => numbers().planned);
  counter('stella_proposal_publish_failures_total', 'Statuses and comments that a forge did not take.', () => numbers().failures);
  counter('stella_forge_waits_total', 'Times that a forge told us to wait, because it was asked too often.', () => numbers().waits);
  counter('stella_webhook_foreign_total', 'Deliveries with our secret for another repository.', () => numbers().foreignDeliveries);
}
