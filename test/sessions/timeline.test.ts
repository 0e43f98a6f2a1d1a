import { describe, expect, test } from 'vitest';
import type { EventType } from '../../protocol/events.ts';
import { endReasons } from '../../protocol/states.ts';
import { dueAt } from '../../src/sessions/record.ts';
import {
  active,
  busy,
  clientEnds,
  creating,
  degraded,
  deleting,
  joining,
  offer,
  offered,
  present,
  readySaid,
  ready as readySession,
  type Story,
  seen,
  served,
  socketBreaks,
  socketComes,
  t0,
  terminated,
  terminating,
  waiting,
} from './build.ts';

const statusOf = (story: Story) => story.session.status;
const reasonOf = (story: Story) => story.session.ended?.reason;
const assignmentOf = (story: Story) => story.session.requirements[0]?.assignment;
const types = (story: Story): EventType[] => story.events.map((event) => event.type);

/** `make` is still where it was 1 ms before the deadline, and ended for this reason at it. */
function expectEndAt(story: Story, ms: number, reason: string): void {
  const before = statusOf(story);
  expect(statusOf(story.waits(ms - 1))).toBe(before);
  expect(reasonOf(story)).toBeUndefined();
  expect(reasonOf(story.waits(1))).toBe(reason);
}

describe('the services that did not serve', () => {
  const forServices = ['registration_timeout', 'join_timeout', 'service_lost'];

  test.each(endReasons)('are named at an end by %s only where they are why', (reason) => {
    const { ended } = waiting().happens({ type: 'End', reason, by: 'gateway' }).session;
    const isFor = forServices.includes(reason);
    expect(ended).toMatchObject({ missing: isFor ? ['asr'] : [] });
    expect(ended?.failures?.length).toBe(isFor ? 1 : undefined);
  });

  test('are not named where the time was over before there was a room', () => {
    const { ended } = creating().happens({ type: 'JoinTimeout' }).session;
    expect(ended).toMatchObject({ reason: 'join_timeout', missing: [] });
  });
});

describe('making the room', () => {
  test('a room that is not there after 10 s ends the session with livekit_error', () => {
    const story = creating();
    expectEndAt(story, 10_000, 'livekit_error');
    expect(statusOf(story)).toBe('Terminated');
    expect(story.session.ended?.error?.code).toBe('LIVEKIT_ERROR');
  });

  test('a room that is made after the create deadline is deleted', () => {
    const story = creating().waits(10_000);
    expect(story.count('deleteRoom')).toBe(0);
    story.happens({ type: 'RoomCreated', made: true });
    expect(story.count('deleteRoom')).toBe(1);
    expect(story.session.room?.state).toBe('deleting');
  });

  test('a room whose making is never answered is deleted 15 s after the end', () => {
    const story = creating().waits(10_000).waits(14_999);
    expect(story.count('deleteRoom')).toBe(0);
    expect(story.waits(1).count('deleteRoom')).toBe(1);
  });

  test('a room whose creation failed without an answer is deleted anyway', () => {
    const story = creating().happens({ type: 'RoomFailed', code: 'LIVEKIT_ERROR', message: 'no answer', made: true });
    expect(statusOf(story)).toBe('Terminated');
    expect(story.count('deleteRoom')).toBe(1);
  });

  test('a room that LiveKit refused to make is not deleted', () => {
    const story = creating().happens({ type: 'RoomFailed', code: 'LIVEKIT_ERROR', message: 'refused', made: false }).waits(60_000);
    expect(story.count('deleteRoom')).toBe(0);
  });

  test('a session ended while its room is being created deletes the room when it exists', () => {
    const story = creating().happens(clientEnds);
    expect(story.count('deleteRoom')).toBe(0);
    expect(story.happens({ type: 'RoomCreated', made: true }).count('deleteRoom')).toBe(1);
    expect(statusOf(story.happens({ type: 'RoomDeleted' }))).toBe('Terminated');
  });
});

