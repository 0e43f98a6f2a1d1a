import type { Context } from 'hono';
import { asyncapi, asyncapiServers } from '../../protocol/asyncapi.ts';
import { openapi, openapiServers } from '../../protocol/openapi.ts';
import { senderOf } from '../edge/sender.ts';
import type { App } from './app.ts';

/** Serves the contract as OpenAPI and AsyncAPI, each with the address that it was asked for at. */
export function documents(app: App, version: string): void {
  const serve = (make: (version: string) => object, serversAt: (url: string) => object) => {
    // it takes long to make, and all but the address is always the same
    let made: [beforeServers: string, afterServers: string] | undefined;
    return (c: Context) => {
      const url = addressOf(c);
      made ??= aroundServers(make(version));
      return c.body(made.join(JSON.stringify(serversAt(url))), 200, { 'content-type': 'application/json' });
    };
  };
  app.get('/openapi.json', serve(openapi, openapiServers));
  app.get('/asyncapi.json', serve(asyncapi, asyncapiServers));
}

/** As the caller reaches the gateway; a proxy in front may speak TLS. */
function addressOf(c: Context): string {
  const host = c.req.header('host') ?? 'localhost';
  // what anybody says of itself changes nothing but its own answer
  const protocol = senderOf(c.env.incoming).protocol ?? (c.req.header('x-forwarded-proto') === 'https' ? 'https' : 'http');
  return `${protocol}://${host}`;
}

/** The text of a document, cut where its servers stand. */
function aroundServers(document: object): [string, string] {
  const mark = '"its servers"';
  const [before = '', after = ''] = JSON.stringify({ ...document, servers: JSON.parse(mark) }).split(mark);
  return [before, after];
}
