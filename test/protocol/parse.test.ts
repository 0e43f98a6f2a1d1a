import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { maxDepth, maxValues, type Parsed, parse, type Refusal, tooComplex } from '../../protocol/parse.ts';
import type { Request, RequestType } from '../../protocol/requests.ts';
import { requests } from '../../protocol/requests.ts';

const given = (frame: unknown): Parsed => parse(JSON.stringify(frame));

function refused(parsed: Parsed): Refusal {
  if (parsed.ok) throw new Error(`taken: ${JSON.stringify(parsed.request)}`);
  return parsed;
}

function taken<T extends RequestType>(_: T, parsed: Parsed): Request<T> {
  if (!parsed.ok) throw new Error(`refused: ${parsed.code} ${parsed.message}`);
  return parsed.request as Request<T>;
}

const paths = (parsed: Parsed) => refused(parsed).details?.issues.map(({ path }) => path);
const session = (fields: object) => given({ type: 'NewSessionRequest', user_identity: 'ada', ...fields });
const nested = (depth: number) => `${'['.repeat(depth - 1)}${']'.repeat(depth - 1)}`;

describe('text that is no frame', () => {
  test.each(['', 'hello', '{', '{"type":"Ping"', "{'type':'Ping'}", '{"type":"Ping"} {"type":"Ping"}', '\u0000'])(
    '%j is not JSON',
    (frame) => {
      expect(refused(parse(frame))).toEqual({ ok: false, code: 'INVALID_JSON', id: undefined, message: 'the frame is not JSON' });
    },
  );

  test.each(['null', '1', '"Ping"', '[]', '[{"type":"Ping"}]', 'true'])('%s is JSON, but no object', (frame) => {
    expect(refused(parse(frame))).toMatchObject({ code: 'INVALID_REQUEST', message: 'the frame is not a JSON object' });
  });

  test.each([{}, { type: 7 }, { type: null }, { type: ['Ping'] }, { Type: 'Ping' }])('%j has no string type', (frame) => {
    expect(refused(given(frame)).code).toBe('INVALID_REQUEST');
  });
});

describe('depth', () => {
  test(`${maxDepth} objects and lists inside each other are read`, () => {
    expect(taken('Ping', parse(`{"type":"Ping","x":${nested(maxDepth)}}`))).toEqual({ type: 'Ping', id: undefined });
  });

  test('one more is refused before anything is built of it', () => {
    const refusal = refused(parse(`{"type":"Ping","x":${nested(maxDepth + 1)}}`));
    expect(refusal).toMatchObject({ code: 'INVALID_JSON', message: 'nested deeper than 16' });
  });

  test('a frame of nothing but brackets is refused', () => {
    expect(refused(parse('['.repeat(65_536))).code).toBe('INVALID_JSON');
  });

  test('brackets inside a string do not count', () => {
    expect(taken('NewSessionRequest', session({ user_name: '[{'.repeat(100) })).user_name).toBe('[{'.repeat(100));
  });

  test('an escaped quote does not end a string', () => {
    expect(tooComplex(`"${'\\"['.repeat(100)}"`)).toBeUndefined();
    expect(tooComplex(`"\\\\"${'['.repeat(maxDepth + 1)}`)).toBe(`nested deeper than ${maxDepth}`);
  });

  test('brackets side by side are not deep', () => {
    expect(tooComplex('[]'.repeat(1_000))).toBeUndefined();
  });
});

describe('types', () => {
  test.each(['constructor', '__proto__', 'toString', 'hasOwnProperty', 'ping', 'Pong', 'NewSessionResponse', ''])(
    'no message has the type %j',
    (type) => {
      expect(refused(parse(`{"type":${JSON.stringify(type)}}`)).code).toBe('UNKNOWN_TYPE');
    },
  );

  test.each(['SessionReady', 'Pong', 'NewSessionResponse', 'JoinRoomRequest', 'Hello', 'Error'])(
    '%s is known, but the gateway sends it',
    (type) => {
      expect(refused(given({ type })).message).toBe(`${type} is sent by the gateway, not to it`);
    },
  );

  test.each([
    ['EndSesionRequest', 'EndSessionRequest'],
    ['NewSession', 'NewSessionRequest'],
    ['ping', 'Ping'],
    ['SERVICEREADY', 'ServiceReady'],
  ])('of the unknown %s the nearest one is named', (type, nearest) => {
    expect(refused(given({ type })).message).toBe(`no message has the type "${type}"; did you mean ${nearest}?`);
  });

  test('a type like no other is given no other', () => {
    expect(refused(given({ type: 'constructor' })).message).toBe('no message has the type "constructor"');
  });

  test('a long unknown type is not sent back in full', () => {
    expect(refused(given({ type: 'x'.repeat(10_000) })).message.length).toBeLessThan(120);
  });

  test.each(Object.keys(requests))('%s without fields is taken, or refused for its fields', (type) => {
    const parsed = given({ type });
    expect(parsed.ok ? parsed.request.type : parsed.code).toBe(parsed.ok ? type : 'VALIDATION_FAILED');
  });
});

