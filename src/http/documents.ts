import type { Context } from 'hono';
import { asyncapi } from '../../protocol/asyncapi.ts';
import { openapi } from '../../protocol/openapi.ts';
import type { App } from './app.ts';

/** Serves the contract as OpenAPI and AsyncAPI. Each is made when it is first asked for. */
export function documents(app: App, version: string): void {
  const serve = (make: (version: string) => object) => {
    let text: string | undefined;
    return (c: Context) => {
      text ??= JSON.stringify(make(version));
      return c.body(text, 200, { 'content-type': 'application/json' });
    };
  };
  app.get('/openapi.json', serve(openapi));
  app.get('/asyncapi.json', serve(asyncapi));
}