describe('waiting for services', () => {
  test('a required id that was never registered ends the session after 30 s', () => {
    expectEndAt(waiting(), 30_000, 'registration_timeout');
  });

  test('a known service without a free slot is waited for until the join timeout', () => {
    expectEndAt(waiting().happens(busy('asr')), 60_000, 'join_timeout');
  });

  test('one unknown id among known ones ends the session after 30 s', () => {
    expectEndAt(waiting({ required: ['asr', 'llm'] }).happens(busy('asr')), 30_000, 'registration_timeout');
  });

  test('a service that accepted and is not ready in time ends the session with join_timeout', () => {
    expectEndAt(joining(), 60_000, 'join_timeout');
  });

  test('the join timeout is the one asked for, counted from the room', () => {
    const story = creating({ join_timeout_ms: 5_000 }).waits(3_000).happens({ type: 'RoomCreated', made: true }, busy('asr'));
    expectEndAt(story, 5_000, 'join_timeout');
  });

  test('no join timeout follows Ready', () => {
    expect(statusOf(active().waits(60_000))).toBe('Active');
  });

  test('a session that requires nothing is Ready with its room', () => {
    expect(statusOf(waiting({ required: [] }))).toBe('Ready');
  });

  test('a session is Ready when the last of its services is', () => {
    const story = waiting({ required: ['asr', 'llm'] }).happens(...served('asr'));
    expect(statusOf(story)).toBe('WaitingForServices');
    expect(statusOf(story.happens(...served('llm')))).toBe('Ready');
  });

  test('SessionReady reports how long each part took', () => {
    const story = creating()
      .waits(100)
      .happens({ type: 'RoomCreated', made: true })
      .waits(200)
      .happens(...served('asr'));
    expect(story.events.at(-1)).toMatchObject({
      type: 'SessionReady',
      timings: { room_ms: 100, services_ms: 300, total_ms: 300 },
    });
  });
});

describe('offers', () => {
  test('an offer without an answer fails after 10 s', () => {
    const story = offered().waits(9_999);
    expect(assignmentOf(story)?.status).toBe('Offered');
    expect(assignmentOf(story.waits(1))).toBeUndefined();
    expect(story.effects.slice(-3)).toMatchObject([
      { do: 'leave', assignment: { assignment_id: 'asr-1' } },
      { do: 'release', assignment: { assignment_id: 'asr-1' } },
      { do: 'dispatch' },
    ]);
  });

  test('an accepted offer does not fail after 10 s', () => {
    expect(assignmentOf(joining().waits(10_000))?.status).toBe('Joining');
  });

  test('a declined requirement is offered again after 1, 2, 4, 8, 10 and again 10 s', () => {
    const story = waiting({ join_timeout_ms: 600_000 });
    const pauses: number[] = [];
    for (let n = 1; n <= 6; n++) {
      story.happens(offer('asr', n), { type: 'Declined', assignment_id: `asr-${n}`, reason: 'declined', error: 'busy' });
      const asked = story.count('dispatch');
      const pause = (story.session.requirements[0]?.rests.asr?.until ?? 0) - story.now;
      expect(story.waits(pause - 1).count('dispatch')).toBe(asked);
      expect(story.waits(1).count('dispatch')).toBe(asked + 1);
      pauses.push(pause);
    }
    expect(pauses).toEqual([1_000, 2_000, 4_000, 8_000, 10_000, 10_000]);
  });

  test('a service that says when to ask again is not asked before', () => {
    const story = offered().happens({ type: 'Declined', assignment_id: 'asr-1', reason: 'declined', error: 'busy', retry_after_ms: 7_000 });
    const asked = story.count('dispatch');
    expect(story.waits(6_999).count('dispatch')).toBe(asked);
    expect(story.waits(1).count('dispatch')).toBe(asked + 1);
  });

  test('a ready service starts the pauses anew', () => {
    const story = waiting({ required: ['asr', 'llm'] });
    story.happens(offer('asr', 1), { type: 'Declined', assignment_id: 'asr-1', reason: 'declined', error: 'busy' });
    story.happens(...served('asr', 2), { type: 'ServiceFailed', assignment_id: 'asr-2', reason: 'failed', error: 'died' });
    expect(story.session.requirements[0]?.rests.asr?.until).toBe(story.now + 1_000);
  });

  test('each offer counts as an attempt', () => {
    const story = offered().happens({ type: 'Declined', assignment_id: 'asr-1', reason: 'declined', error: 'busy' }, offer('asr', 2));
    expect(assignmentOf(story)?.attempt).toBe(2);
  });
});