describe('id', () => {
  test.each(['1', 'x'.repeat(64)])('%j is kept', (id) => {
    expect(taken('Ping', given({ type: 'Ping', id })).id).toBe(id);
  });

  test('a frame without one is taken', () => {
    expect(taken('Ping', given({ type: 'Ping' })).id).toBeUndefined();
  });

  test.each([1, null, '', 'x'.repeat(65), {}, 'a\u0000b'])('%j is refused, and not sent back', (id) => {
    const parsed = given({ type: 'Ping', id });
    expect(refused(parsed)).toMatchObject({ code: 'VALIDATION_FAILED', id: undefined });
    expect(paths(parsed)).toEqual(['id']);
  });

  test.each([
    ['INVALID_REQUEST', {}],
    ['UNKNOWN_TYPE', { type: 'Nothing' }],
    ['VALIDATION_FAILED', { type: 'NewSessionRequest' }],
  ])('%s carries it', (code, frame) => {
    expect(refused(given({ id: '7', ...frame }))).toMatchObject({ code, id: '7' });
  });
});

describe('issues', () => {
  test('each names the field by its path', () => {
    const held = [{ session_id: 's', assignment_id: 'a' }, { session_id: 's' }];
    expect(paths(given({ type: 'RegisterServiceRequest', service_id: '', held }))).toEqual(['service_id', 'held.1.assignment_id']);
  });

  test('the first one stands in the message', () => {
    expect(refused(session({ room: 'no' })).message).toMatch(/^NewSessionRequest: room: /);
  });

  test('at most ten are reported', () => {
    const held = Array.from({ length: 20 }, () => ({}));
    expect(paths(given({ type: 'RegisterServiceRequest', service_id: 'asr', held }))).toHaveLength(10);
  });

  test('a path as long as a hostile key is cut', () => {
    const [path] = paths(session({ metadata: { ['k'.repeat(2_000)]: [] } })) ?? [];
    expect(path).toHaveLength(256);
  });
});

describe('text', () => {
  test.each(['a\u0000b', 'a\ud800b', '\udc00'])('%j is refused: not every store can hold it', (user_identity) => {
    expect(paths(session({ user_identity }))).toEqual(['user_identity']);
  });

  test.each(['a\u0000', '\ud800'])('%j is refused inside metadata', (value) => {
    expect(paths(session({ metadata: { note: value } }))).toEqual(['metadata.note']);
  });

  test('a whole surrogate pair is text like any other', () => {
    expect(taken('NewSessionRequest', session({ user_name: 'Ada 🎙' })).user_name).toBe('Ada 🎙');
  });
});

test('unknown fields are dropped', () => {
  expect(taken('Ping', given({ type: 'Ping', t: 1, later: true }))).toEqual({ type: 'Ping', id: undefined, t: 1 });
});

test('a field called __proto__ changes nothing', () => {
  const request = taken('NewSessionRequest', parse('{"type":"NewSessionRequest","user_identity":"ada","__proto__":{"room":false}}'));
  expect(request.room).toBe(true);
  expect(Object.getPrototypeOf(request)).toBe(Object.prototype);
});

test('a metadata key called __proto__ changes no prototype', () => {
  const parsed = parse('{"type":"NewSessionRequest","user_identity":"ada","metadata":{"__proto__":"x","a":"b"}}');
  const { metadata } = taken('NewSessionRequest', parsed);
  expect(Object.getPrototypeOf(metadata)).toBe(Object.prototype);
  expect(metadata.a).toBe('b');
});

describe('metadata', () => {
  test('numbers and booleans become strings', () => {
    expect(taken('NewSessionRequest', session({ metadata: { n: 1.5, yes: true, s: 'x' } })).metadata).toEqual({
      n: '1.5',
      yes: 'true',
      s: 'x',
    });
  });

  test('numbers and booleans in what a service says of itself become strings', () => {
    const request = taken(
      'RegisterServiceRequest',
      given({ type: 'RegisterServiceRequest', service_id: 'asr', metadata: { version: 2, gpu: false } }),
    );
    expect(request.metadata).toEqual({ version: '2', gpu: 'false' });
  });

  test.each([60, '60'])('a duration_limit of %j is sixty seconds', (duration_limit) => {
    expect(taken('NewSessionRequest', session({ metadata: { duration_limit } })).metadata.duration_limit).toBe('60');
  });

  test.each([0, -1, 1.5, '0', '1.5', '60s', '', true])('a duration_limit of %j is refused', (duration_limit) => {
    expect(paths(session({ metadata: { duration_limit } }))).toEqual(['metadata.duration_limit']);
  });

  test('tags stay a list', () => {
    expect(taken('NewSessionRequest', session({ metadata: { tags: ['a', 'b'] } })).metadata).toEqual({ tags: ['a', 'b'] });
  });

  test.each([[['list']], [{ a: 1 }], [null]])('a value of %j is refused', (value) => {
    expect(paths(session({ metadata: { value } }))).toEqual(['metadata.value']);
  });

  const keys = (count: number) => Object.fromEntries(Array.from({ length: count }, (_, i) => [`k${i}`, 'v']));
  test('64 keys are taken, 65 are refused', () => {
    expect(Object.keys(taken('NewSessionRequest', session({ metadata: keys(64) })).metadata)).toHaveLength(64);
    expect(paths(session({ metadata: keys(65) }))).toEqual(['metadata']);
  });
});

