import { execFileSync } from 'node:child_process';

/** Branches of a bare repository as they are at each look, for a miniature forge that stands over it. */
export class LiveBranches extends Map<string, string> {
  readonly #folder: string;

  constructor(folder: string) {
    super();
    this.#folder = folder;
  }

  override get(name: string): string | undefined {
    try {
      return execFileSync('git', ['-C', this.#folder, 'rev-parse', '--verify', '--quiet', `refs/heads/${name}`]).toString().trim();
    } catch {
      return undefined;
    }
  }

  override has(name: string): boolean {
    return this.get(name) !== undefined;
  }
}
