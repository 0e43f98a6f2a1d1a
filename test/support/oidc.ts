import { once } from 'node:events';
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { exportJWK, generateKeyPair } from 'jose';
import { Provider } from 'oidc-provider';
import { onTestFinished, vi } from 'vitest';

const resource = 'urn:gateway';
/** Whom its tokens are for. */
export const audience = 'gateway';
/** Seconds until a token ends. */
export const ttlS = 600;

async function newKey(alg: string, kid: string) {
  const { privateKey } = await generateKeyPair(alg, { extractable: true });
  return { ...(await exportJWK(privateKey)), alg, kid, use: 'sig' };
}

/** A server on a free port of loopback, which can go and come back. Ended with the test. */
export async function loopbackServer(answer: RequestListener) {
  const paths: (string | undefined)[] = [];
  const server = createServer((request, response) => {
    paths.push(request.url);
    answer(request, response);
  });
  const listen = async (port: number) => {
    server.listen(port, '127.0.0.1');
    await once(server, 'listening');
    return (server.address() as AddressInfo).port;
  };
  const stop = async () => {
    server.closeAllConnections();
    await new Promise((closed) => server.close(closed));
  };
  const port = await listen(0);
  onTestFinished(stop);
  return {
    url: `http://127.0.0.1:${port}`,
    stop,
    start: () => listen(port),
    asked: (path: string) => paths.filter((one) => one === path).length,
  };
}

/**
 * An identity provider. Its access tokens are JWT (RFC 9068); those of a client say in `claims` what the test wants.
 * @param claims of the tokens of a client, by its id
 */
export async function startProvider(claims: Record<string, Record<string, unknown>> = {}, alg = 'RS256') {
  // it says much about itself
  for (const level of ['info', 'warn'] as const) vi.spyOn(console, level).mockReturnValue();
  let provider: Provider | undefined;
  let held: Promise<void> | undefined;
  let leave = () => {};
  const left = new Promise<void>((done) => {
    leave = done;
  });
  const server = await loopbackServer((request, response) => {
    const answer = () => void provider?.callback()(request, response);
    if (!held) return answer();
    response.on('close', leave);
    void held.then(answer);
  });
  const keys = async (kid: string) => {
    provider = new Provider(server.url, {
      jwks: { keys: [await newKey(alg, kid), ...(alg === 'RS256' ? [] : [await newKey('RS256', 'other')])] },
      clients: ['app', ...Object.keys(claims)].map((client_id) => ({
        client_id,
        client_secret: 'known-to-the-tests',
        grant_types: ['client_credentials'],
        redirect_uris: [],
        response_types: [],
      })),
      features: {
        devInteractions: { enabled: false },
        clientCredentials: { enabled: true },
        resourceIndicators: {
          enabled: true,
          getResourceServerInfo: () =>
            ({ scope: '', audience, accessTokenTTL: ttlS, accessTokenFormat: 'jwt', jwt: { sign: { alg, kid } } }) as never,
        },
      },
      extraTokenClaims: (_, { clientId }) => claims[clientId ?? ''],
    });
  };
  await keys('first');
  return {
    ...server,
    issuer: server.url,
    jwks_url: `${server.url}/jwks`,
    /** How often its keys were fetched. */
    fetched: () => server.asked('/jwks'),
    /** It takes requests and answers none, until it is released. `left`: somebody waits no longer. */
    hold() {
      let release = () => {};
      held = new Promise((done) => {
        release = done;
      });
      return { release, left };
    },
    /** It signs with another key from now on, and knows the old one no more. */
    rotate: keys,
    /** What a program gets that says its secret: `sub` is its id. */
    async tokenOf(client: string): Promise<string> {
      const response = await fetch(`${server.url}/token`, {
        method: 'POST',
        headers: { authorization: `Basic ${btoa(`${client}:known-to-the-tests`)}` },
        body: new URLSearchParams({ grant_type: 'client_credentials', resource }),
      });
      const { access_token, ...more } = (await response.json()) as { access_token?: string };
      if (access_token === undefined) throw new Error(JSON.stringify(more));
      return access_token;
    },
    /** What it gives the application `app` for somebody who logged in there. */
    async tokenFor(accountId: string): Promise<string> {
      if (!provider) throw new Error('not started');
      const client = await provider.Client.find('app');
      const info = { scope: '', audience, accessTokenTTL: ttlS, accessTokenFormat: 'jwt', jwt: { sign: { alg } } } as never;
      const token = new provider.AccessToken({ accountId, client, gty: 'authorization_code' } as never);
      Object.assign(token, { resourceServer: new provider.ResourceServer(resource, info) });
      return token.save();
    },
  };
}
