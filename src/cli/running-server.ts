import type { Log } from './server-log.ts';

/** What a server needs of its process. */
export type ServerWorld = {
  readonly now: () => Date;
  readonly log: Log;
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** Number of this process. */
  readonly pid: number;
  readonly version: string;
  /** Whether a missing log may be begun (T30). */
  readonly createLog?: boolean;
  /** A number in [0, 1), for jitter. */
  readonly random?: () => number;
};

export type RunningServer = {
  readonly httpPort: number;
  readonly channelPort: number;
  readonly enrolmentPort: number;
  /** A one-time token, valid for an hour. @throws CliError `AgentNotInForce` */
  issueEnrolmentToken(agent: string): Promise<string>;
  /** Lets the pass that runs end, then closes everything. Runs are taken up at the next start. */
  close(): Promise<void>;
};
