import { limits } from '../../core/model/limits.ts';

type KeptAnswer = { readonly etag: string; readonly headers: Headers; readonly text: string };

/**
 * Answers that came with an ETag. Asking whether one still holds costs a forge little, and on some nothing of what they let us ask. The one that
 * was not asked for longest gives way.
 */
export class KeptAnswers {
  readonly #answers = new Map<string, KeptAnswer>();
  #chars = 0;

  find(url: string): KeptAnswer | null {
    const answer = this.#answers.get(url);
    if (answer === undefined) return null;
    this.#answers.delete(url);
    this.#answers.set(url, answer);
    return answer;
  }

  keep(url: string, { etag, headers, text }: { readonly etag: string | null; readonly headers: Headers; readonly text: string }): void {
    this.#forget(url);
    if (etag === null || text.length > limits.forgeKeptChars / 4) return;
    this.#answers.set(url, { etag, headers, text });
    this.#chars += text.length;
    for (const oldest of this.#answers.keys()) {
      if (this.#answers.size <= limits.forgeKeptAnswers && this.#chars <= limits.forgeKeptChars) return;
      this.#forget(oldest);
    }
  }

  #forget(url: string): void {
    this.#chars -= this.#answers.get(url)?.text.length ?? 0;
    this.#answers.delete(url);
  }
}
