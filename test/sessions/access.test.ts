import { describe, expect, test } from 'vitest';
import { type RequestRow, requests } from '../../protocol/requests.ts';
import { type Operation, routes } from '../../protocol/rest.ts';
import { TestClient as Client, connectService, type TestClient } from '../support/client.ts';
import { startGateway } from '../support/gateway.ts';
import { rest } from '../support/http-service.ts';

/** Who calls, in the order of the columns. Services speak on sockets alone. */
const callers = ['operator', 'owner', 'participant', 'viewer', 'another', 'serving', 'idle'] as const;
type Caller = (typeof callers)[number];
const visibilities = ['private', 'shared', 'public'] as const;
type Visibility = (typeof visibilities)[number];

/**
 * What comes of it, for a session that is private, shared (with the participant and the viewer) and public:
 * `+` done, `x` 403 FORBIDDEN, `-` 404 SESSION_NOT_FOUND. `list`: whether the session is in it.
 */
const table = `
                   operator owner participant viewer another serving idle
  get              +++      +++   -++         -++    --+     +++     --+
  get messages     +++      +++   -++         -++    --+     +++     --+
  watch            +++      +++   -++         -++    --+     xxx     xxx
  add message      +++      +++   -++         -xx    --x     +++     --x
  update context   +++      +++   -xx         -xx    --x     +++     --x
  update metadata  +++      +++   -xx         -xx    --x     xxx     xxx
  change visibility +++     +++   -xx         -xx    --x     xxx     xxx
  update both      +++      +++   -xx         -xx    --x     xxx     xxx
  extend           +++      +++   -xx         -xx    --x     xxx     xxx
  share            +++      +++   -xx         -xx    --x     xxx     xxx
  unshare          +++      +++   -xx         -xx    --x     xxx     xxx
  refresh token    +++      +++   -xx         -xx    --x     xxx     xxx
  manager token    +++      xxx   xxx         xxx    xxx     xxx     xxx
  end              +++      +++   -xx         -xx    --x     xxx     xxx
  delete           +++      +++   -xx         -xx    --x     xxx     xxx
  list             +++      +++   ---         ---    ---     xxx     xxx
`;

type Body = Record<string, unknown>;
interface Way {
  /** Over the socket. Services may send only some types: the others are FORBIDDEN to them, whatever the session. */
  socket?: { type: keyof typeof requests } & Body;
  rest?: { operation: Operation; query?: string; body?: Body };
}

/** How each operation is asked for; `@` is the session. */
const ways: Record<string, Way> = {
  get: { socket: { type: 'GetSessionRequest' }, rest: { operation: 'getSession' } },
  'get messages': { socket: { type: 'GetMessagesRequest' }, rest: { operation: 'getMessages' } },
  watch: { socket: { type: 'WatchRequest' } },
  'add message': both('AddMessageRequest', 'addMessage', { role: 'user', content: 'hello' }),
  'update context': both('UpdateSessionRequest', 'updateSession', { context_updates: { turn: 1 } }),
  'update metadata': both('UpdateSessionRequest', 'updateSession', { metadata_updates: { topic: 'weather' } }),
  'change visibility': both('UpdateSessionRequest', 'updateSession', { visibility: 'shared' }),
  'update both': both('UpdateSessionRequest', 'updateSession', { context_updates: { turn: 1 }, metadata_updates: { topic: 'weather' } }),
  extend: both('ExtendSessionRequest', 'extendSession', { ttl_hours: 2 }),
  share: both('ShareSessionRequest', 'shareSession', { target_user_id: 'zoe' }),
  unshare: { socket: { type: 'UnshareSessionRequest', target_user_id: 'zoe' }, rest: { operation: 'unshareSession' } },
  'refresh token': { socket: { type: 'RefreshTokenRequest' }, rest: { operation: 'sessionToken' } },
  'manager token': { rest: { operation: 'sessionToken', body: { role: 'manager' } } },
  end: { socket: { type: 'EndSessionRequest' }, rest: { operation: 'terminateSession' } },
  delete: { socket: { type: 'DeleteSessionRequest' }, rest: { operation: 'deleteSession' } },
  list: { socket: { type: 'ListSessionsRequest', limit: 100 }, rest: { operation: 'listSessions', query: 'limit=100' } },
};

/** What names a session and asks no access, and why. */
const open = {
  requests: {
    ResumeRequest: 'its token decides, whoever brings it',
    UnwatchRequest: 'ends what its own socket began, and succeeds where that is nothing',
    ServiceReady: 'a service says it of itself; only one that was asked to join is taken',
  },
  routes: { serviceReady: 'the same, from services that have no socket' },
};

function both(type: keyof typeof requests, operation: Operation, body: Body): Way {
  return { socket: { type, ...body }, rest: { operation, body } };
}

