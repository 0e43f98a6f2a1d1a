import type { Context } from 'hono';
import { asyncapi } from '../../protocol/asyncapi.ts';
import { openapi } from '../../protocol/openapi.ts';
import type { App } from './app.ts';

/** Serves the contract as OpenAPI and AsyncAPI, each with the address that it was asked for at. */
export function documents(app: App, version: string): void {
  const serve = (make: (version: string, url?: string) => object) => {
    // most are asked for at one address only
    let made: { url: string | undefined; text: string } | undefined;
    return (c: Context) => {
      const url = addressOf(c);
      if (!made || made.url !== url) made = { url, text: JSON.stringify(make(version, url)) };
      return c.body(made.text, 200, { 'content-type': 'application/json' });
    };
  };
  app.get('/openapi.json', serve(openapi));
  app.get('/asyncapi.json', serve(asyncapi));
}

/** As the caller reaches the gateway; a proxy in front may speak TLS. */
function addressOf(c: Context): string | undefined {
  const host = c.req.header('host');
  return host && `${c.req.header('x-forwarded-proto') === 'https' ? 'https' : 'http'}://${host}`;
}
