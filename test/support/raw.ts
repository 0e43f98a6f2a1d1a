import { connect } from 'node:net';

export interface RawAnswer {
  status: number;
  /** By name in lower case. */
  headers: Record<string, string>;
  body: string;
}

/** The headers of an upgrade to a WebSocket. */
export const webSocket = {
  Connection: 'Upgrade',
  Upgrade: 'websocket',
  'Sec-WebSocket-Version': '13',
  'Sec-WebSocket-Key': 'dGhlIHNhbXBsZSBub25jZQ==',
};

/** Sends bytes as they are. @returns everything that came until the gateway ended the connection */
export function rawBytes(url: string, sent: string | Buffer): Promise<Buffer> {
  const { hostname, port } = new URL(url);
  return new Promise((done, fail) => {
    const chunks: Buffer[] = [];
    const socket = connect(Number(port), hostname.replace(/^\[|\]$/g, ''), () => socket.write(sent));
    socket.on('data', (chunk: Buffer) => chunks.push(chunk));
    socket.on('error', fail);
    socket.on('close', () => done(Buffer.concat(chunks)));
  });
}

/** Sends requests as they are, whose last one ends the connection. @returns the answers in their order */
export async function raw(url: string, sent: string | Buffer): Promise<RawAnswer[]> {
  let rest = await rawBytes(url, sent);
  const answers: RawAnswer[] = [];
  while (rest.length > 0) {
    const end = rest.indexOf('\r\n\r\n');
    if (end < 0) throw new Error(`not an HTTP answer: ${rest}`);
    const [line = '', ...lines] = rest.toString('latin1', 0, end).split('\r\n');
    const headers = Object.fromEntries(
      lines.map((text) => [text.slice(0, text.indexOf(':')).toLowerCase(), text.slice(text.indexOf(':') + 1).trim()]),
    );
    const length = Number(headers['content-length'] ?? 0);
    answers.push({ status: Number(line.split(' ')[1]), headers, body: rest.toString('utf8', end + 4, end + 4 + length) });
    rest = rest.subarray(end + 4 + length);
  }
  return answers;
}

/** One request, which ends its connection unless it says otherwise. */
export const head = (line: string, headers: Record<string, string | string[]> = {}): string => {
  const all: Record<string, string | string[]> = { Host: 'localhost', Connection: 'close', ...headers };
  const lines = Object.entries(all).flatMap(([name, values]) => [values].flat().map((value) => `${name}: ${value}\r\n`));
  return `${line.includes(' HTTP/') ? line : `${line} HTTP/1.1`}\r\n${lines.join('')}\r\n`;
};