describe('the user', () => {
  test('a user who never joins ends the session 10 s before the room would be empty for too long', () => {
    // the room is kept for 300 s from its making
    expectEndAt(readySession(), 290_000, 'client_never_joined');
  });

  test('services that take long leave the user less time, not the room more', () => {
    const story = waiting()
      .waits(20_000)
      .happens(...served('asr'));
    expectEndAt(story, 270_000, 'client_never_joined');
  });

  test('a client join timeout is counted from Ready', () => {
    const story = waiting({ client_join_timeout_s: 30 })
      .waits(20_000)
      .happens(...served('asr'));
    expectEndAt(story, 30_000, 'client_never_joined');
  });

  test('a long client join timeout is kept whole: the room waits for it', () => {
    const story = waiting({ client_join_timeout_s: 3_600 });
    expect(story.session.room?.empty_timeout).toBe(60 + 3_600 + 20);
    expectEndAt(story.waits(29_000).happens(...served('asr')), 3_600_000, 'client_never_joined');
  });

  test('a user who joins makes the session Active', () => {
    const story = readySession().happens(seen('asr', 'user'));
    expect(statusOf(story)).toBe('Active');
    expect(types(story).at(-1)).toBe('SessionActive');
    expect(statusOf(story.waits(300_000))).toBe('Active');
  });

  test('a user who leaves makes the session Ready', () => {
    expect(statusOf(active().happens(seen('asr')))).toBe('Ready');
  });

  test('a user who comes back makes the session Active again', () => {
    const story = active().happens(seen('asr')).waits(19_999).happens(seen('asr', 'user'));
    expect(statusOf(story)).toBe('Active');
    expect(statusOf(story.waits(20_000))).toBe('Active');
  });

  test('a user who is not back after 20 s ends the session with client_gone', () => {
    expectEndAt(active().happens(seen('asr')), 20_000, 'client_gone');
  });

  test('a user who came back between two looks stays Active, and both changes are reported', () => {
    const story = active();
    const told = story.events.length;
    story.happens({ type: 'RoomSeen', participants: [present('asr'), present('user', 'PA_again')] });
    expect(statusOf(story)).toBe('Active');
    expect(story.events.slice(told)).toMatchObject([
      { type: 'ParticipantChanged', participant: { identity: 'user' }, present: false },
      { type: 'ParticipantChanged', participant: { identity: 'user' }, present: true },
    ]);
  });

  test('a user who was there before Ready makes it Ready and Active in one commit', () => {
    const story = joining().happens(seen('asr', 'user'));
    const { version } = story.session;
    const told = story.events.length;
    story.happens(readySaid('asr'));
    expect(statusOf(story)).toBe('Active');
    expect(story.session.version).toBe(version + 1);
    expect(story.events.slice(told).map((event) => event.type)).toEqual([
      'ServiceStatusChanged',
      'SessionStatusChanged',
      'SessionReady',
      'SessionStatusChanged',
      'SessionActive',
    ]);
  });

  test('a user who came and went before Ready has 20 s from Ready to come back', () => {
    const story = joining().happens(seen('asr', 'user'), seen('asr')).waits(25_000).happens(readySaid('asr'));
    expectEndAt(story, 20_000, 'client_gone');
  });
});

describe('the life of a session', () => {
  test('a session ends with ttl when its time is over', () => {
    expectEndAt(active({ ttl_ms: 3_600_000 }), 3_600_000, 'ttl');
  });

  test('a shorter duration_limit ends it with duration_limit', () => {
    expectEndAt(active({ ttl_ms: 3_600_000, metadata: { duration_limit: '60' } }), 60_000, 'duration_limit');
  });

  test('a longer duration_limit leaves it to the ttl', () => {
    expectEndAt(active({ ttl_ms: 30_000, metadata: { duration_limit: '60' } }), 30_000, 'ttl');
  });

  test('a session without a room ends with ttl', () => {
    const story = creating({ room: false, required: [], ttl_ms: 3_600_000 });
    expectEndAt(story, 3_600_000, 'ttl');
    expect(statusOf(story)).toBe('Terminated');
  });
});