describe('NewSessionRequest', () => {
  test('has its defaults', () => {
    expect(taken('NewSessionRequest', session({}))).toEqual({
      type: 'NewSessionRequest',
      id: undefined,
      user_identity: 'ada',
      room: true,
      metadata: {},
      optional_services: [],
      on_join_timeout: 'fail',
      on_service_loss: 'replace',
      resume_window_s: 0,
      visibility: 'private',
    });
  });

  test('with neither user_identity nor workspace_dir is refused', () => {
    expect(paths(given({ type: 'NewSessionRequest' }))).toEqual(['user_identity']);
  });

  test.each(['/srv/work', 'C:\\work', 'c:/work'])('takes the folder %s alone', (workspace_dir) => {
    expect(taken('NewSessionRequest', given({ type: 'NewSessionRequest', workspace_dir })).workspace_dir).toBe(workspace_dir);
  });

  test.each(['work', './work', '~/work', ''])('refuses the folder %j: it is no absolute path', (workspace_dir) => {
    expect(new Set(paths(given({ type: 'NewSessionRequest', workspace_dir })))).toEqual(new Set(['workspace_dir']));
  });

  test.each([{ user_identity: 'ada', room: false }, { workspace_dir: '/srv/work' }])('%j has no room, so it has no services', (fields) => {
    expect(paths(given({ type: 'NewSessionRequest', ...fields, required_services: ['asr-1'] }))).toEqual(['required_services']);
    expect(given({ type: 'NewSessionRequest', ...fields, required_services: [] }).ok).toBe(true);
  });

  test('refuses a user named like a service of the session', () => {
    expect(paths(session({ required_services: ['tts-1', 'ada'] }))).toEqual(['user_identity']);
  });
});

describe('UpdateSessionRequest', () => {
  const update = (fields: object) => given({ type: 'UpdateSessionRequest', ...fields });

  test('what is not named stays: it has no defaults', () => {
    expect(taken('UpdateSessionRequest', update({}))).toEqual({ type: 'UpdateSessionRequest', id: undefined });
  });

  test('null is kept: it removes a key', () => {
    const request = taken('UpdateSessionRequest', update({ context_updates: { a: null }, metadata_updates: { tags: null, b: null } }));
    expect(request).toMatchObject({ context_updates: { a: null }, metadata_updates: { tags: null, b: null } });
  });

  test('the context keeps JSON as it is, metadata keeps strings', () => {
    const request = taken(
      'UpdateSessionRequest',
      update({ context_updates: { n: 1, deep: [{ yes: true }] }, metadata_updates: { n: 1, yes: true } }),
    );
    expect(request).toMatchObject({ context_updates: { n: 1, deep: [{ yes: true }] }, metadata_updates: { n: '1', yes: 'true' } });
  });

  test.each([['a\u0000b'], [{ deep: ['\ud800'] }], [{ '\udc00': 1 }]])('%j is refused in the context', (value) => {
    expect(paths(update({ context_updates: { note: value } }))).toEqual(['context_updates.note']);
  });

  const keys = (count: number) => Object.fromEntries(Array.from({ length: count }, (_, i) => [`k${i}`, 1]));
  test('64 keys of the context at once are taken, 65 are refused', () => {
    expect(update({ context_updates: keys(64) }).ok).toBe(true);
    expect(paths(update({ context_updates: keys(65) }))).toEqual(['context_updates']);
  });

  test('keys called __proto__ change no prototype', () => {
    const parsed = parse(
      '{"type":"UpdateSessionRequest","context_updates":{"__proto__":{"x":1},"a":1},"metadata_updates":{"__proto__":"x"}}',
    );
    const { context_updates = {}, metadata_updates = {} } = taken('UpdateSessionRequest', parsed);
    expect(Object.getPrototypeOf(context_updates)).toBe(Object.prototype);
    expect(Object.getPrototypeOf(metadata_updates)).toBe(Object.prototype);
  });
});

