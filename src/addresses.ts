import { BlockList, isIP } from 'node:net';
import { networkInterfaces } from 'node:os';

const loopback = new BlockList();
loopback.addSubnet('127.0.0.0', 8, 'ipv4');
loopback.addAddress('::1', 'ipv6');
loopback.addSubnet('::ffff:127.0.0.0', 104, 'ipv6');

/** Whether an address, as a socket names it, is this machine's own. */
export const isLoopback = (address: string) => loopback.check(address, address.includes(':') ? 'ipv6' : 'ipv4');

/** Whether a host, as a configuration names it, is bound to this machine alone. */
export const isLoopbackHost = (host: string) => host === 'localhost' || isLoopback(host.replace(/^\[|\]$/g, ''));

/** An address without the ways in which IPv6 writes an IPv4 one: as ::ffff:127.0.0.1, in a URL as ::ffff:7f00:1. */
export const plain = (address: string) =>
  address
    .replace(/^::ffff:(?=\d+\.)/i, '')
    .replace(/^::ffff:([0-9a-f]{1,4}):([0-9a-f]{1,4})$/i, (_, high: string, low: string) =>
      [high, low].flatMap((part) => [Number.parseInt(part, 16) >> 8, Number.parseInt(part, 16) & 255]).join('.'),
    );

/** The address in text that may have a port behind it, and IPv6 in brackets. */
export function unported(text: string): string | undefined {
  const address = /^\[(.*)\](?::\d+)?$/.exec(text)?.[1] ?? text.replace(/^([\d.]+):\d+$/, '$1');
  return isIP(address) > 0 ? plain(address) : undefined;
}

/** Adds a network, as 10.0.0.0/8, or an address to a list. @returns what is wrong with it; undefined: nothing */
export function addNetwork(to: BlockList, entry: string): string | undefined {
  const [address = '', bits] = entry.split(/\/(?=\d+$)/);
  const family = isIP(address) === 6 ? 'ipv6' : 'ipv4';
  if (isIP(address) === 0) return 'is not a network, as in 10.0.0.0/8';
  if (/^::ffff:/i.test(address)) return 'never matches: write it as an IPv4 network';
  if (Number(bits ?? 0) > (family === 'ipv6' ? 128 : 32)) return 'is not a network: the number after / is too large';
  if (bits === undefined) to.addAddress(address, family);
  else to.addSubnet(address, Number(bits), family);
  return undefined;
}

/** Whether an address, however IPv6 writes it, is in a list. */
export function isIn(networks: BlockList, address: string): boolean {
  const written = plain(address);
  return networks.check(written, isIP(written) === 6 ? 'ipv6' : 'ipv4');
}

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