describe('a service that went without a word', () => {
  const gone = { type: 'ServiceGone', assignment_id: 'asr-1', incarnation: 1 } as const;
  const back = { type: 'ServiceBack', assignment_id: 'asr-1', service_id: 'asr', incarnation: 2 } as const;

  test('is lost 5 s after its socket', () => {
    const story = active().happens(gone).waits(4_999);
    expect(assignmentOf(story)?.assignment_id).toBe('asr-1');
    expect(assignmentOf(story.waits(1))).toBeUndefined();
    expect(story.session.health).toBe('degraded');
  });

  test('is kept when it registers again and holds its assignment', () => {
    const story = active().happens(gone).waits(4_999).happens(back).waits(60_000);
    expect(assignmentOf(story)).toMatchObject({ assignment_id: 'asr-1', incarnation: 2, status: 'Ready' });
    expect(types(story)).not.toContain('SessionDegraded');
  });

  test('is lost 5 s after its participant', () => {
    const story = active().happens(seen('user')).waits(4_999);
    expect(assignmentOf(story)?.assignment_id).toBe('asr-1');
    expect(assignmentOf(story.waits(1))).toBeUndefined();
  });

  test('is kept when its participant is in the room again', () => {
    const story = active().happens(seen('user')).waits(4_999).happens(seen('user', 'asr')).waits(60_000);
    expect(assignmentOf(story)?.assignment_id).toBe('asr-1');
  });

  test('is not kept by its participant when its socket is gone', () => {
    const story = active().happens(gone, seen('asr'), seen('asr', 'user')).waits(5_000);
    expect(assignmentOf(story)).toBeUndefined();
  });

  test('is not suspect before its participant was seen', () => {
    const story = waiting().happens(...served('asr'), seen('user'));
    expect(assignmentOf(story)).toMatchObject({ joined: false });
    expect(assignmentOf(story.waits(5_000))?.assignment_id).toBe('asr-1');
  });

  test('keeps the session from Ready while it is suspect', () => {
    const story = waiting({ required: ['asr', 'llm'] }).happens(...served('asr'), gone, ...served('llm'));
    expect(statusOf(story)).toBe('WaitingForServices');
    expect(statusOf(story.happens(back))).toBe('Ready');
  });

  test('is over at once when it had not accepted yet', () => {
    expect(assignmentOf(offered().happens(gone))).toBeUndefined();
  });

  // nothing looks at the list of participants again: it has not changed since
  test('and came back on a new socket is lost when its participant stays away', () => {
    const story = active().happens(gone, seen('user'), back, seen('user')).waits(5_000);
    expect(assignmentOf(story)).toBeUndefined();
  });

  // the second assignment never learns that its participant is in the room
  test('is lost with its participant also when that was in the room before the assignment', () => {
    const story = active().happens(
      { type: 'ServiceFailed', assignment_id: 'asr-1', reason: 'failed', error: 'died' },
      ...served('asr', 2),
      seen('asr', 'user'),
    );
    expect(assignmentOf(story.happens(seen('user')).waits(5_000))).toBeUndefined();
  });
});

