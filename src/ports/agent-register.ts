import type { JsonObject } from '../core/model/canonical-json.ts';

/** What an agent last said of itself. A hint for people and for `status`, no authority. */
export type AgentEntry = {
  readonly agent: string;
  readonly version: string;
  readonly capabilities: readonly string[];
  readonly lastSeenAt: string;
  /** What its targets really run. */
  readonly inventory: JsonObject;
  /** When the inventory was taken; null before the first. */
  readonly inventoryAt: string | null;
};

/** Remembers agents across restarts and replicas. */
export interface AgentRegister {
  seen(entry: Omit<AgentEntry, 'inventory' | 'inventoryAt'>): Promise<void>;
  /** Keeps the newest inventory; an older one is dropped. The agent must have been seen. */
  inventory(agent: string, inventory: JsonObject, takenAt: string): Promise<void>;
  list(): Promise<readonly AgentEntry[]>;
}
