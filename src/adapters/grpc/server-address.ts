import { isIP } from 'node:net';
import { checkServerIdentity } from 'node:tls';
import type { ChannelOptions, VerifyOptions } from '@grpc/grpc-js';

/** `host:port` or `[v6]:port`. @throws RangeError for anything else. */
export function splitAddress(address: string): { readonly host: string; readonly port: number } {
  const match = /^(?:\[([^\]]+)\]|([^:]+)):(\d{1,5})$/.exec(address);
  const host = match?.[1] ?? match?.[2];
  if (host === undefined) throw new RangeError(`not host:port: ${address}`);
  return { host, port: Number(match?.[3]) };
}

/** What stands in a TLS greeting to a server that is known by its IP address only: RFC 6066 allows no address there. */
const NAMELESS = 'stella.invalid';

/**
 * How TLS to this address is verified: the certificate must be for the host that was asked for, be it a name or an IP address.
 * @throws RangeError for an address that is none
 */
export function tlsTo(address: string): { readonly verify: VerifyOptions; readonly channel: ChannelOptions } {
  const { host } = splitAddress(address);
  if (isIP(host) === 0) return { verify: {}, channel: {} };
  return { verify: { checkServerIdentity: (_, certificate) => checkServerIdentity(host, certificate) }, channel: { 'grpc.ssl_target_name_override': NAMELESS } };
}