describe('a lost service', () => {
  test('before Ready makes its requirement pending again, without degrading the session', () => {
    const story = waiting({ required: ['asr', 'llm'] }).happens(...served('asr'));
    const asked = story.count('dispatch');
    story.happens({ type: 'ServiceFailed', assignment_id: 'asr-1', reason: 'failed', error: 'died' });
    expect(assignmentOf(story)).toBeUndefined();
    expect(story.count('dispatch')).toBe(asked + 1);
    expect(types(story)).not.toContain('SessionDegraded');
    expect(story.session.requirements[0]?.replacements).toBe(0);
  });

  test('after Ready leaves the session degraded and asks for another', () => {
    const story = readySession();
    const asked = story.count('dispatch');
    story.happens({ type: 'ServiceFailed', assignment_id: 'asr-1', reason: 'failed', error: 'died' });
    expect(statusOf(story)).toBe('Ready');
    expect(story.session.health).toBe('degraded');
    expect(story.events.at(-1)).toMatchObject({ type: 'SessionDegraded', missing: ['asr'] });
    expect(story.count('dispatch')).toBe(asked + 1);
  });

  test('that left unasked counts as lost at once', () => {
    expect(readySession().happens({ type: 'ServiceLeft', assignment_id: 'asr-1', clean: true }).session.health).toBe('degraded');
  });

  test('is replaced by one that is notified it takes over, and the session is restored', () => {
    const story = degraded().happens(offer('asr', 2));
    expect(assignmentOf(story)).toMatchObject({ assignment_id: 'asr-2', attempt: 2, resuming: true });
    story.happens(readySaid('asr'));
    expect(story.session.health).toBe('ok');
    expect(story.events.at(-1)?.type).toBe('SessionRestored');
    expect(statusOf(story)).toBe('Ready');
  });

  test('that is not replaced within a join timeout ends the session with service_lost', () => {
    expectEndAt(degraded(), 60_000, 'service_lost');
  });

  test('whose replacement joins and does not get ready ends the session with service_lost', () => {
    expectEndAt(degraded().happens(offer('asr', 2), { type: 'Accepted', assignment_id: 'asr-2' }), 60_000, 'service_lost');
  });

  test('that is replaced in time does not end the session', () => {
    const story = degraded()
      .happens(seen('asr', 'user'))
      .waits(59_999)
      .happens(...served('asr', 2));
    expect(statusOf(story.waits(60_000))).toBe('Active');
  });

  test('ends the session with service_lost the fourth time', () => {
    const story = readySession();
    for (let n = 1; n <= 3; n++) {
      story.happens({ type: 'ServiceFailed', assignment_id: `asr-${n}`, reason: 'failed', error: 'died' }, ...served('asr', n + 1));
      expect(statusOf(story)).toBe('Ready');
    }
    story.happens({ type: 'ServiceFailed', assignment_id: 'asr-4', reason: 'failed', error: 'died' });
    expect(statusOf(story)).toBe('Terminating');
    expect(reasonOf(story)).toBe('service_lost');
  });
});

describe('a room that is gone', () => {
  test('before any user ends the session with client_never_joined', () => {
    expect(reasonOf(readySession().happens({ type: 'RoomGone' }))).toBe('client_never_joined');
  });

  test('with a user in it ends the session with room_deleted', () => {
    expect(reasonOf(active().happens({ type: 'RoomGone' }))).toBe('room_deleted');
  });

  test('after the last user left ends the session with client_gone', () => {
    expect(reasonOf(active().happens(seen('asr'), { type: 'RoomGone' }))).toBe('client_gone');
  });

  // the status alone does not say whether the user is in it
  test('with a user in it before Ready ends the session with room_deleted', () => {
    expect(reasonOf(joining().happens(seen('user'), { type: 'RoomGone' }))).toBe('room_deleted');
  });

  test('is deleted anyway: it may come back', () => {
    const story = active().happens({ type: 'RoomGone' }, { type: 'ServiceLeft', assignment_id: 'asr-1', clean: true });
    expect(story.count('deleteRoom')).toBe(1);
  });
});

test('a LiveKit that is lost ends the session with livekit_error', () => {
  expect(reasonOf(active().happens({ type: 'LiveKitLost' }))).toBe('livekit_error');
});

