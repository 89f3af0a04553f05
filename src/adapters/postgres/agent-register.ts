import { limits } from '../../core/model/limits.ts';
import type { AgentEntry, AgentRegister } from '../../ports/agent-register.ts';
import { StorageError } from '../../ports/storage-error.ts';
import { toJsonb, toText, type TenantDatabase } from './scope.ts';

/** The agents of one log on Postgres (schema `agent`). */
export function createAgentRegister(database: TenantDatabase): AgentRegister {
  const { tenant, logId } = database;
  return {
    seen: (entry) => database.transaction(async (queries) => {
      await queries.query(
        `INSERT INTO agent.presence AS old (tenant_id, log_id, agent, version, capabilities, last_seen_at, inventory)
         VALUES ($1, $2, $3, $4, $5, $6, '{}')
         ON CONFLICT (tenant_id, log_id, agent) DO UPDATE SET version = EXCLUDED.version, capabilities = EXCLUDED.capabilities,
           last_seen_at = greatest(old.last_seen_at, EXCLUDED.last_seen_at)`,
        [tenant, logId, entry.agent, toText(entry.version), toJsonb(entry.capabilities), entry.lastSeenAt]);
    }),
    inventory: (agent, inventory, takenAt) => database.transaction(async (queries) => {
      const text = toJsonb(inventory);
      if (Buffer.byteLength(text) > limits.inventoryBytes) throw new StorageError('LimitExceeded', `the inventory of agent ${agent} is over ${limits.inventoryBytes} bytes`);
      await queries.query(
        `UPDATE agent.presence SET inventory = $3, inventory_at = $4, last_seen_at = greatest(last_seen_at, $4)
          WHERE log_id = $1 AND agent = $2 AND (inventory_at IS NULL OR inventory_at <= $4)`,
        [logId, agent, text, takenAt]);
    }),
    list: () => database.transaction(async (queries) => (await queries.query<AgentEntry>(
      `SELECT agent, version, capabilities, last_seen_at AS "lastSeenAt", inventory, inventory_at AS "inventoryAt"
         FROM agent.presence WHERE log_id = $1 ORDER BY agent`, [logId])).rows),
  };
}
