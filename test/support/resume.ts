import { expect } from 'vitest';
import { type Frame, TestClient } from './client.ts';
import { startGateway } from './gateway.ts';
import { rest } from './http-service.ts';

/** The session events that came here, in order. */
export const eventsAt = (client: TestClient): Frame[] => client.all.filter(({ seq, ts }) => seq !== undefined && ts !== undefined);
export const seqsAt = (client: TestClient): number[] => eventsAt(client).map(({ seq }) => seq);

/** Asks for a session back on a socket of its own. */
export async function comeBack(url: string, { session_id, resume_token }: Frame, last_seq: number) {
  const client = await TestClient.connect(url);
  return { client, answer: await client.ask({ type: 'ResumeRequest', session_id, resume_token, last_seq }) };
}

/** A gateway with ada's session on a socket, which waits a minute for her; nothing is required unless the wish says so. */
export async function resumable(wish: object = {}, config: Parameters<typeof startGateway>[0] = {}) {
  const gateway = await startGateway(config);
  const { url } = gateway;
  const client = await TestClient.connect(url);
  const made = await client.ask({
    type: 'NewSessionRequest',
    user_identity: 'ada',
    required_services: [],
    resume_window_s: 60,
    ...wish,
  });
  const path = `${url}/api/v1/sessions/${made.session_id}`;
  const read = async () => (await rest(path)).body;
  return {
    ...gateway,
    client,
    made,
    path,
    read,
    /** Breaks a socket as a network does, and waits until its session knows. */
    async breaks(socket = client) {
      socket.ws.terminate();
      await expect.poll(async () => (await read()).link).toBe('away');
    },
    back: (last_seq: number, by: Frame = made) => comeBack(url, by, last_seq),
    /** Something that happens to the session: one event. */
    say: (content: string) => rest(`${path}/messages`, 'POST', { role: 'user', content }),
  };
}
