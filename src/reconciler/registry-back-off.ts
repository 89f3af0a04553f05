import { documentDigest, type RegistryDocument } from '../core/model/documents.ts';
import type { DigestResolver, RegistryRefusal } from '../ports/digest-resolver.ts';
import type { ResolveRegistry } from './pass.ts';

type Asked = Parameters<DigestResolver['resolve']>[0];
type Failure = { readonly refusal: RegistryRefusal; readonly pauseMs: number; readonly againAt: number };

const FIRST_PAUSE_MS = 2_000;
const LONGEST_PAUSE_MS = 5 * 60_000;

/**
 * Registries that are not asked in every pass for what they did not give: each tag after a pause that doubles with every refusal. A tag that
 * is asked for the first time, and an Integration that was edited, are asked at once.
 */
export class RegistryBackOff {
  readonly #registry: ResolveRegistry;
  readonly #now: () => Date;
  readonly #failures = new Map<string, Failure>();

  constructor(registry: ResolveRegistry, now: () => Date) {
    this.#registry = registry;
    this.#now = now;
  }

  readonly resolverOf: ResolveRegistry = async (integration) => {
    const resolver = await this.#registry(integration);
    return {
      resolve: (asked) => this.#resolve(resolver, integration, asked),
      exists: (reference) => resolver.exists(reference),
      listTags: (repository) => resolver.listTags(repository),
    };
  };

  /** When the next pause ends, milliseconds since 1970; null when nothing pauses. */
  nextDue(): number | null {
    const now = this.#now().getTime();
    // What nobody has asked for since its pause ended is nobody's business any more.
    const pausing = [...this.#failures.values()].map(({ againAt }) => againAt).filter((at) => at > now);
    return pausing.length === 0 ? null : Math.min(...pausing);
  }

  async #resolve(resolver: DigestResolver, integration: RegistryDocument, asked: Asked): ReturnType<DigestResolver['resolve']> {
    const key = `${documentDigest(integration)} ${asked.repository}:${asked.tag}`;
    const before = this.#failures.get(key);
    const now = this.#now().getTime();
    if (before !== undefined && now < before.againAt) return before.refusal;
    const answer = await resolver.resolve(asked);
    if (answer.ok) {
      this.#failures.delete(key);
      return answer;
    }
    const pauseMs = before === undefined ? FIRST_PAUSE_MS : Math.min(before.pauseMs * 2, LONGEST_PAUSE_MS);
    const againAt = now + pauseMs;
    const refusal = { ...answer, message: `${answer.message}; it is asked again at ${new Date(againAt).toISOString()}` };
    this.#failures.set(key, { refusal, pauseMs, againAt });
    this.#forget(now);
    return refusal;
  }

  #forget(now: number): void {
    for (const [key, { againAt }] of this.#failures) if (now - againAt > LONGEST_PAUSE_MS) this.#failures.delete(key);
  }
}
