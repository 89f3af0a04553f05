import type { ForgeDelivery, WebhookReader } from '../ports/forge.ts';
import type { AgentEntry } from '../ports/agent-register.ts';
import type { AgentPresence } from '../ports/agent-hub.ts';
import type { ExplainLine } from '../core/decision/explain.ts';
import type { Kind } from '../core/model/documents.ts';
import type { LedgerReader, PromotionRow } from '../ports/ledger.ts';
import type { LoopStatus } from '../reconciler/loop.ts';

export type ForgeWebhook = {
  readonly reader: WebhookReader;
  readonly secret: string;
  /** `owner/name`: deliveries for others wake nobody. */
  readonly repository: string;
  /** Told of each delivery that is new. @param isOurs it is for our repository */
  readonly onDelivery: (delivery: ForgeDelivery, isOurs: boolean) => void;
};

/** What the API reads. It writes nothing; a webhook only says "look again". */
export type ApiWorld = {
  readonly reader: LedgerReader;
  /** What became of a promotion and why, in the words of `stella explain`. */
  readonly explain: (promotion: PromotionRow) => Promise<readonly ExplainLine[]>;
  /** How a protected document stands, in the same words; none before the log was read. */
  readonly explainDocument: (kind: Kind, name: string) => readonly ExplainLine[];
  readonly agents: () => Promise<readonly AgentEntry[]>;
  readonly connected: () => readonly AgentPresence[];
  /** @throws StorageError while Postgres is away */
  readonly pingStorage: () => Promise<void>;
  readonly status: () => LoopStatus;
  readonly wake: (reason: string) => void;
  /** Null: there is no webhook. */
  readonly webhookSecret: string | null;
  /** The forge that may call; null: its paths do not exist. */
  readonly forgeWebhook: ForgeWebhook | null;
  /** Told what went wrong inside; the client is told only that something did. */
  readonly onError: (cause: unknown) => void;
  /** Text in the exposition format of Prometheus, and its media type. */
  readonly metrics: () => Promise<{ readonly type: string; readonly text: string }>;
};