const rows = table
  .trim()
  .split('\n')
  .slice(1)
  .map((line) => {
    const cells = line.trim().split(/\s+/);
    return { operation: cells.slice(0, -callers.length).join(' '), cells: cells.slice(-callers.length) };
  });
const outcomes = { '+': 'ok', x: '403 FORBIDDEN', '-': '404 SESSION_NOT_FOUND' } as const;
const listed = { '+': 'listed', x: '403 FORBIDDEN', '-': 'not listed' } as const;
const statusOf: Record<string, number> = { FORBIDDEN: 403, SESSION_NOT_FOUND: 404 };

const userOf: Partial<Record<Caller, string>> = { owner: 'ada', participant: 'pat', viewer: 'vic', another: 'bob' };

/** What the row says of these callers, for each visibility. */
const expected = (row: (typeof rows)[number], of: readonly Caller[]) =>
  Object.fromEntries(
    of.flatMap((caller) =>
      visibilities.map((visibility, i) => {
        const cell = row.cells[callers.indexOf(caller)]?.[i] as keyof typeof outcomes;
        return [`${caller}, ${visibility}`, (row.operation === 'list' ? listed : outcomes)[cell]];
      }),
    ),
  );

/** A gateway with one session of each visibility: ada's, shared with pat and vic, and served by `asr`. */
async function stage() {
  const { url } = await startGateway();
  const api = `${url}/api/v1/sessions`;
  const serving = await connectService(url, 'asr');
  const ids = {} as Record<Visibility, string>;
  for (const visibility of visibilities) {
    const { body } = await rest(api, 'POST', { user_identity: 'ada', required_services: ['asr'], on_service_loss: 'degrade' });
    await rest(`${api}/${body.session_id}/share`, 'POST', { target_user_id: 'pat' });
    await rest(`${api}/${body.session_id}/share`, 'POST', { target_user_id: 'vic', role: 'viewer' });
    ids[visibility] = body.session_id;
  }
  /** The session as the table says; an earlier cell may have changed it. */
  const session = async (visibility: Visibility) => {
    const id = ids[visibility];
    // what has ended is not changed any more, and is read as before
    await rest(`${api}/${id}`, 'PATCH', { visibility });
    return id;
  };
  return { url, serving, session };
}

/** Every cell of a row, those that end a session last. */
async function all(of: readonly Caller[], one: (caller: Caller, visibility: Visibility) => Promise<string>) {
  const found: Record<string, string> = {};
  for (const caller of [...of].reverse())
    for (const visibility of visibilities) found[`${caller}, ${visibility}`] = await one(caller, visibility);
  return found;
}

describe('over the socket', () => {
  test.each(rows.filter(({ operation }) => ways[operation]?.socket))('$operation is for whom the table says', async (row) => {
    const { url, serving, session } = await stage();
    const sockets: Partial<Record<Caller, TestClient>> = {
      operator: await Client.connect(url),
      serving,
      idle: await connectService(url, 'tts'),
    };
    for (const [caller, user] of Object.entries(userOf)) {
      const socket = await Client.connect(url);
      // a socket speaks for the user whose session it holds
      expect(await socket.ask({ type: 'NewSessionRequest', user_identity: user, room: false })).toMatchObject({ status: 'Active' });
      sockets[caller as Caller] = socket;
    }
    const found = await all(callers, async (caller, visibility) => {
      const { type, ...body } = ways[row.operation]?.socket ?? raise(row.operation);
      const session_id = await session(visibility);
      const answer =
        (await sockets[caller]?.ask({ type, ...body, ...(type !== 'ListSessionsRequest' && { session_id }) })) ?? raise(caller);
      if (answer.type === 'Error') return `${statusOf[answer.code]} ${answer.code}`;
      expect(answer.type).toBe((requests[type] as RequestRow).reply);
      if (type !== 'ListSessionsRequest') return 'ok';
      return answer.items.some((item: Body) => item.session_id === session_id) ? 'listed' : 'not listed';
    });
    expect(found).toEqual(expected(row, callers));
  });
});

describe('over REST', () => {
  const users = callers.filter((caller) => caller !== 'serving' && caller !== 'idle');

  test.each(rows.filter(({ operation }) => ways[operation]?.rest))('$operation is for whom the table says', async (row) => {
    const { url, session } = await stage();
    const found = await all(users, async (caller, visibility) => {
      const { operation, query = '', body } = ways[row.operation]?.rest ?? raise(row.operation);
      const session_id = await session(visibility);
      const { method, path, status } = routes[operation];
      const user = userOf[caller];
      const where = `${url}${path.replace('{id}', session_id).replace('{target_user_id}', 'zoe')}?${query}${user ? `&user_identity=${user}` : ''}`;
      const answer = await rest(where, method.toUpperCase(), body);
      if (answer.status >= 400) return `${answer.status} ${answer.body.code}`;
      expect(answer.status).toBe(status);
      if (operation !== 'listSessions') return 'ok';
      return answer.body.items.some((item: Body) => item.session_id === session_id) ? 'listed' : 'not listed';
    });
    expect(found).toEqual(expected(row, users));
  });
});

