import { AccessToken, TokenVerifier } from 'livekit-server-sdk';
import { expect, test } from 'vitest';
import { joinToken, managerToken, signer } from '../../src/rooms/tokens.ts';
import type { Session } from '../../src/sessions/record.ts';

const key = { apiKey: 'APIkey', apiSecret: 'a-secret-of-at-least-32-characters' };
const sign = signer(key);
const now = 1_900_000_000_000;
const session = {
  session_id: '550e8400-e29b-41d4-a716-446655440000',
  room: { name: 'room-1 ∆' },
  expires_at: now + 3_600_000,
} as Session;

/** What livekit-server-sdk signs, and what it finds in a token of ours. */
const sdk = (options: ConstructorParameters<typeof AccessToken>[2], grant: Parameters<AccessToken['addGrant']>[0], kind?: 'agent') => {
  const token = new AccessToken(key.apiKey, key.apiSecret, options);
  token.addGrant(grant);
  if (kind) token.kind = kind;
  return token.toJwt();
};
const verified = (token: string) => new TokenVerifier(key.apiKey, key.apiSecret).verify(token);
const head = (token: string) => JSON.parse(Buffer.from(token.split('.')[0] ?? '', 'base64url').toString());

const join = { roomJoin: true, room: 'room-1 ∆', canPublish: true, canSubscribe: true, canPublishData: true };
const administer = {
  roomJoin: true,
  roomAdmin: true,
  room: 'room-1 ∆',
  hidden: true,
  canPublish: false,
  canSubscribe: false,
  canPublishData: false,
};

const kinds: [string, () => string, () => Promise<string>][] = [
  ['a client', () => joinToken(sign, session, { identity: 'ada' }, now), () => sdk({ identity: 'ada', ttl: 3_600 }, join)],
  [
    'a client with all it can have',
    () => joinToken(sign, session, { identity: 'ada', name: 'Ada “L.” 💡', metadata: '{"a":1}', attributes: { lang: 'zh', 名: '' } }, now),
    () => sdk({ identity: 'ada', ttl: 3_600, name: 'Ada “L.” 💡', metadata: '{"a":1}', attributes: { lang: 'zh', 名: '' } }, join),
  ],
  [
    'a client with an empty name',
    () => joinToken(sign, session, { identity: 'ada', name: '', metadata: '', attributes: {} }, now),
    () => sdk({ identity: 'ada', ttl: 3_600, name: '', metadata: '', attributes: {} }, join),
  ],
  [
    'a service',
    () => joinToken(sign, session, { identity: 'asr', kind: 'agent' }, now),
    () => sdk({ identity: 'asr', ttl: 3_600 }, { ...join, canUpdateOwnMetadata: true }, 'agent'),
  ],
  [
    'the manager',
    () => managerToken(sign, session),
    () => sdk({ identity: `session-manager-${session.session_id}`, ttl: 600 }, administer, 'agent'),
  ],
];

test.each(kinds)("the token of %s has the SDK's claims and a signature it accepts", async (_, ours, theirs) => {
  const own = ours();
  const reference = await theirs();
  const { nbf, exp, ...claims } = await verified(own);
  const { nbf: itsNbf = 0, exp: itsExp = 0, ...itsClaims } = await verified(reference);
  expect(claims).toEqual(itsClaims);
  expect(head(own)).toEqual(head(reference));
  // both are made now, perhaps on either side of a full second
  expect(Math.abs((nbf ?? 0) - itsNbf)).toBeLessThanOrEqual(1);
  expect((exp ?? 0) - (nbf ?? 0)).toBe(itsExp - itsNbf);
});

test('a token signed with another secret is not accepted', async () => {
  const other = signer({ ...key, apiSecret: `${key.apiSecret}!` });
  await expect(verified(joinToken(other, session, { identity: 'ada' }, now))).rejects.toThrow();
});

test("a token names LiveKit's room, not the label that comes again", async () => {
  const labelled = { ...session, room: { name: 'parlour~abcdefgh', label: 'parlour' } } as Session;
  for (const token of [joinToken(sign, labelled, { identity: 'ada' }, now), managerToken(sign, labelled)]) {
    expect((await verified(token)).video).toMatchObject({ room: 'parlour~abcdefgh' });
  }
});

test('a guest who may only listen is not heard, and a token can live shorter than its session', async () => {
  const listens = joinToken(sign, session, { identity: 'cyd', speaks: false }, now, 80_000);
  const { video, exp = 0, nbf = 0 } = await verified(listens);
  expect(video).toMatchObject({ roomJoin: true, canSubscribe: true, canPublish: false, canPublishData: false });
  expect(exp - nbf).toBe(80);
});

test('a session without a room has no tokens', () => {
  const { room: _, ...roomless } = session;
  expect(() => joinToken(sign, roomless as Session, { identity: 'ada' }, now)).toThrow();
  expect(() => managerToken(sign, roomless as Session)).toThrow();
});
