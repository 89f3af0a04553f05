import Docker from 'dockerode';
import { limits } from '../../core/model/limits.ts';
import { ComposeError } from './compose-error.ts';
import { familiarName, type PinnedImage } from './lock-file.ts';

/** Credentials of a registry by value. @param host as it stands in the image's name */
export type RegistryAuth = (host: string) => Promise<{ readonly username: string; readonly password: string } | null>;

export type ProjectContainer = {
  readonly id: string;
  readonly service: string;
  /** created, running, restarting, exited, … */
  readonly state: string;
  readonly exitCode: number;
  readonly startedAt: string;
  /** null: the container has no health check. */
  readonly health: string | null;
  readonly restarts: boolean;
  /** `repository@sha256:…` of its image, as the engine knows it. */
  readonly repoDigests: readonly string[];
};

const PROJECT_LABEL = 'com.docker.compose.project';
const SERVICE_LABEL = 'com.docker.compose.service';

/** The container engine at one socket. */
export class Engine {
  readonly #docker: Docker;
  readonly #socket: string;

  constructor(socket: string) {
    this.#docker = new Docker({ socketPath: socket });
    this.#socket = socket;
  }

  /** @throws ComposeError EngineUnreachable */
  async requireReachable(): Promise<void> {
    try {
      await this.#docker.ping();
    } catch (cause) {
      throw new ComposeError('EngineUnreachable', `no container engine answers at ${this.#socket}: start it, or correct the target's socket and the agent's rights on it`, { cause });
    }
  }

  /**
   * Makes sure that an image is there under exactly its digest.
   * @throws ComposeError ImagePullFailed, ImageDigestMismatch
   */
  async ensureImage(image: PinnedImage, auth: RegistryAuth, progress: (line: string) => void): Promise<void> {
    if (await this.#has(image)) return;
    const reference = `${image.repository}@${image.digest}`;
    progress(`pulling ${reference}`);
    try {
      const credentials = await auth(registryOf(image.repository));
      const options = { abortSignal: AbortSignal.timeout(limits.pullTimeoutMs), ...(credentials === null ? {} : { authconfig: { ...credentials, serveraddress: registryOf(image.repository) } }) };
      await this.#follow(await this.#docker.pull(reference, options));
    } catch (cause) {
      const why = cause instanceof Error ? cause.message : String(cause);
      throw new ComposeError('ImagePullFailed', `${reference} cannot be pulled: ${why}. Nothing was changed on the target`, { cause });
    }
    if (await this.#has(image)) return;
    throw new ComposeError('ImageDigestMismatch', `the engine does not know ${reference} after pulling it. Nothing was changed on the target`);
  }

  async #has(image: PinnedImage): Promise<boolean> {
    const wanted = `${familiarName(image.repository)}@${image.digest}`;
    const known = await this.#repoDigests(`${image.repository}@${image.digest}`);
    return known.some((repoDigest) => familiarName(repoDigest) === wanted);
  }

  async #repoDigests(imageId: string): Promise<readonly string[]> {
    try {
      return (await this.#docker.getImage(imageId).inspect()).RepoDigests ?? [];
    } catch (cause) {
      if ((cause as { statusCode?: number }).statusCode === 404) return [];
      throw cause;
    }
  }

  /** Some engines answer 200 to a pull and report its failure in the stream. */
  #follow(stream: NodeJS.ReadableStream): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#docker.modem.followProgress(stream, (error: Error | null, events: { error?: string }[] | undefined) => {
        const failed = events?.find((event) => event.error !== undefined)?.error;
        if (error !== null) reject(error);
        else if (failed !== undefined) reject(new Error(failed));
        else resolve();
      });
    });
  }

  /** All containers of a Compose project, stopped ones too. */
  async containersOf(project: string): Promise<readonly ProjectContainer[]> {
    const listed = await this.#docker.listContainers({ all: true, filters: { label: [`${PROJECT_LABEL}=${project}`] } });
    const found = await Promise.all(listed.map((container) => this.#inspect(container.Id)));
    return found.filter((container) => container !== null);
  }

  async #inspect(id: string): Promise<ProjectContainer | null> {
    try {
      const { State, Config, HostConfig, Image } = await this.#docker.getContainer(id).inspect();
      return {
        id,
        service: Config.Labels[SERVICE_LABEL] ?? '',
        state: State.Status,
        exitCode: State.ExitCode,
        startedAt: State.StartedAt,
        health: State.Health?.Status ?? null,
        restarts: !['', 'no'].includes(HostConfig.RestartPolicy?.Name ?? ''),
        repoDigests: await this.#repoDigests(Image),
      };
    } catch (cause) {
      if ((cause as { statusCode?: number }).statusCode === 404) return null; // gone since it was listed
      throw cause;
    }
  }

  /** Last lines that a container wrote, for people. */
  async tailOf(id: string): Promise<readonly string[]> {
    const bytes = await this.#docker.getContainer(id).logs({ stdout: true, stderr: true, tail: 10 });
    return bytes.toString('utf8').split(/\r?\n/).map((line) => line.replace(/[^\t\x20-\x7e\u00a0-\uffff]/g, '').trim()).filter((line) => line !== '');
  }

  async removeContainer(id: string): Promise<void> {
    try {
      await this.#docker.getContainer(id).remove({ force: true });
    } catch (cause) {
      if ((cause as { statusCode?: number }).statusCode !== 404) throw cause;
    }
  }
}

/** The registry in an image's name, by Docker's own rule. */
export function registryOf(repository: string): string {
  const first = repository.split('/')[0] ?? '';
  return repository.includes('/') && (first.includes('.') || first.includes(':') || first === 'localhost') ? first : 'docker.io';
}