test('a message has at most 32,768 characters', () => {
  const message = (length: number) => given({ type: 'AddMessageRequest', role: 'user', content: 'x'.repeat(length) });
  expect(message(32_768).ok).toBe(true);
  expect(paths(message(32_769))).toEqual(['content']);
});

test('a share is one to take part unless it says otherwise', () => {
  expect(taken('ShareSessionRequest', given({ type: 'ShareSessionRequest', target_user_id: 'grace' })).role).toBe('participant');
});

test('a list has 10 sessions a page, messages 50', () => {
  expect(taken('ListSessionsRequest', given({ type: 'ListSessionsRequest' }))).toMatchObject({ limit: 10, offset: 0 });
  expect(taken('GetMessagesRequest', given({ type: 'GetMessagesRequest' }))).toMatchObject({ limit: 50, after: 0 });
});

test('ServiceReady names its part by assignment_id, or by session_id and service_id', () => {
  const ready = (fields: object) => given({ type: 'ServiceReady', ...fields });
  expect(ready({ assignment_id: 'a' }).ok).toBe(true);
  expect(ready({ session_id: 's', service_id: 'asr-1' }).ok).toBe(true);
  expect(paths(ready({ session_id: 's' }))).toEqual(['assignment_id']);
  expect(paths(ready({}))).toEqual(['assignment_id']);
});

describe('whatever comes', () => {
  const settles = (frame: string) => {
    const parsed = parse(frame);
    if (parsed.ok) return Object.hasOwn(requests, parsed.request.type);
    return parsed.message !== '' && parsed.message.length <= 1_024 && (parsed.details?.issues.length ?? 1) > 0;
  };

  test('random text never makes it throw', () => {
    fc.assert(fc.property(fc.string({ unit: 'binary', maxLength: 400 }), settles), { numRuns: 2_000 });
  });

  test('random JSON never makes it throw', () => {
    fc.assert(
      fc.property(fc.json(), (json) => settles(json)),
      { numRuns: 2_000 },
    );
  });

  test('a known type with random fields never makes it throw', () => {
    const type = fc.constantFrom(...Object.keys(requests));
    const names = [...new Set(Object.values(requests).flatMap(({ body }) => Object.keys(body.shape))), 'id', '__proto__'];
    const fields = fc.dictionary(fc.constantFrom(...names), fc.jsonValue());
    fc.assert(
      fc.property(type, fields, (known, some) => settles(JSON.stringify({ ...some, type: known }))),
      { numRuns: 2_000 },
    );
  });
});

describe('values', () => {
  const lists = (count: number) => `{"type":"Ping","x":[${Array.from({ length: count }, () => '[]').join(',')}]}`;

  test('as many as a frame may hold are read', () => {
    expect(taken('Ping', parse(lists(maxValues - 1)))).toEqual({ type: 'Ping', id: undefined });
  });

  test('one more is refused before anything is built of it', () => {
    expect(refused(parse(lists(maxValues)))).toMatchObject({ code: 'INVALID_JSON', message: 'more than 10000 values' });
  });

  test('commas inside a string do not count', () => {
    expect(taken('Ping', parse(`{"type":"Ping","x":"${','.repeat(2 * maxValues)}"}`))).toEqual({ type: 'Ping', id: undefined });
  });
});

test.each([
  [{ type: 'NewSessionRequest', user_identify: 'ada' }, 'there is no field user_identify: did you mean user_identity?'],
  [{ type: 'ResumeRequest', session_idd: 's', resume_token: 't', last_seq: 0 }, 'there is no field session_idd: did you mean session_id?'],
])('a refusal of %j names the field that is misspelt', (frame, hint) => {
  expect(parse(JSON.stringify(frame))).toMatchObject({ ok: false, code: 'VALIDATION_FAILED', message: expect.stringContaining(hint) });
});

test('a refusal names no field that is only unknown, or whose right name is there as well', () => {
  for (const more of [{ robot: 1 }, { limitt: 1, limit: 'x' }]) {
    expect(parse(JSON.stringify({ type: 'ListSessionsRequest', limit: 'x', ...more }))).toMatchObject({
      ok: false,
      message: expect.not.stringContaining('there is no field'),
    });
  }
});

test.each([
  [
    { type: 'RegisterServiceRequest', service_id: 'asr', held: ['s', 't'].map((session_id) => ({ session_id, assignment_id: 'a' })) },
    /held: must name each/,
  ],
  [
    { type: 'RegisterServiceRequest', service_id: 'asr', endpoint: 'http://127.0.0.1:1/\u0000' },
    /endpoint: must not contain control characters/,
  ],
])('%j is refused', (frame, message) => {
  expect(parse(JSON.stringify(frame))).toMatchObject({ code: 'VALIDATION_FAILED', message: expect.stringMatching(message) });
});
