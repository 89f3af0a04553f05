/** Which hosts may be connected to: null for all, else `host` or `host:port`. */
export type NotifyNetwork = { readonly allowedHosts: readonly string[] | null };

/** @param host with its port, where it has one */
export function hostAllowed({ allowedHosts }: NotifyNetwork, host: string): boolean {
  return allowedHosts === null || allowedHosts.some((allowed) => allowed.toLowerCase() === host.toLowerCase() || allowed.toLowerCase() === host.toLowerCase().replace(/:\d+$/, ''));
}
