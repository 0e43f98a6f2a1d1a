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