describe('the end', () => {
  test('asks every service to leave, and deletes the room when they have', () => {
    const story = active({ required: ['asr', 'llm'] });
    story.happens(...served('llm'), seen('asr', 'llm', 'user'), clientEnds);
    expect(story.effects.slice(-2)).toMatchObject([
      { do: 'leave', assignment: { assignment_id: 'asr-1' }, reason: 'client_ended' },
      { do: 'leave', assignment: { assignment_id: 'llm-1' }, reason: 'client_ended' },
    ]);
    story.happens({ type: 'ServiceLeft', assignment_id: 'asr-1', clean: true });
    expect(story.count('deleteRoom')).toBe(0);
    story.happens({ type: 'ServiceLeft', assignment_id: 'llm-1', clean: true });
    expect(story.count('deleteRoom')).toBe(1);
  });

  test('waits 3 s for services to leave', () => {
    const story = terminating().waits(2_999);
    expect(story.count('release')).toBe(0);
    expect(story.count('deleteRoom')).toBe(0);
    story.waits(1);
    expect(story.count('release')).toBe(1);
    expect(story.count('deleteRoom')).toBe(1);
  });

  test('does not wait for a service whose socket is gone', () => {
    const story = terminating().happens({ type: 'ServiceGone', assignment_id: 'asr-1', incarnation: 1 });
    expect(story.count('deleteRoom')).toBe(1);
  });

  test('comes with the deleted room', () => {
    const story = deleting();
    expect(statusOf(story)).toBe('Terminating');
    expect(statusOf(story.happens({ type: 'RoomDeleted' }))).toBe('Terminated');
    expect(story.events.at(-1)).toMatchObject({ type: 'SessionEnded', reason: 'client_ended', by: 'client' });
  });

  test('comes after 10 s whatever is left to do', () => {
    const story = terminating().waits(9_999);
    expect(statusOf(story)).toBe('Terminating');
    expect(statusOf(story.waits(1))).toBe('Terminated');
    expect(story.session.room?.state).toBe('deleting');
  });

  test('reports how long the session lasted', () => {
    const story = active().waits(60_000).happens(clientEnds).waits(10_000);
    expect(story.events.at(-1)).toMatchObject({ type: 'SessionEnded', duration_s: 70 });
  });

  test('keeps the first reason', () => {
    expect(reasonOf(terminating().happens({ type: 'End', reason: 'shutdown', by: 'gateway' }))).toBe('client_ended');
  });

  // the time to leave stays due until the end
  test('that waits for a slow deletion changes nothing meanwhile', () => {
    const story = deleting().waits(3_000);
    const { version } = story.session;
    expect(story.waits(6_000).session.version).toBe(version);
  });
});

describe('deleting the room', () => {
  test('is repeated after 1, 2, 4, 8, 16, 30 and again 30 s when it fails', () => {
    const story = deleting();
    const pauses: number[] = [];
    for (let n = 1; n <= 7; n++) {
      story.happens({ type: 'RoomDeleteFailed' });
      const pause = (story.session.room?.delete_at ?? 0) - story.now;
      const asked = story.count('deleteRoom');
      expect(story.waits(pause - 1).count('deleteRoom')).toBe(asked);
      expect(story.waits(1).count('deleteRoom')).toBe(asked + 1);
      pauses.push(pause);
    }
    expect(pauses).toEqual([1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]);
  });

  test('is repeated after 15 s when nothing is heard of it', () => {
    const story = deleting().waits(14_999);
    expect(story.count('deleteRoom')).toBe(1);
    expect(story.waits(1).count('deleteRoom')).toBe(2);
  });

  test('is not repeated once it succeeded', () => {
    expect(terminated().waits(3_599_999).count('deleteRoom')).toBe(1);
  });
});

describe('a room name that the client chose', () => {
  const claims = (story: Story) => story.session.claims;

  test('is claimed from the first commit until 30 s after the deletion', () => {
    expect(claims(creating({ room_name: 'lobby' }))).toEqual(['room:lobby']);
    const story = terminated({ room_name: 'lobby' }).waits(29_999);
    expect(claims(story)).toEqual(['room:lobby']);
    expect(claims(story.waits(1))).toEqual([]);
  });

  test('is claimed as long as the room is not deleted', () => {
    expect(claims(deleting({ room_name: 'lobby' }).waits(600_000))).toEqual(['room:lobby']);
  });

  test('is free at once when the room is somebody else s', () => {
    const story = creating({ room_name: 'lobby' });
    story.happens({ type: 'RoomFailed', code: 'ROOM_NAME_IN_USE', message: 'taken', made: false });
    expect(claims(story)).toEqual([]);
    expect(story.count('deleteRoom')).toBe(0);
  });

  test('is free 30 s after LiveKit refused to make the room', () => {
    const story = creating({ room_name: 'lobby' });
    story.happens({ type: 'RoomFailed', code: 'LIVEKIT_ERROR', message: 'refused', made: false });
    expect(claims(story.waits(29_999))).toEqual(['room:lobby']);
    expect(claims(story.waits(1))).toEqual([]);
  });

  test('is free at once when its session ends, where LiveKit calls the room otherwise', () => {
    const story = creating({ room_name: 'lobby', livekit_room: 'lobby~abcdefgh' });
    expect(claims(story)).toEqual(['room:lobby']);
    story.happens({ type: 'End', reason: 'client_ended', by: 'client' });
    expect(claims(story)).toEqual([]);
    expect(terminated({ room_name: 'lobby', livekit_room: 'lobby~abcdefgh' }).session.deadlines.release_name).toBeUndefined();
  });

  test('is not claimed when the gateway chose it', () => {
    expect(claims(creating())).toEqual([]);
  });

  // forgetting the record frees its claims
  test('is claimed for 30 s also when the deletion came after the tombstone s hour', () => {
    const story = deleting({ room_name: 'lobby' }).waits(3_610_000 - 1_000);
    story.happens({ type: 'RoomDeleted' });
    expect(story.waits(20_000).count('forget')).toBe(0);
  });
});

