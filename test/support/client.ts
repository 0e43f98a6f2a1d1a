import { once } from 'node:events';
import { onTestFinished } from 'vitest';
import WebSocket, { type ClientOptions } from 'ws';
import { watch } from './canary.ts';
import { patienceMs } from './patience.ts';

// biome-ignore lint/suspicious/noExplicitAny: a frame is what the test says it is
export type Frame = { type: string; [field: string]: any };

/** A raw socket that queues every frame, and the close. Ended with the test. */
export class TestClient {
  readonly ws: WebSocket;
  /** Frames not taken yet. */
  readonly frames: Frame[] = [];
  /** Every frame that ever came. */
  readonly all: Frame[] = [];
  /** How the socket ended. */
  readonly closed: Promise<{ code: number; reason: string }>;
  readonly #waiting: { match(frame: Frame): boolean; take(frame: Frame): void; fail(error: Error): void }[] = [];

  private constructor(ws: WebSocket) {
    this.ws = ws;
    this.closed = new Promise((done) => {
      ws.on('close', (code, reason) => {
        for (const waiter of this.#waiting.splice(0)) waiter.fail(new Error(`socket closed ${code} ${reason} before the frame came`));
        done({ code, reason: String(reason) });
      });
    });
    ws.on('error', () => {});
    ws.on('message', (data) => {
      const frame = JSON.parse(String(data)) as Frame;
      this.all.push(frame);
      if (frame.type === 'Error') watch(String(data));
      const at = this.#waiting.findIndex((waiter) => waiter.match(frame));
      if (at < 0) this.frames.push(frame);
      else this.#waiting.splice(at, 1)[0]?.take(frame);
    });
  }

  /** Connects to a gateway's http URL. */
  static async connect(url: string, protocols?: string[], options?: ClientOptions): Promise<TestClient> {
    const ws = new WebSocket(`${url.replace(/^http/, 'ws')}/ws`, protocols, options);
    const client = new TestClient(ws);
    await once(ws, 'open');
    onTestFinished(() => ws.terminate());
    return client;
  }

  send(frame: object | string): void {
    this.ws.send(typeof frame === 'string' ? frame : JSON.stringify(frame));
  }

  /** The next frame of this type (or that fits), taken out of the queue; others stay. */
  async next(wanted: string | ((frame: Frame) => boolean)): Promise<Frame> {
    const match = typeof wanted === 'string' ? (frame: Frame) => frame.type === wanted : wanted;
    const at = this.frames.findIndex(match);
    if (at >= 0) return this.frames.splice(at, 1)[0] as Frame;
    return new Promise((take, fail) => {
      const timer = setTimeout(
        () => fail(new Error(`no ${wanted} within ${patienceMs} ms; came: ${this.all.map((f) => f.type).join(' ')}`)),
        patienceMs,
      );
      this.#waiting.push({
        match,
        take: (frame) => {
          clearTimeout(timer);
          take(frame);
        },
        fail: (error) => {
          clearTimeout(timer);
          fail(error);
        },
      });
    });
  }

  /** Sends a request and takes its answer, or the Error in its place. */
  async ask(frame: { type: string; id?: string; [field: string]: unknown }): Promise<Frame> {
    const id = frame.id ?? `t${++asked}`;
    this.send({ ...frame, id });
    return this.next((answer) => answer.id === id);
  }

  /** Everything the gateway had to say so far has come: asks and waits for a Pong. */
  async caughtUp(): Promise<void> {
    await this.ask({ type: 'Ping' });
  }

  types(): string[] {
    return this.all.map((frame) => frame.type);
  }
}
let asked = 0;

/** A registered service on its own socket. `auto`: accepts and is ready at once, and leaves when asked. */
export async function connectService(
  url: string,
  service_id: string,
  more: { auto?: boolean; [field: string]: unknown } = {},
): Promise<TestClient> {
  const { auto = true, ...fields } = more;
  const service = await TestClient.connect(url);
  if (auto) {
    service.ws.on('message', (data) => {
      const frame = JSON.parse(String(data)) as Frame;
      const { assignment_id } = frame;
      if (frame.type === 'JoinRoomRequest') {
        service.send({ type: 'JoinRoomResponse', assignment_id, accepted: true });
        service.send({ type: 'ServiceReady', assignment_id });
      }
      if (frame.type === 'LeaveRoomRequest') service.send({ type: 'ServiceLeft', assignment_id, clean: true });
    });
  }
  const answer = await service.ask({ type: 'RegisterServiceRequest', service_id, ...fields });
  if (answer.type !== 'RegisterServiceResponse') throw new Error(`not registered: ${JSON.stringify(answer)}`);
  return service;
}
