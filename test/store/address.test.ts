import { expect, test } from 'vitest';
import { addressFault, severalHostsOf } from '../../src/store/address.ts';

test.each([
  ['redis-sentinel://a/m', undefined],
  ['redis-sentinel://u:p@a:1,b:2/m?sentinel_username=w&sentinel_password=p%2Fw', undefined],
  ['redis-sentinel://a/?sentinel_password=p', /name of the master/],
  ['redis-sentinel://a/m?password=p', /no parameters but sentinel_username and sentinel_password/],
  ['redis-cluster://a,b', undefined],
  ['redis-cluster://a/?sentinel_password=p', /takes no parameters/],
])('the address %s has the fault %s', (url, fault) => {
  const found = addressFault('redis', url);
  if (fault === undefined) expect(found).toBeUndefined();
  else expect(found).toMatch(fault);
});

test('the Sentinels of an address have a user and a password of their own', () => {
  const { name, username, password, query } = severalHostsOf('redis-sentinel://u:p@a:1/m?sentinel_password=a%26b+c') ?? {};
  expect({ name, username, password, sentinel: query?.get('sentinel_password') }).toEqual({
    name: 'm',
    username: 'u',
    password: 'p',
    sentinel: 'a&b+c',
  });
});

test.each([
  ['redis', 'redis:'],
  ['redis', 'redis://127.0.0.1:6379'],
  ['redis', 'redis://[::1]:6379/0'],
  ['redis', 'rediss://user:p%23ss@redis.example:6380/2'],
  // not encoded, and unmistakable
  ['redis', 'redis://:p@ss@127.0.0.1:6379'],
  ['redis', 'redis-sentinel://u:p#ss@a,b/mymaster'],
  ['redis', 'rediss-sentinel://u:p@a,b/mymaster'],
  ['postgres', 'postgres:'],
  ['postgres', 'postgresql://u:p%23@db.example:5432/gateway?sslmode=require&pool_max=5'],
  ['postgres', 'postgres:///gateway?host=/var/run/postgresql'],
  ['mine', 'anything at all'],
])('%s takes %s', (name, url) => {
  expect(addressFault(name, url)).toBeUndefined();
});

const encoded = 'is not a valid URL: in a user name or password write # as %23, / as %2F, ? as %3F, @ as %40 and % as %25';
const ofHosts = encoded.replace('URL', 'URL of hosts separated by commas');
test.each([
  ['redis', 'redis://:s3#cret@127.0.0.1:6379', encoded],
  ['redis', 'redis://:s3/cret@127.0.0.1:6379', encoded],
  ['redis', 'redis://:s3?cret@127.0.0.1:6379', encoded],
  ['redis', 'redis://:s3%cret@127.0.0.1:6379', encoded],
  // its first part would be the host and its port
  ['redis', 'redis://s3cret:1/x@127.0.0.1:6379', encoded],
  ['postgres', 'postgres://u:s3%cret@127.0.0.1/db', encoded],
  ['postgres', 'postgres://u%:s3cret@127.0.0.1/db', encoded],
  ['postgres', 'postgres://u:s3cret@127.0.0.1/d%b', encoded],
  ['postgres', 'postgres://u:1#s3cret@127.0.0.1/db', encoded],
  ['postgres', 'postgres://u:1?s3cret@127.0.0.1/db', encoded],
  ['postgres', 'postgres://u:s3#cret@127.0.0.1/db', encoded],
  ['redis', 'redis://127.0.0.1:6379#1', encoded.replace('is not a valid URL', 'has a # in it')],
  ['redis', 'redis://u:s3cret@h:70000', 'has a port that is not a number up to 65535'],
  ['redis', 'redis://h:6379x/0', 'has a port that is not a number up to 65535'],
  ['redis', 'redis-cluster://a:1,[::1]:70000', 'has a port that is not a number up to 65535'],
  ['postgres', 'postgres://u:s3cret@[::1]:70000/db', 'has a port that is not a number up to 65535'],
  [
    'redis',
    'redis://a:s3cret@h1:6379,h2:6379',
    'names several hosts (redis-sentinel:// and redis-cluster:// take several), of which redis:// takes one',
  ],
  ['redis', 'redis://127.0.0.1:6379/abc', 'must end in the number of a database, as in redis://host:6379/0, or in nothing'],
  ['redis', 'redis:127.0.0.1:6379', 'is not a URL, as in redis://user:password@host/0'],
  ['redis', 'redis-sentinel://:s3/cret@127.0.0.1:26379/mymaster', ofHosts],
  ['redis', 'redis-cluster://', ofHosts],
  ['postgres', 'postgres://u:s3cret@h1:5432,h2:5432/db', 'names several hosts, of which postgres:// takes one'],
  ['postgres', 'postgres://u:s3cret@h/db?pool_max=0', 'pool_max must be a whole number from 1 on'],
  ['postgres', 'postgres:u@h/db', 'is not a URL, as in postgres://user:password@host/0'],
])('%s cannot use %s, and what it says of it holds no password', (name, url, fault) => {
  expect(addressFault(name, url)).toBe(fault);
});
