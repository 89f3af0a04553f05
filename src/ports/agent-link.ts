/** What an agent says first on every stream. */
export type AgentHello = {
  readonly agent: string;
  readonly version: string;
  readonly capabilities: readonly string[];
  /** seq of the last protected change that it has accepted, -1 when none. */
  readonly protectedChangeSeq: number;
  readonly generations: readonly { readonly environment: string; readonly application: string; readonly target: string; readonly generation: number }[];
};

/** What an agent says after that. */
export type AgentSays =
  | { readonly case: 'progress'; readonly orderDigest: string; readonly lines: readonly string[] }
  /** Raw DSSE envelope. */
  | { readonly case: 'receipt'; readonly orderDigest: string; readonly envelope: Uint8Array }
  /** JSON bytes. */
  | { readonly case: 'inventory'; readonly target: string; readonly observed: Uint8Array }
  /** PKCS #10, DER. */
  | { readonly case: 'renewal-request'; readonly certificateRequest: Uint8Array };

export type LinkState =
  | { readonly state: 'connected' }
  /** `code` is the server's reason; null when nobody answered or TLS failed. */
  | { readonly state: 'waiting'; readonly code: string | null; readonly message: string; readonly retryMs: number };

export type AgentLinkOptions = {
  /** `host:port` of the server's channel listener. */
  readonly address: string;
  /** PEM of the authority pinned at enrolment; the only root. */
  readonly authorityPem: string;
  /** Asked at each connection, so that a renewed certificate is used. */
  readonly credentials: () => Promise<{ readonly privateKeyPem: string; readonly certificateChainPem: string }>;
  readonly hello: () => AgentHello;
  readonly onOrder: (order: { digest: string; target: string; bundle: Uint8Array }) => void;
  readonly onCancel: (orderDigest: string) => void;
  /** DER, leaf first. */
  readonly onRenewed: (chain: readonly Uint8Array[]) => void;
  readonly onState?: (state: LinkState) => void;
  /** A number in [0, 1), for jitter. */
  readonly random: () => number;
  readonly backOff?: { readonly firstMs: number; readonly maxMs: number };
};

/** An agent's connection to its server; connects, and connects again, until it is closed. */
export type AgentLink = {
  /** False when there is no stream: what is lost is asked for again by the server, and answered from the journal. */
  send(message: AgentSays): boolean;
  /** Drops the stream and connects at once with the present credentials. */
  reconnect(): void;
  close(): Promise<void>;
};

/** Starts the connection loop. */
export type OpenAgentLink = (options: AgentLinkOptions) => AgentLink;