test('every request that names a session is in the table', () => {
  const naming = Object.entries(requests).flatMap(([type, { body }]) => ('session_id' in body.shape ? [type] : []));
  const told = [...Object.values(ways).flatMap(({ socket }) => socket?.type ?? []), ...Object.keys(open.requests)];
  expect([...new Set(told)].sort()).toEqual([...naming, 'ListSessionsRequest'].sort());
});

test('every endpoint that names a session is in the table', () => {
  const naming = Object.entries(routes).flatMap(([name, { path }]) => (path.startsWith('/api/v1/sessions/{id}') ? [name] : []));
  const told = [...Object.values(ways).flatMap((way) => way.rest?.operation ?? []), ...Object.keys(open.routes)];
  expect([...new Set(told)].sort()).toEqual([...naming, 'listSessions'].sort());
});

test('every operation of the table can be asked for', () => {
  expect(rows.map(({ operation }) => operation)).toEqual(Object.keys(ways));
});

test('a session that may not be read is answered as one that never was', async () => {
  const { url, session } = await stage();
  const id = await session('private');
  const bob = await Client.connect(url);
  await bob.ask({ type: 'NewSessionRequest', user_identity: 'bob', room: false });
  const told = async (session_id: string) => {
    const { id: _, ...error } = await bob.ask({ type: 'GetSessionRequest', session_id });
    const { body } = await rest(`${url}/api/v1/sessions/${session_id}?user_identity=bob`);
    return JSON.stringify([error, body]).replaceAll(session_id, 'THE-ID');
  };
  expect(await told(id)).toBe(await told('nobody'));
});

test('with whom a session is shared is shown to its owner and the operator alone', async () => {
  const { url, session } = await stage();
  const id = await session('public');
  const shares = { pat: 'participant', vic: 'viewer' };
  const asked = async (user?: string) => (await rest(`${url}/api/v1/sessions/${id}${user ? `?user_identity=${user}` : ''}`)).body.shares;
  expect([await asked(), await asked('ada')]).toEqual([shares, shares]);
  expect([await asked('pat'), await asked('vic'), await asked('bob')]).toEqual([undefined, undefined, undefined]);
});

test('a user named like what every object inherits is a stranger', async () => {
  const { url, session } = await stage();
  const id = await session('shared');
  for (const user of ['__proto__', 'constructor', 'toString'])
    expect(await rest(`${url}/api/v1/sessions/${id}?user_identity=${user}`), user).toMatchObject({ status: 404 });
});

test('a service stands to a session as long as it serves it', async () => {
  const { serving, session } = await stage();
  const session_id = await session('private');
  const { assignment_id } = await serving.next((frame) => frame.type === 'JoinRoomRequest' && frame.session_id === session_id);
  expect(await serving.ask({ type: 'AddMessageRequest', session_id, role: 'assistant', content: 'hi' })).not.toHaveProperty('user_id');
  serving.send({ type: 'ServiceFailed', assignment_id });
  await serving.ask({ type: 'Ping' });
  expect(await serving.ask({ type: 'GetSessionRequest', session_id })).toMatchObject({ code: 'SESSION_NOT_FOUND' });
});

function raise(what: string): never {
  throw new Error(`not here: ${what}`);
}

test('a session that goes back to private loses its shares: sharing it again lets nobody back in', async () => {
  const { url } = await startGateway();
  const api = `${url}/api/v1/sessions`;
  const { body } = await rest(api, 'POST', { user_identity: 'ada', room: false });
  const at = `${api}/${body.session_id}`;
  const readBy = async (user: string) => (await rest(`${at}?user_identity=${user}`)).status;
  await rest(`${at}/share`, 'POST', { target_user_id: 'pat' });
  expect(await readBy('pat')).toBe(200);
  await rest(at, 'PATCH', { visibility: 'private' });
  expect(await readBy('pat')).toBe(404);
  await rest(at, 'PATCH', { visibility: 'shared' });
  expect(await readBy('pat')).toBe(404);
  await rest(`${at}/share`, 'POST', { target_user_id: 'vic' });
  expect([await readBy('pat'), await readBy('vic')]).toEqual([404, 200]);
  expect((await rest(at)).body.shares).toEqual({ vic: 'participant' });
});