describe('the tombstone', () => {
  test('is forgotten 1 h after the end', () => {
    const story = terminated().waits(3_599_999);
    expect(story.count('forget')).toBe(0);
    expect(story.waits(1).count('forget')).toBe(1);
  });

  test('is not forgotten while its room is not deleted', () => {
    const story = deleting().waits(7_200_000);
    expect(story.count('forget')).toBe(0);
    story.happens({ type: 'RoomDeleted' }).waits(60_000);
    expect(story.count('forget')).toBeGreaterThan(0);
  });

  test('of a session without a room is forgotten as well', () => {
    const story = creating({ room: false, required: [] }).happens(clientEnds);
    expect(dueAt(story.session)).toBe(t0 + 3_600_000);
    expect(story.waits(3_600_000).count('forget')).toBe(1);
  });
});

describe('a client that may come back', () => {
  const windowOf = (s: number) => ({ resume: { window_ms: s * 1_000, token_hash: 'hash' } });

  test.each([1, 60, 3_600])('has a window of %d s, and no more', (s) => {
    expectEndAt(active(windowOf(s)).happens(socketBreaks), s * 1_000, 'resume_expired');
  });

  test('has the whole window again after the next break', () => {
    const story = active(windowOf(60)).happens(socketBreaks).waits(59_000).happens(socketComes).waits(600_000);
    expect(statusOf(story)).toBe('Active');
    expectEndAt(story.happens({ type: 'Detached', connection_id: 'socket-2', how: 'broken' }), 60_000, 'resume_expired');
  });

  test.each([
    [undefined, 20],
    [5, 20],
    [10, 20],
    [11, 21],
    [60, 70],
    [3_600, 3_610],
  ])('with a window of %s s leaves its user %d s to come back into the room, and LiveKit keeps that 30 s longer', (s, rejoinS) => {
    const story = active({ ...(s !== undefined && windowOf(s)), ttl_ms: 86_400_000 });
    expect(story.session.room?.departure_timeout).toBe(rejoinS + 30);
    expectEndAt(story.happens(seen('asr')), rejoinS * 1_000, 'client_gone');
  });

  test('goes with the user s room: the window is over before that time is', () => {
    expectEndAt(active(windowOf(60)).happens(seen('asr'), socketBreaks), 60_000, 'resume_expired');
  });

  test.each([
    ['its services are not ready in time', () => joining({ ...windowOf(3_600), join_timeout_ms: 60_000 }), 60_000, 'join_timeout'],
    ['its user never joins', () => readySession({ ...windowOf(3_600), client_join_timeout_s: 30 }), 30_000, 'client_never_joined'],
    ['its time is over', () => active({ ...windowOf(3_600), ttl_ms: 100_000 }), 100_000, 'ttl'],
  ])('ends while away as otherwise when %s', (_, make, ms, reason) => {
    expectEndAt(make().happens(socketBreaks), ms, reason);
  });

  test('waits for nothing once the session is ending', () => {
    const story = active(windowOf(60)).happens(socketBreaks, clientEnds);
    expect(story.session.deadlines.resume).toBeUndefined();
    expect(reasonOf(story.waits(120_000))).toBe('client_ended');
    expect(story.session).toMatchObject({ status: 'Terminated', link: 'none' });
  });
});
