import { BlockList, isIP } from 'node:net';

/** Says of a connection that was made why it may not be used; undefined: it may. `host`: as the URL names it. */
export type Guard = (host: string, socket: { remoteAddress?: string | undefined; remotePort?: number | undefined }) => string | undefined;

/** An address without the ways in which IPv6 writes an IPv4 one: as ::ffff:127.0.0.1, in a URL as ::ffff:7f00:1. */
const plain = (address: string) =>
  address
    .replace(/^::ffff:(?=\d+\.)/, '')
    .replace(/^::ffff:([0-9a-f]{1,4}):([0-9a-f]{1,4})$/, (_, high: string, low: string) =>
      [high, low].flatMap((part) => [Number.parseInt(part, 16) >> 8, Number.parseInt(part, 16) & 255]).join('.'),
    );

/**
 * Makes the guard of outbound HTTP from a list of networks (10.0.0.0/8, ::1) and host names.
 * It is the connected address that counts, not what a name resolved to before, nor how an address was written; a listed name may lie anywhere.
 * @param isOwn whether the gateway itself answers there, which is never called: as a service it would have the operator's rights there
 * @throws RangeError an entry that is neither
 */
export function guard(allowed: readonly string[], isOwn: (address: string, port: number | undefined) => boolean = () => false): Guard {
  const networks = new BlockList();
  const names = new Set<string>();
  for (const entry of allowed) {
    const [address = '', bits] = entry.split(/\/(?=\d+$)/);
    const family = isIP(address) === 6 ? 'ipv6' : 'ipv4';
    if (isIP(address) === 0) {
      // what ends in a number is an address in a URL, however it is written, and never a name
      if (!/^[a-z0-9._-]+$/i.test(entry) || /(^|\.)(\d+|0x[0-9a-f]*)\.?$/i.test(entry) || /^[\d.]+-[\d.]+$/.test(entry)) {
        throw new RangeError(`${entry} is neither a network, as in 10.0.0.0/8, nor a host name`);
      }
      names.add(entry.toLowerCase());
    } else if (/^::ffff:/i.test(address)) {
      throw new RangeError(`${entry} never matches: write it as an IPv4 network`);
    } else if (bits !== undefined && Number(bits) > (family === 'ipv6' ? 128 : 32)) {
      throw new RangeError(`${entry} is not a network: the number after / is too large`);
    } else if (bits === undefined) networks.addAddress(address, family);
    else networks.addSubnet(address, Number(bits), family);
  }
  return (host, { remoteAddress = '', remotePort }) => {
    const address = plain(remoteAddress);
    if (isOwn(address, remotePort)) return `${address}:${remotePort} is the gateway itself`;
    if (names.has(host.toLowerCase()) || networks.check(address, isIP(address) === 6 ? 'ipv6' : 'ipv4')) return undefined;
    return `${address} is not an allowed address: add it, or its network, to microservices.allowed_networks`;
  };
}
