import { onTestFinished } from 'vitest';
import WebSocket from 'ws';
import type { Assignment, Handler } from '../../src/client/assignment.ts';
import { type Service, type ServiceOptions, serve } from '../../src/client/service.ts';
import type { SocketClass } from '../../src/client/socket.ts';
import { type Frame, TestClient } from '../support/client.ts';
import { startGateway } from '../support/gateway.ts';
import { TcpProxy } from '../support/proxy.ts';

/** Something a test decides: the one who waits for it goes on when the test says so. */
export class Decision<T = void> {
  readonly made: Promise<T>;
  make!: (value: T) => void;
  refuse!: (error: unknown) => void;

  constructor() {
    this.made = new Promise((resolve, reject) => {
      this.make = resolve;
      this.refuse = reject;
    });
  }
}

/** A gateway, and a proxy before it whose connections can be cut. */
export async function startAll() {
  const gateway = await startGateway();
  const proxy = await TcpProxy.before(Number(new URL(gateway.url).port));
  const client = await TestClient.connect(gateway.url);

  /** What services sent, in order. */
  const sent: Frame[] = [];
  /** Their sockets, in order. */
  const sockets: WebSocket[] = [];
  class Tapped extends WebSocket {
    constructor(url: string) {
      super(url);
      sockets.push(this);
    }
    override send(text: string): void {
      sent.push(JSON.parse(text));
      super.send(text);
    }
  }
  /** A registered service behind the proxy. Closed with the test. */
  const start = async (handler: Handler = () => {}, options: Partial<ServiceOptions> = {}) => {
    const service = begin(handler, options);
    await service.registered;
    return service;
  };
  const begin = (handler: Handler = () => {}, options: Partial<ServiceOptions> = {}) => {
    const service = serve(
      `http://127.0.0.1:${proxy.port}`,
      { service_id: 'asr', WebSocket: Tapped as unknown as SocketClass, ...options },
      handler,
    );
    onTestFinished(() => service.close());
    return service;
  };

  /** Asks for a session with the service. */
  const open = async (more: object = {}): Promise<string> => {
    const answer = await client.ask({ type: 'NewSessionRequest', user_identity: 'ada', required_services: ['asr'], ...more });
    return answer.session_id;
  };

  /** Resolves when the gateway knows that this session was accepted. */
  const begun = async (join: Assignment) => {
    join.progress('begun');
    await client.next((frame) => frame.phase === 'begun');
  };

  /** Cuts the connections of the service. Resolves when it is registered again. */
  const cut = async (service: Service) => {
    const back = isAgain(service, 'open');
    proxy.cut();
    await back;
  };

  /** Cuts the connection in the place of the next frame with this text in it that comes from the gateway. */
  const cutAt = (text: string) => {
    proxy.rule = (from, frame) => {
      if (from === 'client' || !frame.includes(text)) return 'pass';
      proxy.rule = () => 'pass';
      return 'cut';
    };
  };

  return { gateway, proxy, client, start, begin, open, cut, cutAt, sent, sockets, begun };
}

/** The one service the gateway knows, as it lists it. */
export async function listed(url: string): Promise<Frame> {
  const { items } = (await (await fetch(`${url}/api/v1/microservices`)).json()) as { items: Frame[] };
  return items[0] ?? { type: 'none' };
}

/** Resolves when the service comes into this state. */
export const isAgain = (service: Service, state: Service['state']) =>
  new Promise<void>((done) => {
    const off = service.on('state', (now) => {
      if (now !== state) return;
      off();
      done();
    });
  });

/** A handler that tells of each session and waits for the test. */
export function slowHandler() {
  const joins: Assignment[] = [];
  const came = new Decision<Assignment>();
  const done = new Decision<(() => unknown) | undefined>();
  const handler: Handler = (join) => {
    joins.push(join);
    came.make(join);
    return done.made;
  };
  return { handler, joins, came: came.made, done };
}
