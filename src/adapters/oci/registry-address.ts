import { RegistryError } from '../../ports/blob-source.ts';
import { quoted } from './reference.ts';

/** Which hosts may be connected to at all. Offline, only `allowedHosts` (`name` or `name:port`), everything else is refused. */
export type Network = { readonly offline: false } | { readonly offline: true; readonly allowedHosts: readonly string[] };

/** The one registry that a client talks to. */
export type RegistryAddress = { readonly origin: URL; readonly insecure: boolean };

/**
 * @param registry `host`, `host:port`, or a URL without a path
 * @param insecure allows http to this registry although it is not on this machine
 * @throws RegistryError `InvalidReference`
 */
export function parseRegistryAddress(registry: string, insecure: boolean): RegistryAddress {
  const url = URL.parse(/^https?:\/\//.test(registry) ? registry : `https://${registry}`);
  if (url === null || url.username !== '' || url.password !== '' || url.pathname !== '/' || url.search !== '' || url.hash !== '') {
    throw new RegistryError('InvalidReference', 'stall', `${quoted(registry)} is not a registry address: write host, host:port or https://host:port`);
  }
  if (url.protocol === 'http:' && !insecure && !isLoopback(url)) {
    throw new RegistryError('InvalidReference', 'stall', `${url.origin} is not encrypted: use https, or set insecure: true for this registry`);
  }
  return { origin: url, insecure };
}

/** Whether the URL names this machine itself. A name that merely resolves to it does not count: resolving can change. */
export function isLoopback(url: URL): boolean {
  return url.hostname === 'localhost' || url.hostname === '[::1]' || /^127\.\d{1,3}\.\d{1,3}\.\d{1,3}$/.test(url.hostname);
}

/**
 * The URL of a redirect, resolved against where it came from.
 * @throws RegistryError `RedirectRefused` for anything but https, or http where the registry itself is reached by http.
 */
export function redirectTarget(address: RegistryAddress, from: URL, location: string | null): URL {
  const target = location === null ? null : URL.parse(location, from.href);
  if (target === null) throw redirectRefused(`${from.origin} redirects to nowhere`);
  // A public registry that sends us to http on our own machine or network is attacking what listens there.
  const plainAllowed = address.origin.protocol === 'http:' && (address.insecure || isLoopback(target));
  const allowed = target.protocol === 'https:' || (target.protocol === 'http:' && plainAllowed);
  if (!allowed || target.username !== '' || target.password !== '') {
    throw redirectRefused(`${from.origin} redirects to ${quoted(target.origin)}, which is not https`);
  }
  target.hash = '';
  return target;
}

/** @throws RegistryError `OfflineRefused`: offline is configuration, and a connection outside it is never tried. */
export function requireReachable(network: Network, url: URL): void {
  if (!network.offline) return;
  const allowed = network.allowedHosts.some((host) => host.toLowerCase() === url.hostname || host.toLowerCase() === url.host);
  if (allowed) return;
  throw new RegistryError('OfflineRefused', 'stall', `offline: true refuses the connection to ${url.host}; name this host as allowed, or use an image layout folder`);
}

/** @throws nothing; the error for redirects that are not followed */
export function redirectRefused(why: string): RegistryError {
  return new RegistryError('RedirectRefused', 'stall', `${why}; the redirect is not followed`);
}
