import { BlockList } from 'node:net';
import { networkInterfaces } from 'node:os';

const loopback = new BlockList();
loopback.addSubnet('127.0.0.0', 8, 'ipv4');
loopback.addAddress('::1', 'ipv6');
loopback.addSubnet('::ffff:127.0.0.0', 104, 'ipv6');

/** Whether an address, as a socket names it, is this machine's own. */
export const isLoopback = (address: string) => loopback.check(address, address.includes(':') ? 'ipv6' : 'ipv4');

/** Whether a host, as a configuration names it, is bound to this machine alone. */
export const isLoopbackHost = (host: string) => host === 'localhost' || isLoopback(host.replace(/^\[|\]$/g, ''));

/** Where what listens on a host can be reached from this machine: the address that stands for all of them is none to connect to. */
export function localUrl({ host, port, isTls }: { host: string; port: number; isTls: boolean }): string {
  const reached = host === '0.0.0.0' ? '127.0.0.1' : host === '::' ? '::1' : host;
  return `http${isTls ? 's' : ''}://${reached.includes(':') ? `[${reached}]` : reached}:${port}`;
}

/** Whether a connection to this address reaches what is bound to `bound`; both as a socket names them. */
export function isBoundAt(address: string, bound: string): boolean {
  if (bound !== '0.0.0.0' && bound !== '::') return address === bound.replace(/^::ffff:(?=\d+\.)/, '');
  return isLoopback(address) || Object.values(networkInterfaces()).some((all) => all?.some((own) => own.address === address));
}
