import { expect, onTestFinished, test, vi } from 'vitest';
import { serve } from '../../src/client/service.ts';
import { FakeSocket, fakeNetwork, waitsBetween } from './fake-socket.ts';

const turn = () => vi.advanceTimersByTimeAsync(1);

/** A service that has just said that it is ready. */
async function sayReady() {
  fakeNetwork();
  // a wait by chance could be over within the millisecond that passes
  const random = vi.spyOn(Math, 'random').mockReturnValue(0.5);
  onTestFinished(() => random.mockRestore());
  const service = serve('ws://gateway/ws', { service_id: 'asr', WebSocket: FakeSocket }, () => {});
  await turn();
  const socket = FakeSocket.last;
  socket.open();
  socket.receive({ type: 'RegisterServiceResponse', id: socket.sent[0]?.id, success: true, service_id: 'asr', keep: [], release: [] });
  socket.receive({ type: 'JoinRoomRequest', assignment_id: 'a1', session_id: 's1' });
  await turn();
  const ready = () => socket.sent.filter(({ type }) => type === 'ServiceReady');
  const refuse = async (error: object) => {
    socket.receive({ type: 'Error', id: ready().at(-1)?.id, message: 'no', ...error });
    await turn();
  };
  return { service, socket, ready, refuse };
}

/** How long it waits for each try, where each fails and every wait is as long as it may be. */
async function waitsAfter(socket: FakeSocket): Promise<number[]> {
  const random = vi.spyOn(Math, 'random').mockReturnValue(1);
  onTestFinished(() => random.mockRestore());
  socket.end(1006);
  return waitsBetween(9);
}

test('ready is said again where the gateway could not take it now, not before it asked for', async () => {
  const { ready, refuse, service } = await sayReady();
  await refuse({ code: 'STORAGE_ERROR', retryable: true, retry_after_ms: 5_000 });
  await vi.advanceTimersByTimeAsync(4_990);
  expect(ready()).toHaveLength(1);
  await vi.advanceTimersByTimeAsync(10);
  expect(ready()).toHaveLength(2);
  await refuse({ code: 'STORAGE_ERROR', retryable: true });
  await vi.advanceTimersByTimeAsync(1_000);
  expect(ready()).toMatchObject([{ assignment_id: 'a1' }, { assignment_id: 'a1' }, { assignment_id: 'a1' }]);
  expect(service.sessions).toHaveLength(1);
});

test('ready is not said again once the session is left', async () => {
  const { ready, refuse, service, socket } = await sayReady();
  await refuse({ code: 'STORAGE_ERROR', retryable: true });
  socket.receive({ type: 'LeaveRoomRequest', assignment_id: 'a1', reason: 'client_ended' });
  await turn();
  // the connection's own
  expect(vi.getTimerCount()).toBe(1);
  await vi.advanceTimersByTimeAsync(60_000);
  expect(ready()).toHaveLength(1);
  expect(service.sessions).toEqual([]);
});

test('a session that goes on without the service is left where ready is refused', async () => {
  const { refuse, service, socket } = await sayReady();
  const [join] = service.sessions;
  await refuse({ code: 'ILLEGAL_STATE', retryable: false });
  expect(join?.signal.reason).toMatchObject({ message: 'ILLEGAL_STATE: no' });
  expect(service.sessions).toEqual([]);
  expect(socket.sent.map(({ type }) => type)).not.toContain('ServiceLeft');
});

test('a service that serves a session tries at least each second while the gateway waits for it', async () => {
  const { socket } = await sayReady();
  expect(await waitsAfter(socket)).toEqual([0, 1_000, 1_000, 1_000, 1_000, 1_000, 20_000, 20_000, 20_000]);
});

test('a service that serves nothing is in no hurry', async () => {
  const { socket, service } = await sayReady();
  socket.receive({ type: 'LeaveRoomRequest', assignment_id: 'a1', reason: 'client_ended' });
  await turn();
  expect(service.sessions).toEqual([]);
  expect((await waitsAfter(socket)).slice(0, 5)).toEqual([0, 1_000, 2_000, 4_000, 8_000]);
});

test('a service sends a heartbeat after five seconds of silence', async () => {
  const { socket } = await sayReady();
  await vi.advanceTimersByTimeAsync(4_900);
  expect(socket.sent.map(({ type }) => type)).not.toContain('Ping');
  await vi.advanceTimersByTimeAsync(200);
  expect(socket.sent.map(({ type }) => type)).toContain('Ping');
});
