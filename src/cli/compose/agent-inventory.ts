import type { JsonObject } from '../../core/model/canonical-json.ts';
import { limits } from '../../core/model/limits.ts';
import type { AgentPresence } from '../../ports/agent-hub.ts';
import type { AgentRegister } from '../../ports/agent-register.ts';

type Said = { readonly agent: string; readonly target: string; readonly observed: Uint8Array };

/**
 * Keeps what agents say that their targets run, for `status`. A hint for people: nothing is decided by it. Targets report one by one; the
 * register keeps them together by `<environment>/<application>/<target>`.
 */
export class AgentInventory {
  readonly #register: AgentRegister;
  readonly #connected: () => readonly AgentPresence[];
  readonly #now: () => Date;
  readonly #onError: (cause: unknown) => void;
  readonly #known = new Map<string, Record<string, JsonObject>>();
  #tail: Promise<void> = Promise.resolve();

  constructor(p: { readonly register: AgentRegister; readonly connected: () => readonly AgentPresence[]; readonly now: () => Date; readonly onError: (cause: unknown) => void }) {
    this.#register = p.register;
    this.#connected = p.connected;
    this.#now = p.now;
    this.#onError = p.onError;
  }

  /** Never throws; what cannot be kept is lost, and said again within a minute. */
  note(said: Said): void {
    this.#tail = this.#tail.then(() => this.#keep(said)).catch(this.#onError);
  }

  /** Settles when everything noted so far is kept. */
  idle(): Promise<void> {
    return this.#tail;
  }

  async #keep({ agent, target, observed }: Said): Promise<void> {
    const presence = this.#connected().find((one) => one.agent === agent);
    const value = parse(observed);
    if (presence === undefined || value === null || value['target'] !== target) return;
    const at = this.#now().toISOString();
    const { version, capabilities } = presence;
    await this.#register.seen({ agent, version, capabilities, lastSeenAt: at });
    const targets = this.#known.get(agent) ?? (await this.#remembered(agent));
    targets[`${String(value['environment'])}/${String(value['application'])}/${target}`] = value;
    this.#known.set(agent, targets);
    await this.#register.inventory(agent, targets, at);
  }

  async #remembered(agent: string): Promise<Record<string, JsonObject>> {
    const entry = (await this.#register.list()).find((one) => one.agent === agent);
    return { ...(entry?.inventory as Record<string, JsonObject> | undefined) };
  }
}

function parse(bytes: Uint8Array): Record<string, JsonObject[string]> | null {
  if (bytes.length > limits.inventoryBytes) return null;
  try {
    const value: unknown = JSON.parse(Buffer.from(bytes).toString('utf8'));
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Record<string, JsonObject[string]>) : null;
  } catch {
    return null; // from outside, and not what it claims to be
  }
}
