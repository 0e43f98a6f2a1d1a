import { describe, expect, test } from 'vitest';
import { parse } from '../../protocol/parse.ts';
import { routes } from '../../protocol/rest.ts';

const robot = '🤖';
const parsed = (frame: object) => {
  const result = parse(JSON.stringify(frame));
  return result.ok ? 'ok' : result.message;
};
const open = (fields: object) => parsed({ type: 'NewSessionRequest', user_identity: 'ada', ...fields });

describe('lengths are counted in characters, of whatever size', () => {
  const metadataOf = (key: string) => open({ metadata: { [key]: 'x' } });
  const selectorOf = (key: string) => open({ required_services: [{ [key]: 'x' }] });
  const contextOf = (key: string) => parsed({ type: 'UpdateSessionRequest', context_updates: { [key]: 1 } });
  const updateOf = (key: string) => parsed({ type: 'UpdateSessionRequest', metadata_updates: { [key]: 'x' } });

  test.each([
    ['a text', (text: string) => open({ idempotency_key: text })],
    ['a key of metadata', metadataOf],
    ['a key of a selector', selectorOf],
    ['a key of the context', contextOf],
    ['a changed key of metadata', updateOf],
  ])('%s', (_, of) => {
    expect(of(robot.repeat(128))).toBe('ok');
    expect(of(robot.repeat(129))).not.toBe('ok');
    expect(of('x'.repeat(129))).not.toBe('ok');
  });
});

describe('what LiveKit counts in bytes has at most as many as it takes', () => {
  const bytes = (most: number) => `must be at most ${most} bytes in UTF-8`;

  test.each([
    ['user_identity', 256, (name: string) => open({ user_identity: name })],
    ['a required service', 256, (name: string) => open({ required_services: [name] })],
    ['a service_id', 256, (name: string) => parsed({ type: 'RegisterServiceRequest', service_id: name })],
    ['room_name, which gets a suffix', 247, (name: string) => open({ room_name: name })],
  ])('%s', (_, most, of) => {
    expect(of('x'.repeat(128))).toBe('ok');
    const fits = '王'.repeat(Math.floor(most / 3));
    expect(of(fits)).toBe('ok');
    expect(of(`${fits}王`)).toContain(bytes(most));
    expect(of('é'.repeat(Math.floor(most / 2)))).toBe('ok');
  });

  test('the names of a TokenSource request', () => {
    const issue = (body: object) => routes.tokenSource.body.safeParse(body).error?.issues[0];
    expect(issue({ participant_identity: '王'.repeat(85), room_name: '王'.repeat(82) })).toBeUndefined();
    expect(JSON.stringify(issue({ participant_identity: '王'.repeat(86) }))).toContain(bytes(256));
    expect(JSON.stringify(issue({ room_name: '王'.repeat(83) }))).toContain(bytes(247));
  });
});
