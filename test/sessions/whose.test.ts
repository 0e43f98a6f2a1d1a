import { describe, expect, test } from 'vitest';
import type { Input } from '../../src/sessions/inputs.ts';
import { roomClaim } from '../../src/sessions/record.ts';
import { offer, ready, Story, seen, served, terminating, waiting } from './build.ts';

const assignmentOf = (story: Story) => story.session.requirements[0]?.assignment;
/** What is said of the first service by the node that reaches it, or another. */
const gone = (node_id: string): Input => ({ type: 'ServiceGone', assignment_id: 'asr-1', incarnation: 1, node_id });
const ofNode = (node_id: string): Input => ({ ...offer('asr'), node_id }) as Input;

describe('what is said of a service', () => {
  test('by another node, which counts its registrations by itself, is not meant for it', () => {
    const story = waiting().happens(ofNode('node-1'), { type: 'Accepted', assignment_id: 'asr-1' });
    expect(story.decide(gone('node-2'))).toMatchObject({ ok: true, changed: false });
    story.happens(gone('node-1'));
    expect(assignmentOf(story)?.suspect).toMatchObject({ cause: 'socket' });
  });

  test('by the node that it came back to is meant for it, and by the old one no more', () => {
    const story = waiting().happens(ofNode('node-1'), { type: 'Accepted', assignment_id: 'asr-1' });
    story.happens({ type: 'ServiceBack', assignment_id: 'asr-1', service_id: 'asr', incarnation: 1, node_id: 'node-2' });
    expect(story.decide(gone('node-1'))).toMatchObject({ ok: true, changed: false });
    expect(story.decide(gone('node-2'))).toMatchObject({ ok: true, changed: true });
  });

  test('that left a session which never had it takes no other off the list of those that are leaving', () => {
    const story = terminating();
    const { leaving } = story.session;
    expect(leaving).not.toEqual([]);
    expect(story.decide({ type: 'ServiceLeft', assignment_id: 'nobody', clean: true })).toMatchObject({ ok: true, changed: false });
    expect(story.session.leaving).toEqual(leaving);
  });
});

test('a service that serves a session is given no second place in it: its slot is free again', () => {
  const story = new Story({ required: ['asr', 'llm'] }).happens({ type: 'RoomCreated', made: true }, ...served('asr'));
  const twin = offer('asr', 2, 1, 1);
  story.happens(twin);
  expect(story.session.requirements[1]?.assignment).toBeUndefined();
  expect(story.effects.at(-1)).toMatchObject({ do: 'release', assignment: { assignment_id: 'asr-2' } });
});

test('a session is active with its user, whoever else is in the room and came before', () => {
  const story = ready().happens(seen('asr', 'user'));
  expect(story.events.findLast(({ type }) => type === 'SessionActive')).toMatchObject({ participant: { identity: 'user' } });
});

test('at its end a session gives up the key it was made with, which may be used for the next', () => {
  const story = new Story({ room_name: 'lobby', idempotency: { key: 'k', claim: 'key:k', body_hash: 'h' } as never });
  const { claims } = story.happens({ type: 'RoomCreated', made: true }).session;
  expect(claims).toEqual(expect.arrayContaining(['key:k', roomClaim('lobby')]));
  story.happens({ type: 'End', reason: 'client_ended', by: 'client' });
  expect(story.session.claims).not.toContain('key:k');
});
