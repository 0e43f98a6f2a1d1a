import { mkdtemp, realpath, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { startGateway } from '../support/gateway.ts';
import { describeWith, parts } from '../support/parts.ts';
import { Child } from '../support/process.ts';

describeWith(parts.websocat)('a hand at websocat', () => {
  async function sitDown() {
    const folder = await realpath(await mkdtemp(join(tmpdir(), 'gateway-')));
    onTestFinished(() => rm(folder, { recursive: true }));
    const gateway = await startGateway({ workspace: { roots: [folder] } });
    // it ends when either side does, and tells of the close frame
    const hand = new Child(parts.websocat.path ?? '', ['-E', '-vv', `${gateway.url.replace(/^http/, 'ws')}/ws`]);
    /** Types a line; the frame that comes back. */
    const type = async (line: string) => {
      const before = hand.lines.length;
      hand.type(line);
      return hand.json(/^{/, before);
    };
    return { gateway, folder, hand, type };
  }

  const bound = (holds: { sockets: number; live_sessions: number }) => ({ sockets: holds.sockets, sessions: holds.live_sessions });

  test('a request with a folder opens a session, which ends with the socket', async () => {
    const { gateway, folder, hand, type } = await sitDown();
    const answer = await type(JSON.stringify({ type: 'NewSessionRequest', workspace_dir: folder }));
    expect(answer).toMatchObject({ type: 'NewSessionResponse', status: 'Active', workspace_dir: folder });
    expect(answer.session_id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    expect(bound(gateway.holds())).toEqual({ sockets: 1, sessions: 1 });

    hand.process.stdin?.end();
    await hand.exited;
    await expect.poll(() => bound(gateway.holds())).toEqual({ sockets: 0, sessions: 0 });
    const ended = await (await fetch(`${gateway.url}/api/v1/sessions/${answer.session_id}`)).json();
    expect(ended).toMatchObject({ status: 'Terminated', end_reason: 'client_ended' });
  });

  test('a second request on the socket is refused, and the session goes on', async () => {
    const { folder, type } = await sitDown();
    const request = JSON.stringify({ type: 'NewSessionRequest', workspace_dir: folder });
    const { session_id } = await type(request);
    expect(await type(request)).toMatchObject({ type: 'Error', code: 'SESSION_ALREADY_EXISTS', session_id });
    expect(await type('{"type":"GetSessionRequest"}')).toMatchObject({ type: 'GetSessionResponse', session_id, status: 'Active' });
  });

  test('a folder that does not exist is refused, and the socket can try another', async () => {
    const { folder, type } = await sitDown();
    const wish = (workspace_dir: string) => type(JSON.stringify({ type: 'NewSessionRequest', workspace_dir }));
    expect(await wish(join(folder, 'missing'))).toMatchObject({ type: 'Error', code: 'WORKSPACE_NOT_FOUND' });
    expect(await wish(folder)).toMatchObject({ type: 'NewSessionResponse' });
  });

  test.each([
    ['what is not JSON', '{"type":', 'INVALID_JSON'],
    ['an unknown type', '{"type":"OpenSesame"}', 'UNKNOWN_TYPE'],
  ])('%s is refused, and the socket closed with 4400', async (_, line, code) => {
    const { gateway, hand, type } = await sitDown();
    expect(await type(line)).toMatchObject({ type: 'Error', code });
    expect((await hand.exited).code).toBe(0);
    expect(hand.errors.join('\n')).toContain('status_code: 4400, reason: "bad message"');
    expect(gateway.holds().sockets).toBe(0);
  });
});
