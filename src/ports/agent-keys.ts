/** Keys and certificates as an agent needs them; P-256 throughout. */
export interface AgentKeys {
  /** PKCS #8 PEM. */
  newPrivateKeyPem(): string;
  /** SPKI DER. @throws RangeError unless it is a P-256 key. */
  publicKeyDer(privateKeyPem: string): Uint8Array;
  /** PKCS #10, DER, signed with the key. */
  createCertificateRequest(identity: { readonly privateKeyPem: string; readonly agent: string }): Promise<Uint8Array>;
  /**
   * A chain from the server, if its leaf is for this agent's name and key and signed by the pinned authority; else null.
   * @param p.chain DER, leaf first. @param p.authorityPem PEM.
   */
  chainForIdentity(p: {
    readonly chain: readonly Uint8Array[];
    readonly agent: string;
    readonly privateKeyPem: string;
    readonly authorityPem: string;
  }): { readonly certificateChainPem: string; readonly notAfter: Date } | null;
}
