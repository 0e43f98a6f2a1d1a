import { expect, test } from 'vitest';
import { makeLog } from '../src/log/log.ts';
import { leaked, leakIn, liveKitSecret, watch } from './support/canary.ts';

const token = ['eyJhbGciOiJIUzI1NiJ9', 'eyJ2aWRlbyI6e319', '1C2SlDwJwmVyi6m01fIziAsXhxoG2x64'].join('.');
const line = (fields: object) => `{"level":"info",${JSON.stringify(fields).slice(1)}`;

test.each([
  ['a known secret in a line of the log', line({ msg: `with ${liveKitSecret}` })],
  ['a known secret in what a program prints', `LIVEKIT_API_SECRET=${liveKitSecret}`],
  ['the secret of a gateway key', line({ key: { value: 'app-a-secret-that-only-these-tests-know' } })],
  ['a signed token', line({ url: `/ws?token=${token}` })],
  ['a token of rooms in memory', line({ msg: 'client-token-of-ada' })],
  ['what stands by the name of a secret', line({ answer: { resume_token: 'x' } })],
])('%s is found', (_, text) => {
  watch(text);
  const found = leaked();
  expect(found).toHaveLength(1);
  expect(found[0]).toContain('is found');
  expect(leakIn(found[0] ?? '')).toBeUndefined();
});

test.each([line({ msg: 'session ready', token: '[Redacted]', session_id: 's1' }), `{"type":"SessionReady","access_token":"${token}"}`])(
  'in %s nothing is',
  (text) => {
    watch(text);
    expect(leaked()).toEqual([]);
  },
);

test('the log of the gateway passes', () => {
  makeLog('trace', { write: watch }).info({ answer: { access_token: 'client-token-of-ada', list: [{ token }] }, url: `x?${token}` }, token);
  expect(leaked()).toEqual([]);
});
