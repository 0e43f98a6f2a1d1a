import { expect, test } from 'vitest';
import { answerText } from '../../src/socket/frames.ts';

test.each([
  [{ type: 'A', body: { b: 1, c: '}' } }, '1', undefined, { type: 'A', id: '1', b: 1, c: '}' }],
  [{ type: 'A', body: {} }, undefined, undefined, { type: 'A' }],
  [{ type: 'A', body: { absent: undefined } }, '"', undefined, { type: 'A', id: '"' }],
  [{ type: 'A', body: {} }, '1', ['x'], { type: 'A', id: '1', ignored: ['x'] }],
])('the answer %j to %s is valid JSON, also where none of its fields is there', (answer, id, ignored, expected) => {
  expect(JSON.parse(answerText(answer, id, ignored))).toEqual(expected);
});
