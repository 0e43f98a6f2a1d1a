import { BlockList } from 'node:net';
import { addNetwork, isIn, plain } from '../addresses.ts';

/** Says of a connection that was made why it may not be used; undefined: it may. `host`: as the URL names it. */
export type Guard = (host: string, socket: { remoteAddress?: string | undefined; remotePort?: number | undefined }) => string | undefined;

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
    // what ends in a number is an address in a URL, however it is written, and never a name
    if (/^[a-z0-9._-]+$/i.test(entry) && !/(^|\.)(\d+|0x[0-9a-f]*)\.?$/i.test(entry) && !/^[\d.]+-[\d.]+$/.test(entry)) {
      names.add(entry.toLowerCase());
      continue;
    }
    const fault = addNetwork(networks, entry);
    if (fault !== undefined) throw new RangeError(`${entry} ${fault}`);
  }
  return (host, { remoteAddress = '', remotePort }) => {
    const address = plain(remoteAddress);
    if (isOwn(address, remotePort)) return `${address}:${remotePort} is the gateway itself`;
    if (names.has(host.toLowerCase()) || isIn(networks, address)) return undefined;
    return `${address} is not an allowed address: add it, or its network, to microservices.allowed_networks`;
  };
}
