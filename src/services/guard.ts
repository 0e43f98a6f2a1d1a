import { BlockList, isIP, type Socket } from 'node:net';

/** Says of a connection that was made whether it may be used. `host`: as the URL names it. */
export type Guard = (host: string, socket: Pick<Socket, 'remoteAddress'>) => boolean;

/**
 * Makes the guard of outbound HTTP from a list of networks (10.0.0.0/8, ::1) and host names.
 * It is the connected address that counts, not what a name resolved to before, nor how an address was written; a listed name may lie anywhere.
 * @throws RangeError an entry that is neither
 */
export function guard(allowed: readonly string[]): Guard {
  const networks = new BlockList();
  const names = new Set<string>();
  for (const entry of allowed) {
    const [address = '', bits] = entry.split(/\/(?=\d+$)/);
    const family = isIP(address) === 6 ? 'ipv6' : 'ipv4';
    if (isIP(address) === 0) {
      if (!/^[a-z0-9._-]+$/i.test(entry)) throw new RangeError(`${entry} is neither a network nor a host name`);
      names.add(entry.toLowerCase());
    } else if (bits === undefined) networks.addAddress(address, family);
    else networks.addSubnet(address, Number(bits), family);
  }
  return (host, { remoteAddress = '' }) => {
    // BlockList knows no IPv4 addresses written as IPv6
    const address = remoteAddress.replace(/^::ffff:(?=\d+\.)/, '');
    return names.has(host.toLowerCase()) || networks.check(address, isIP(address) === 6 ? 'ipv6' : 'ipv4');
  };
}
