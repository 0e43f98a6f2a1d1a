/** What a user name or password needs so that the URL ends where it should. */
const encoding = 'in a user name or password write # as %23, / as %2F, ? as %3F, @ as %40 and % as %25';
const severalHosts = /^redis(s?)-(sentinel|cluster):\/\/(?:([^:@/]*):([^@/]*)@)?([^/@]+)(?:\/(.*))?$/i;

/** What may follow the name of a master, behind a ?: the Sentinels have their own passwords. */
const ofSentinels = ['sentinel_username', 'sentinel_password'];

/** The parts of redis-sentinel://user:password@host:port,host:port/name?sentinel_password=... and redis-cluster://...; undefined: it is no such address. */
export function severalHostsOf(url: string) {
  const match = severalHosts.exec(url);
  if (!match) return undefined;
  const [, tls, kind, username, password, hosts = '', path = ''] = match;
  const [name = '', query = ''] = path.split(/\?(.*)/, 2);
  return {
    tls: tls !== '',
    kind: kind?.toLowerCase() as 'sentinel' | 'cluster',
    username,
    password,
    hosts: hosts.split(','),
    name,
    // a + is a +, as everywhere else in the URL
    query: new URLSearchParams(query.replaceAll('+', '%2B')),
  };
}

const badPort = 'has a port that is not a number up to 65535';
/** Whether a host has a port behind it that no URL can have. */
const hasBadPort = (host: string) => {
  const port = /^(?:\[[^\]]*\]|[^:[\]]*):(.*)$/.exec(host)?.[1];
  return port !== undefined && !(/^\d*$/.test(port) && Number(port) <= 65_535);
};

const decodes = (text: string) => {
  try {
    decodeURIComponent(text);
    return true;
  } catch {
    return false;
  }
};

/**
 * Why the address of a storage of ours cannot be used, in words that hold nothing of it: there may be a password in it.
 * @returns undefined: it can, as far as can be seen without connecting
 */
export function addressFault(name: string, url: string): string | undefined {
  if (name === 'redis') return /^rediss?-/i.test(url) ? severalFault(url) : redisFault(url);
  return name === 'postgres' ? postgresFault(url) : undefined;
}

/** What holds for one server of any kind. */
function urlFault(url: string, kind: string): string | undefined {
  // the scheme alone: where its driver looks by itself
  if (/^[^:]+:$/.test(url)) return undefined;
  const authority = /^[^:]+:\/\/([^/?#]*)/.exec(url)?.[1];
  if (authority === undefined) return `is not a URL, as in ${kind}://user:password@host/0`;
  const hosts = authority.slice(authority.lastIndexOf('@') + 1);
  if (!url.slice(url.indexOf(authority) + authority.length).includes('@')) {
    if (hosts.includes(',')) return `names several hosts, of which ${kind}:// takes one`;
    if (url.includes('#')) return `has a # in it: ${encoding}`;
    if (URL.canParse(url)) return undefined;
    if (hasBadPort(hosts)) return badPort;
  }
  return `is not a valid URL: ${encoding}`;
}

function redisFault(url: string): string | undefined {
  const fault = urlFault(url, 'redis');
  if (fault !== undefined) return fault.replace('several hosts', 'several hosts (redis-sentinel:// and redis-cluster:// take several)');
  const { username, password, pathname } = new URL(url);
  if (!decodes(username) || !decodes(password)) return `is not a valid URL: ${encoding}`;
  return /^\/?$|^\/\d+$/.test(pathname) ? undefined : 'must end in the number of a database, as in redis://host:6379/0, or in nothing';
}

function severalFault(url: string): string | undefined {
  const parts = severalHostsOf(url);
  const { username = '', password = '', hosts = [], name = '', kind, query } = parts ?? {};
  if (hosts.some(hasBadPort) && !name.includes('@')) return badPort;
  const areHosts = hosts.length > 0 && hosts.every((host) => /^[^#?]+$/.test(host) && URL.canParse(`redis://${host}`));
  if (!areHosts || !decodes(username) || !decodes(password)) return `is not a valid URL of hosts separated by commas: ${encoding}`;
  if (kind === 'sentinel' && name === '') return 'must end in the name of the master, as in redis-sentinel://host:26379/mymaster';
  const known = kind === 'sentinel' ? ofSentinels : [];
  const unknown = [...(query?.keys() ?? [])].some((key) => !known.includes(key));
  return unknown ? `takes ${known.length > 0 ? `no parameters but ${known.join(' and ')}` : 'no parameters'}` : undefined;
}

function postgresFault(url: string): string | undefined {
  const fault = urlFault(url, 'postgres');
  if (fault !== undefined) return fault;
  const { username, password, hostname, pathname, searchParams } = new URL(url);
  if (![username, password, hostname, pathname].every(decodes)) return `is not a valid URL: ${encoding}`;
  const poolMax = searchParams.get('pool_max');
  return poolMax === null || /^[1-9]\d*$/.test(poolMax) ? undefined : 'pool_max must be a whole number from 1 on';
}
