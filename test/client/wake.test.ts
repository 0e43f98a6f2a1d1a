import { expect, onTestFinished, test, vi } from 'vitest';
import { ReconnectingSocket } from '../../src/client/reconnecting-socket.ts';
import { FakeSocket, fakeNetwork } from './fake-socket.ts';

/** As much of a browser as tells of the network and of the page. */
class FakePage extends EventTarget {
  readonly document = Object.assign(new EventTarget(), { visibilityState: 'hidden' });
}

/** A link in a page. */
async function inPage() {
  fakeNetwork();
  const random = vi.spyOn(Math, 'random').mockReturnValue(1);
  const page = new FakePage();
  const add = vi.spyOn(page, 'addEventListener');
  const remove = vi.spyOn(page, 'removeEventListener');
  for (const name of ['addEventListener', 'removeEventListener'] as const) vi.stubGlobal(name, page[name].bind(page));
  vi.stubGlobal('document', page.document);
  onTestFinished(() => {
    random.mockRestore();
    vi.unstubAllGlobals();
  });
  const link = new ReconnectingSocket('ws://gateway/ws', { changed() {}, frame() {}, closed() {} }, { WebSocket: FakeSocket });
  await vi.advanceTimersByTimeAsync(0);
  return { link, page, add, remove };
}

test('a link that waits tries at once when the network is back, but not before the gateway wants it', async () => {
  const { link, page } = await inPage();
  for (let i = 0; i < 6; i++) {
    FakeSocket.last.end(1006);
    await vi.advanceTimersByTimeAsync(i < 5 ? 20_000 : 0);
  }
  const { length } = FakeSocket.all;
  expect(link.state).toBe('waiting');
  page.dispatchEvent(new Event('online'));
  await vi.advanceTimersByTimeAsync(0);
  expect(FakeSocket.all).toHaveLength(length + 1);
  FakeSocket.last.open();
  FakeSocket.last.receive({ type: 'Error', code: 'RATE_LIMITED', message: 'slower', retry_after_ms: 7_000 });
  FakeSocket.last.end(4529);
  page.dispatchEvent(new Event('online'));
  await vi.advanceTimersByTimeAsync(6_999);
  expect(FakeSocket.all).toHaveLength(length + 1);
  await vi.advanceTimersByTimeAsync(1);
  expect(FakeSocket.all).toHaveLength(length + 2);
});

test('a link that is open finds out at once whether it still is, when its page is shown again', async () => {
  const { link, page } = await inPage();
  const { last } = FakeSocket;
  last.open();
  page.document.dispatchEvent(new Event('visibilitychange'));
  expect(last.sent).toEqual([]);
  page.document.visibilityState = 'visible';
  page.document.dispatchEvent(new Event('visibilitychange'));
  expect(last.sent).toEqual([{ type: 'Ping' }]);
  // looking again and again does not put the answer off
  await vi.advanceTimersByTimeAsync(6_000);
  page.document.dispatchEvent(new Event('visibilitychange'));
  await vi.advanceTimersByTimeAsync(4_000);
  expect([link.state, last.wasCut]).toEqual(['waiting', true]);
});

test('a link that is closed leaves no listener', async () => {
  const { link, add, remove } = await inPage();
  expect(add).toHaveBeenCalledTimes(1);
  void link.close();
  expect(remove).toHaveBeenCalledTimes(1);
  expect(remove.mock.calls).toEqual(add.mock.calls);
});
