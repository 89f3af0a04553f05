/** Every limit on input from outside, with its unit in its name. One file, so that a reviewer sees them all. */
export const limits = {
  /** One YAML file in the declarations. */
  documentBytes: 256 * 1024,
  /** Documents in one YAML file. */
  documentsPerFile: 100,
  /** Nesting of one YAML document. */
  documentDepth: 40,
  /** A file that is shipped to a target (deployment.files, override). */
  shippedFileBytes: 1024 * 1024,
  /** A raw Git commit object. */
  commitBytes: 256 * 1024,
  /** An armoured signature. */
  signatureBytes: 16 * 1024,
  /** Signatures on one document. */
  signaturesPerDocument: 16,
  /** One evidence record (envelope file). */
  recordBytes: 4 * 1024 * 1024,
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
  /** A webhook body. */
  webhookBytes: 1024 * 1024,
  /** One gRPC message. */
  grpcMessageBytes: 16 * 1024 * 1024,
  /** Approval branches looked at in one reconcile. */
  approvalBranches: 1_000,
  /** Commits walked to find the requesters of one promotion. */
  requesterCommits: 10_000,
  /** Targets of one plan. */
  targetsPerPlan: 1_000,
  /** Allowed difference between an agent's clock and the reconciler's. */
  clockSkewSeconds: 300,
  /** A registry request without an answer. */
  registryTimeoutMs: 30_000,
  /** A git network operation without progress. */
  gitTimeoutMs: 120_000,
} as const;
