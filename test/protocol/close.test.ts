import { expect, test } from 'vitest';
import { Close, isPeersFault, verdict } from '../../protocol/close.ts';

const all = Object.entries(Close);

test.each(all)('%s has a code of the ranges whose meaning is the instruction', (_, { code }) => {
  expect(code).toBeGreaterThanOrEqual(4400);
  expect(code).toBeLessThanOrEqual(4599);
});

test('no two have the same reason, and only two the same code', () => {
  const codes = all.map(([, { code }]) => code).filter((code) => code !== Close.TooManyFragments.code);
  expect(codes).toHaveLength(all.length - 2);
  expect(new Set(codes).size).toBe(codes.length);
  expect(new Set(all.map(([, { reason }]) => reason)).size).toBe(all.length);
});

test.each(all)('the reason of %s fits into a close frame', (_, { reason }) => {
  expect(reason).not.toBe('');
  expect(Buffer.byteLength(reason)).toBeLessThanOrEqual(123);
});

test.each([
  ['BadMessage', 'stop'],
  ['Unauthenticated', 'stop'],
  ['TakenOver', 'stop'],
  ['TooManyRefused', 'stop'],
  ['TooManyFragments', 'stop'],
  ['TooSlow', 'reconnect'],
  ['Draining', 'reconnect'],
  ['CredentialExpired', 'reconnect'],
  ['Internal', 'back off'],
  ['Overloaded', 'back off'],
  ['AuthUnavailable', 'back off'],
  ['HandshakeTimeout', 'back off'],
  ['RateLimited', 'back off'],
] as const)('after %s a client does this: %s', (name, does) => {
  expect(verdict(Close[name].code)).toBe(does);
});

test.each([
  [1000, 'stop'],
  [1001, 'reconnect'],
  [1002, 'stop'],
  [1003, 'stop'],
  [1005, 'stop'],
  [1006, 'reconnect'],
  [1007, 'stop'],
  [1008, 'back off'],
  [1009, 'stop'],
  [1011, 'back off'],
  [1012, 'reconnect'],
  [1013, 'back off'],
  [1014, 'back off'],
  [1015, 'stop'],
  [3000, 'stop'],
  [4399, 'stop'],
  [4400, 'stop'],
  [4449, 'stop'],
  [4450, 'reconnect'],
  [4499, 'reconnect'],
  [4500, 'back off'],
  [4599, 'back off'],
  [4600, 'stop'],
] as const)('after %i a client does this: %s', (code, does) => {
  expect(verdict(code)).toBe(does);
});

test('the table of verdicts above names every close code', () => {
  expect(all.map(([name]) => name)).toEqual([
    'BadMessage',
    'Unauthenticated',
    'TakenOver',
    'TooManyRefused',
    'TooManyFragments',
    'TooSlow',
    'Draining',
    'CredentialExpired',
    'Internal',
    'Overloaded',
    'AuthUnavailable',
    'HandshakeTimeout',
    'RateLimited',
  ]);
});

test('these are the closes for what a peer sent', () => {
  const own = all.filter(([, { code }]) => isPeersFault(code)).map(([name]) => name);
  expect(own).toEqual(['BadMessage', 'TooManyRefused', 'TooManyFragments', 'RateLimited']);
  expect([1000, 1001, 1002, 1003, 1005, 1006, 1007, 1008, 1009, 1011].filter(isPeersFault)).toEqual([1002, 1003, 1007, 1009]);
});
