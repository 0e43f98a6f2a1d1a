import { describe, expect, test } from 'vitest';
import { authorize, type Caller, standing } from '../../src/sessions/access.ts';
import type { Session } from '../../src/sessions/record.ts';
import { ready } from './build.ts';

/** A session with one service, which was registered first at node-1. */
const session = (wish: Partial<Session> = {}): Session => {
  const made = { ...ready().session, owner_id: 'ada', visibility: 'private' as const, ...wish };
  const [requirement] = made.requirements;
  if (requirement?.assignment) requirement.assignment.node_id = 'node-1';
  return made;
};
const caller = (wish: Partial<Caller> = {}): Caller => ({ kind: 'user', ...wish });
const service = (node_id: string) => caller({ service: { incarnation: 1, node_id } });

describe('the standing of a caller', () => {
  test('who is nobody is that of a stranger, also for a session that nobody owns', () => {
    expect(standing(session(), caller())).toBe('stranger');
    expect(standing(session({ owner_id: undefined }), caller())).toBe('stranger');
    expect(standing(session({ owner_id: undefined }), service('node-2'))).toBe('stranger');
  });

  test('whose socket holds the session is the owner, also without a name', () => {
    expect(standing(session({ owner_id: undefined }), caller({ sessionId: 's1' }))).toBe('owner');
    expect(standing(session({ owner_id: undefined }), caller({ sessionId: 's2' }))).toBe('stranger');
  });

  test('whose service serves it is a service, and one that another node counts with the same number is not', () => {
    expect(standing(session(), service('node-1'))).toBe('service');
    expect(standing(session(), service('node-2'))).toBe('stranger');
  });

  test('with whom it was shared is that of the share, until it is private again', () => {
    const shares = { bob: 'viewer' as const };
    expect(standing(session({ shares, visibility: 'shared' }), caller({ user: 'bob' }))).toBe('viewer');
    expect(standing(session({ shares, visibility: 'private' }), caller({ user: 'bob' }))).toBe('stranger');
    // 'undefined' is a name like any other, and nobody's
    const odd = session({ shares: { undefined: 'participant' }, visibility: 'public' });
    expect(standing(odd, caller())).toBe('public');
  });
});

test('who may read a session and not do more gets an error that says what is missing', () => {
  const shared = session({ shares: { bob: 'viewer' }, visibility: 'shared' });
  const bob = caller({ user: 'bob' });
  expect(() => authorize(shared, bob, 'update_session')).toThrow(/only the owner/);
  expect(() => authorize(shared, bob, 'add_message')).toThrow(/may be read, but not changed/);
});
