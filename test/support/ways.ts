import { request } from 'node:http';
import { text } from 'node:stream/consumers';
import { expect } from 'vitest';
import { TestClient } from './client.ts';
import { webSocket } from './raw.ts';

export const authorized = (token: string) => ({ headers: { authorization: `Bearer ${token}` } });
export const rest = async (url: string, token: string) => (await fetch(`${url}/api/v1/sessions`, authorized(token))).status;

/** How a socket goes on: its first answer, or the code it was closed with. */
const outcome = (client: TestClient) =>
  Promise.race([client.closed.then(({ code }) => code), client.ask({ type: 'Ping' }).then(({ type }) => type)]).catch(
    async () => (await client.closed).code,
  );

interface Answered {
  status: number;
  challenge: string | undefined;
  /** All that was said. */
  text: string;
}

/** A call, or an upgrade, with a token. */
const asked = (url: string, token: string, headers: Record<string, string> = {}) =>
  new Promise<Answered>((done, fail) => {
    const sent = request(url, { headers: { ...headers, ...authorized(token).headers } });
    sent.on('error', fail);
    sent.on('upgrade', (_, socket) => {
      socket.destroy();
      done({ status: 101, challenge: undefined, text: '' });
    });
    sent.on('response', (response) => {
      const { statusCode: status = 0, headers, rawHeaders } = response;
      const said = (body: string) => done({ status, challenge: headers['www-authenticate'], text: [...rawHeaders, body].join('\n') });
      void text(response).then(said, fail);
    });
    sent.end();
  });

/** What comes of a token in every way to send it; `path`: of a call that its bearer may make. Whatever it is, nobody is told anything of the token. */
export async function everyWay(url: string, token: string, path = '/api/v1/sessions') {
  const call = await asked(`${url}${path}`, token);
  const upgrade = await asked(`${url}/ws`, token, webSocket);
  const opened = upgrade.status === 101 ? await TestClient.connect(url, [], authorized(token)).then(outcome) : upgrade.status;

  const page = await TestClient.connect(url, ['session-gateway.v1', `bearer.${token}`]);
  expect(page.ws.protocol).toBe('session-gateway.v1');
  const offered = await outcome(page);

  const client = await TestClient.connect(url);
  const answer = await client.ask({ type: 'IdentifyRequest', token });
  const goesOn = await outcome(client);
  const said = answer.type === 'IdentifyResponse' ? goesOn : [answer.code, goesOn];

  for (const { status, challenge } of [call, upgrade])
    expect(challenge).toBe(status === 401 ? 'Bearer realm="session-gateway", error="invalid_token"' : undefined);
  const told = [call.text, upgrade.text, JSON.stringify([page.all, await reasonOf(page), client.all, await reasonOf(client)])].join('\n');
  for (const part of token.split('.')) if (part.length > 8) expect(told).not.toContain(part);
  return [call.status, opened, offered, said];
}

/** Why a socket was closed; undefined: it is open. */
const reasonOf = (client: TestClient) => (client.ws.readyState === client.ws.OPEN ? undefined : client.closed);

export const good = [200, 'Pong', 'Pong', 'Pong'];
export const invalid = [401, 401, 4401, ['UNAUTHENTICATED', 4401]];
export const expired = [401, 401, 4460, ['UNAUTHENTICATED', 4460]];
export const unavailable = [503, 503, 4504, ['UNAVAILABLE', 4504]];

/** Who a token is, as the gateway tells its holder. */
export async function whoIs(url: string, token: string) {
  const { kind, identity, user_identity, scopes, code } = await (await TestClient.connect(url)).ask({ type: 'IdentifyRequest', token });
  return code ?? { kind, identity, user_identity, scopes };
}
