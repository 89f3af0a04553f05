import { limits } from '../../core/model/limits.ts';
import type { RegistryRefusal, DigestResolver } from '../../ports/digest-resolver.ts';
import type { DocumentParser } from '../../ports/document-parser.ts';
import { GitError } from '../../ports/git-reader.ts';
import type { ResolveRegistry } from '../pass.ts';

/**
 * What the plan of one candidate may cost: a few kilobytes in a pack can be a gigabyte of documents, and each of a thousand releases a request to a
 * registry that does not answer. The other candidates, and everything else in this process, would wait for it. One plan at a time.
 */
export class PlanAllowance {
  readonly #most: { readonly documentBytes: number; readonly registryMs: number };
  #documentBytes = 0;
  #registryMs = 0;
  #isOwed = false;

  constructor(most = { documentBytes: limits.planDocumentBytes as number, registryMs: limits.planRegistryMs as number }) {
    this.#most = most;
  }

  /** The next plan begins. */
  begin(): void {
    this.#documentBytes = this.#most.documentBytes;
    this.#registryMs = this.#most.registryMs;
    this.#isOwed = false;
  }

  /** Whether a registry did not answer in time: later the plan may be another. */
  get isOwed(): boolean {
    return this.#isOwed;
  }

  /** Throws GitError `LimitExceeded` once documents are more than one candidate may bring. */
  parser(parser: DocumentParser): DocumentParser {
    return {
      parseFile: (file) => {
        this.#documentBytes -= file.bytes.length;
        if (this.#documentBytes < 0) throw new GitError('LimitExceeded', `its commits bring more than ${this.#most.documentBytes} bytes of documents`);
        return parser.parseFile(file);
      },
      parseCompose: (bytes) => parser.parseCompose(bytes),
    };
  }

  readonly registry = (registry: ResolveRegistry): ResolveRegistry => async (integration) => {
    const resolver = await registry(integration);
    return {
      resolve: (asked) => this.#within(() => resolver.resolve(asked)),
      exists: (reference) => this.#within(() => resolver.exists(reference)),
      listTags: (repository) => this.#within(() => resolver.listTags(repository)),
    } satisfies DigestResolver;
  };

  async #within<T extends { readonly ok: boolean }>(ask: () => Promise<T | RegistryRefusal>): Promise<T | RegistryRefusal> {
    const begunAt = performance.now();
    const answer = this.#registryMs <= 0 ? LATE : await firstOf(ask(), this.#registryMs);
    this.#registryMs -= performance.now() - begunAt;
    this.#isOwed ||= !answer.ok && 'disposition' in answer && answer.disposition === 'retry';
    return answer;
  }
}

const LATE: RegistryRefusal = {
  ok: false, code: 'RegistryUnreachable', disposition: 'retry', message: 'registries took too long for one plan; it is made again later',
};

/** What is asked goes on, and is of use when it is asked again. */
async function firstOf<T>(asked: Promise<T>, ms: number): Promise<T | RegistryRefusal> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<RegistryRefusal>((resolve) => { timer = setTimeout(() => resolve(LATE), ms); });
  try {
    return await Promise.race([asked, late]);
  } finally {
    clearTimeout(timer);
  }
}
