import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { Follower } from '../../src/client/follower.ts';

const golden = (name: string) => JSON.parse(readFileSync(join(import.meta.dirname, '../../protocol/golden', name), 'utf8'));

test('an end for a reason that this version does not know is an end, and names what was missing', async () => {
  const event = golden('SessionEnded/later-reasons.json');
  const follower = new Follower({ ...golden('NewSessionResponse/ok-waiting.json'), seq: event.seq - 1 });
  expect(follower.take(event)).toBe('taken');
  expect(await follower.ended).toMatchObject({ reason: 'moved_away', failures: [{ service: 'asr-1', reason: 'out_of_credit' }] });
  await expect(follower.ready).rejects.toThrow('the session is over: moved_away, not ready: asr-1 (out of credit)');
});

test('an end for want of services names them, in their own words', async () => {
  const event = golden('SessionEnded/ok-join-timeout.json');
  const follower = new Follower({ ...golden('NewSessionResponse/ok-waiting.json'), seq: event.seq - 1 });
  follower.take(event);
  const text = 'the session is over: join_timeout, not ready: nope (never registered), asr-1 (CUDA out of memory)';
  await expect(follower.ready).rejects.toThrow(text);
});
