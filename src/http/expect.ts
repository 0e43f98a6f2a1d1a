import type { IncomingMessage, ServerResponse } from 'node:http';

/** Requests whose senders wait to be asked for the body (RFC 9110, 10.1.1), and whether their connections were to be kept. */
const waiting = new WeakMap<IncomingMessage, { response: ServerResponse; isKept: boolean }>();

/** Sends no 100 yet. Who is answered before that may send the body or not: what comes next could not be parsed, so the connection ends. */
export function holdContinue(request: IncomingMessage, response: ServerResponse): void {
  waiting.set(request, { response, isKept: response.shouldKeepAlive });
  response.shouldKeepAlive = false;
}

/** Somebody is about to read the body. Does nothing where it comes unasked. */
export function askForBody(request: IncomingMessage): void {
  const held = waiting.get(request);
  if (!held || !waiting.delete(request)) return;
  held.response.shouldKeepAlive = held.isKept;
  held.response.writeContinue();
}
