/** Every limit on input from outside, with its unit in its name. One file, so that a reviewer sees them all. */
export const limits = {
  /** One YAML file in the declarations. */
  documentBytes: 256 * 1024,
  /** Documents in one YAML file. */
  documentsPerFile: 100,
  /** Nesting of one YAML document. */
  documentDepth: 40,
  /** Entries in one mapping or list of a YAML file. */
  documentEntries: 5_000,
  /** Problems named for one document. */
  problemsPerDocument: 20,
  /** Aliases in one Compose file. */
  composeAliases: 200,
  /** Values in one Compose file after its aliases are followed. */
  composeValues: 50_000,
  /** Characters in all values of one Compose file after its aliases are followed. */
  composeChars: 4 * 1024 * 1024,
  /** A file that is shipped to a target (deployment.files, override). */
  shippedFileBytes: 1024 * 1024,
  /** A raw Git commit object. */
  commitBytes: 256 * 1024,
  /** An armoured signature. */
  signatureBytes: 16 * 1024,
  /** An armoured OpenPGP certificate, and packets in it. */
  certificateBytes: 64 * 1024,
  certificatePackets: 300,
  /** OpenPGP signatures that are verified together, and bytes that they sign. */
  openPgpBatch: 500,
  openPgpBatchBytes: 8 * 1024 * 1024,
  /** Waiting for the answers to one batch; a machine that is busy with other things still keeps it. */
  openPgpAnswerMs: 10_000,
  /** Waiting for the verifier of OpenPGP signatures to start. */
  openPgpStartMs: 60_000,
  /** Answers about OpenPGP signatures that a process remembers. */
  openPgpAnswers: 20_000,
  /** Distinct public keys that one key cache remembers. */
  keyCacheEntries: 10_000,
  /** Modulus of an RSA key: OpenSSL refuses longer ones as well. */
  rsaBitsMax: 16_384,
  /** A token of an identity issuer, how long one may live, and how old it may be when its release is locked: a pull request lies in between. */
  identityTokenChars: 8 * 1024,
  identityTokenSeconds: 86_400,
  identityTokenAgeSeconds: 7 * 86_400,
  /** Signatures on one document. */
  signaturesPerDocument: 16,
  /** One evidence record (envelope file). */
  recordBytes: 4 * 1024 * 1024,
  /** Artifacts of the log that a process holds in memory. */
  artifactCacheBytes: 32 * 1024 * 1024,
  /** Records read from the evidence branch at a time. */
  recordsPerRead: 2_000,
  /** Commits on the evidence branch. */
  evidenceCommits: 10_000_000,
  /** One artifact on the evidence branch. */
  artifactBytes: 4 * 1024 * 1024,
  /** A manifest or index from a registry. */
  manifestBytes: 4 * 1024 * 1024,
  /** A layer blob. */
  layerBytes: 4 * 1024 * 1024 * 1024,
  /** All files of one unpacked component. */
  unpackedBytes: 8 * 1024 * 1024 * 1024,
  /** Entries in one unpacked component. */
  unpackedEntries: 200_000,
  /** Tags listed for one repository. */
  tagsPerRepository: 10_000,
  /** Redirects followed for one registry request. */
  redirects: 5,
  /** Layers of one image, and manifests of one multi-platform index. */
  layersPerImage: 512,
  /** An error body or a token answer of a registry. */
  registryAnswerBytes: 64 * 1024,
  /** Tries of one registry request, the first included. */
  registryAttempts: 4,
  /** Orders of one run to one target that an auditor looks for. */
  triesPerTarget: 100,
  /** What a server answers to `stella status --server`. */
  statusAnswerBytes: 16 * 1024 * 1024,
  /** The longest Retry-After that is waited for in place. */
  registryRetryAfterMs: 60_000,
  /** Symbolic links followed for one path of a layer. */
  linksPerPath: 40,
  /** The path of one entry of a layer. */
  layerPathBytes: 4096,
  /** One line of output of a command on a target; a longer one is left out. */
  commandLineBytes: 64 * 1024,
  /** A webhook body. */
  webhookBytes: 1024 * 1024,
  /** Deliveries of webhooks that are remembered, and characters in the id of one. */
  webhookDeliveries: 10_000,
  deliveryIdChars: 128,
  /** Open pull requests of a forge that are looked at, and comments of one of them. */
  forgeProposals: 1_000,
  forgeComments: 1_000,
  /** One answer of a forge; a request to it with its answer; tries of one that only reads, the first included. */
  forgeAnswerBytes: 16 * 1024 * 1024,
  forgeTimeoutMs: 30_000,
  forgeAttempts: 3,
  /** The longest that a forge can make us wait when it says that we ask too often, and what we wait when it does not say how long. */
  forgeRetryAfterMs: 3_600_000,
  forgeDefaultRetryMs: 60_000,
  /** Answers of a forge that are remembered to ask whether they still hold, and characters in them. */
  forgeKeptAnswers: 1_000,
  forgeKeptChars: 16 * 1024 * 1024,
  /** Plain branches that are planned; refs of a merge queue; open forks that are looked at; merged pull requests that are followed. */
  proposalBranches: 500,
  queueRefs: 100,
  openForks: 100,
  mergedProposals: 100,
  /** Planning, and writing to a forge, before a pass over proposals looks for news again. */
  proposalPlanningMs: 2_000,
  proposalPublishingMs: 5_000,
  /** The text of one plan on the branch with plans. */
  publishedPlanChars: 1024 * 1024,
  /** A plan that could not be made is tried again. */
  proposalRetryMs: 60_000,
  /** Accounts that are looked up for one fork, because they ask for its plan. */
  forkRequesters: 20,
  /** Listing what is proposed, and requests about comments of forks: so often at once, and once more after so long. Strangers decide how often there is cause. */
  proposalListings: { burst: 120, everyMs: 2_000 },
  forkRequests: { burst: 200, everyMs: 2_000 },
  /** How long a fork's head must have been there before a request that names no commit means it. */
  forkHeadSeenMs: 60_000,
  /** Comments of a fork without news are read again. */
  forkRereadMs: 600_000,
  /** Tips and runs that are remembered to tell what became of a merged pull request. */
  trailEntries: 10_000,
  /** A request to the API without an answer or an end. */
  httpRequestMs: 30_000,
  /** Waiting for Postgres before readiness says no. */
  readinessMs: 3_000,
  /** One gRPC message. */
  grpcMessageBytes: 16 * 1024 * 1024,
  /** Approval branches looked at in one reconcile, and approvals read from one of them. */
  approvalBranches: 1_000,
  approvalsPerBranch: 100,
  /** Documents read from one branch with stops. */
  documentsPerStop: 100,
  /** Approvals, and as many rejections, that one person can have in the log with one key for one environment and application until its next run has ended. */
  approvalsPerPerson: 100,
  /** Of one key about changes that have not come into force, whichever (T31). Those that do are no longer counted. */
  changeApprovalsPerKey: 300,
  /** Commits walked to find the requesters of one promotion. */
  requesterCommits: 10_000,
  /** Commits of the target branch that are read at once. */
  historyCommits: 1_000_000,
  /** Of one candidate that is planned: documents' files that it changes, commits of its own, environments with an application that it touches. */
  candidateDocuments: 2_000,
  candidateCommits: 2_000,
  /** Documents in these files, and of one plan findings and characters of all differences. */
  candidateKeys: 5_000,
  planFindings: 1_000,
  planDiffChars: 2 * 1024 * 1024,
  /** Paths that these commits change, each counted for each of them; paths of commits that are remembered. */
  candidatePaths: 500_000,
  touchedPaths: 2_000_000,
  /** Of one plan on a server: bytes of documents that are parsed for it, and waiting for registries. */
  planDocumentBytes: 16 * 1024 * 1024,
  planRegistryMs: 10_000,
  plannedSubjects: 500,
  /** Of a difference that is shown: bytes of one side, edited lines, lines shown, and files of one promotion. */
  diffFileBytes: 64 * 1024,
  diffEdits: 1_000,
  diffLines: 300,
  diffFiles: 50,
  /** Commits of one release that are counted as missing in another. */
  lineageCommits: 1_000,
  /** Targets of one plan. */
  targetsPerPlan: 1_000,
  /** Allowed difference between an agent's clock and the reconciler's. */
  clockSkewSeconds: 300,
  /** A registry request without an answer. */
  registryTimeoutMs: 30_000,
  /** A git network operation without progress. */
  gitTimeoutMs: 120_000,
  /** Files in one commit, and changed files between two. */
  treeEntries: 1_000_000,
  /** One raw Git tree object: the entries of one folder. */
  treeBytes: 16 * 1024 * 1024,
  /** Folders within folders in a commit. */
  treeDepth: 64,
  /** Output of one git command that ends (lists of references or commits). */
  gitOutputBytes: 64 * 1024 * 1024,
  /** The list of references that a git server answers with. */
  refListBytes: 16 * 1024 * 1024,
  /** A Git reference name. */
  refNameChars: 512,
  /** A Git URL. */
  gitUrlChars: 2_048,
  /** What a remote says in a refusal, as kept in messages. */
  remoteMessageChars: 4_000,
  /** A certificate request of an agent. */
  certificateRequestBytes: 16 * 1024,
  /** Orders that wait or run on one agent. */
  ordersPerAgent: 1_000,
  /** Orders of one step that an agent may answer with "the allow has lapsed" before that is its last word. */
  lapsedOrders: 10,
  /** A secret's value read from a file. */
  secretBytes: 64 * 1024,
  /** One segment file of an agent's journal. */
  journalSegmentBytes: 8 * 1024 * 1024,
  /** Segments that it is kept in; then one line says what all of them said. */
  journalSegments: 4,
  /** Newest receipts from which it answers a repeated order. */
  journalReceipts: 1_000,
  /** Lines in one progress message, and characters in one line. */
  progressLines: 200,
  progressLineChars: 2_000,
  /** An agent's stream that has not said Hello. */
  helloTimeoutMs: 10_000,
  /** One object of the object store. */
  objectBytes: 64 * 1024 * 1024,
  /** An artifact that is mirrored into Postgres with its bytes; a larger one lies on the evidence branch only. */
  mirroredArtifactBytes: 64 * 1024,
  /** The JSON of one job, of one state of a run, of an agent's inventory. */
  jobPayloadBytes: 64 * 1024,
  runStateBytes: 1024 * 1024,
  inventoryBytes: 1024 * 1024,
  /** Notifications that wait to be sent; further ones are dropped, with a condition. How old one may be when it is told or sent; tries of one, the first included. */
  notificationsWaiting: 5_000,
  notificationAgeMs: 24 * 3_600_000,
  notificationAttempts: 10,
  /** Sending one notification; what the receiver answers. */
  notificationSendMs: 30_000,
  notificationAnswerBytes: 16 * 1024,
  /** Items of one page of a list. */
  pageItems: 500,
  /** One SQL statement of the application; one connection attempt; waiting for a lock. */
  sqlStatementTimeoutMs: 30_000,
  sqlConnectTimeoutMs: 10_000,
  sqlLockTimeoutMs: 10_000,
  /** The embedded Postgres: until it answers (crash recovery included), and until it has ended. */
  postgresStartMs: 60_000,
  postgresStopMs: 10_000,
  /** One call of the Compose command. */
  composeTimeoutMs: 600_000,
  /** One image pulled by a container engine. */
  pullTimeoutMs: 1_800_000,
} as const;
