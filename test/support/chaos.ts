import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { type Place, PlaceReader } from './place.ts';
import type { Random } from './random.ts';

type Side = 'client' | 'server';

/** How a connection ends, after how many bytes of which side. */
export type Cut = { from: Side; after: number } & (
  | { how: 'reset' | 'fin' }
  /** Nothing of these sides is forwarded any more, their end neither, until `ms` are over. `late`: what was held back arrives then, and the end after it. */
  | { how: 'half-open'; silent: readonly Side[]; ms: number; late: boolean }
);

/** What is done to one connection. */
export interface Plan {
  cut: Cut | undefined;
  /** How many bytes the next piece has; absent: they go on as they came. */
  sliceBytes?: (() => number) | undefined;
  /** How long what comes behind a piece waits. */
  delayMs?: (() => number) | undefined;
}

/** What was done, by kind. */
export class Tally {
  /** Connections that were broken or silenced while they counted. */
  cuts = 0;
  /** The same while they did not. */
  others = 0;
  readonly kinds: Record<string, number> = {};

  add(kind: string): void {
    this.kinds[kind] = (this.kinds[kind] ?? 0) + 1;
  }
}

/** A plan as a bad network makes it: every connection is cut, at any byte. `isLate`: what was held back may arrive after its sender has given up. */
export function badNetwork(random: Random, { isLate = true } = {}): Plan {
  const from = random.pick<Side>(['client', 'server']);
  const upgradeBytes = from === 'client' ? 240 : 129;
  const most = random.pick([upgradeBytes, upgradeBytes, 800, 800, 2_000, 2_000, 2_000, 6_000, 6_000, 20_000]);
  const after = random.int(0, most);
  const how = random.pick<Cut['how']>(['reset', 'reset', 'fin', 'fin', 'half-open']);
  const silent = random.pick<readonly Side[]>([['client', 'server'], ['client', 'server'], ['client'], ['server']]);
  const cut: Cut =
    how === 'half-open'
      ? { from, after, how, silent, ms: random.int(20, random.pick([300, 900, 900, 5_000])), late: isLate && random.chance(0.5) }
      : { from, after, how };
  const [isSliced, isDelayed, own] = [random.chance(0.25), random.chance(0.25), random.fork()];
  const mostBytes = isDelayed ? 1_000 : random.pick([16, 200, 1_000]);
  return {
    cut: cut,
    sliceBytes: isSliced ? () => own.int(1, mostBytes) : undefined,
    delayMs: isDelayed ? () => (own.chance(0.3) ? own.int(1, 8) : 0) : undefined,
  };
}

interface ChaosOptions {
  /** Where the next connection leads. */
  target(): number;
  /** What is done to the next connection. */
  plan(): Plan;
  tally: Tally;
  /** Whether a cut now is one of those to count. */
  counts?(): boolean;
}

/** Lies between clients and a server on loopback, and does to their bytes what a bad network would. */
export class ChaosProxy {
  readonly #server: Server;
  readonly #options: ChaosOptions;
  readonly #lines = new Set<Line>();
  #isCalm = false;

  private constructor(options: ChaosOptions) {
    this.#options = options;
    this.#server = createServer((client) => this.#join(client));
  }

  static async start(options: ChaosOptions): Promise<ChaosProxy> {
    const proxy = new ChaosProxy(options);
    proxy.#server.listen(0, '127.0.0.1');
    await once(proxy.#server, 'listening');
    return proxy;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** From now on nothing is cut; what is half open stays so until its time is over. */
  calm(): void {
    this.#isCalm = true;
    for (const line of this.#lines) line.calm();
  }

  close(): void {
    this.#server.close();
    for (const line of this.#lines) line.destroy();
  }

  #join(client: Socket): void {
    const { target, plan, tally, counts = () => true } = this.#options;
    const upstream = connect(target(), '127.0.0.1');
    const calm: Plan = { cut: undefined };
    const onCut = (kinds: string[]) => {
      if (counts()) tally.cuts += 1;
      else tally.others += 1;
      for (const kind of kinds) tally.add(kind);
    };
    const own = plan();
    client.on('error', () => {});
    upstream.on('error', () => client.destroy());
    // one that is not connected yet cannot be reset
    upstream.once('connect', () => {
      if (client.destroyed) return upstream.destroy();
      const line = new Line(client, upstream, this.#isCalm ? calm : own, { onCut, onEvent: (kind) => tally.add(kind) });
      this.#lines.add(line);
      void line.over.then(() => this.#lines.delete(line));
    });
  }
}

interface LineListener {
  onCut(kinds: string[]): void;
  onEvent(kind: string): void;
}

/** One connection through the proxy. */
class Line {
  readonly over: Promise<void>;
  readonly #sockets: Record<Side, Socket>;
  readonly #pipes: Record<Side, Pipe>;
  readonly #listener: LineListener;
  #cut: Cut | undefined;
  #timer: NodeJS.Timeout | undefined;
  #givenUp: Side | undefined;

  constructor(client: Socket, upstream: Socket, plan: Plan, listener: LineListener) {
    this.#sockets = { client, server: upstream };
    this.#listener = listener;
    this.#cut = plan.cut;
    if (plan.sliceBytes !== undefined) listener.onEvent('sliced');
    if (plan.delayMs !== undefined) listener.onEvent('delayed');
    const pipe = (side: Side, other: Side) =>
      new Pipe(this.#sockets[other], plan, {
        left: () =>
          this.#timer === undefined && this.#cut?.from === side ? this.#cut.after - this.#pipes[side].bytes : Number.POSITIVE_INFINITY,
        reached: (place) => this.#reached(place),
      });
    this.#pipes = { client: pipe('client', 'server'), server: pipe('server', 'client') };
    const ends = (['client', 'server'] as const).map((side) => {
      const socket = this.#sockets[side].setNoDelay(true);
      socket.on('error', () => {});
      socket.on('data', (data) => this.#pipes[side].take(data));
      return new Promise<void>((done) =>
        socket.once('close', () => {
          this.#ended(side);
          done();
        }),
      );
    });
    this.over = Promise.all(ends).then(() => clearTimeout(this.#timer));
  }

  calm(): void {
    if (this.#timer === undefined) this.#cut = undefined;
  }

  destroy(): void {
    for (const socket of Object.values(this.#sockets)) socket.destroy();
  }

  #reached(place: Place): void {
    const cut = this.#cut;
    if (!cut || this.#timer !== undefined) return;
    const { client, server } = this.#sockets;
    if (client.destroyed || server.destroyed) {
      this.#cut = undefined;
      return;
    }
    const kind = cut.how === 'half-open' ? `half-open ${cut.silent.length === 2 ? 'both ways' : `from the ${cut.silent[0]}`}` : cut.how;
    this.#listener.onCut([kind, place]);
    if (cut.how === 'half-open') {
      for (const side of cut.silent) this.#pipes[side].isSilent = true;
      this.#timer = setTimeout(() => this.#givesIn(cut), cut.ms);
      return;
    }
    this.#stop();
    if (cut.how === 'fin') for (const socket of [client, server]) socket.end();
    else for (const socket of [client, server]) reset(socket);
    // one that does not close with us is not waited for
    this.#timer = setTimeout(() => this.destroy(), 1_000);
  }

  /** The time of a half-open connection is over. */
  #givesIn({ late, silent }: Extract<Cut, { how: 'half-open' }>): void {
    if (this.#givenUp === undefined) this.#listener.onEvent('given up by nobody in time');
    if (late) {
      this.#listener.onEvent('held back, then late');
      for (const side of silent) this.#pipes[side].release();
      this.#stop();
      for (const socket of Object.values(this.#sockets)) socket.end();
      this.#timer = setTimeout(() => this.destroy(), 1_000);
      return;
    }
    this.#stop();
    for (const socket of Object.values(this.#sockets)) reset(socket);
  }

  #stop(): void {
    for (const pipe of Object.values(this.#pipes)) pipe.isOver = true;
  }

  #ended(side: Side): void {
    const pipe = this.#pipes[side];
    const other = this.#sockets[side === 'client' ? 'server' : 'client'];
    if (this.#timer !== undefined && this.#givenUp === undefined && this.#cut?.how === 'half-open' && !pipe.isOver) {
      this.#givenUp = side;
      this.#listener.onEvent(side === 'client' ? 'given up by the client' : 'given up by the gateway');
    }
    // the end of a silent side is as silent
    if (!pipe.isSilent) pipe.whenEmpty(() => other.destroySoon());
  }
}

/** Ends a connection with RST, at once: Node's `resetAndDestroy` ends what it writes first. */
const reset = (socket: Socket) => void Object.assign(socket, { resetAndClosing: true }).destroy();

interface PipeListener {
  /** How many bytes may still be forwarded. */
  left(): number;
  /** They are. */
  reached(place: Place): void;
}

/** One direction of a connection. */
class Pipe {
  bytes = 0;
  /** What comes is kept, and not forwarded. */
  isSilent = false;
  /** What comes is dropped. */
  isOver = false;
  readonly #sink: Socket;
  readonly #plan: Plan;
  readonly #listener: PipeListener;
  readonly #place = new PlaceReader();
  readonly #queue: Buffer[] = [];
  #isBusy = false;
  #onEmpty: (() => void) | undefined;

  constructor(sink: Socket, plan: Plan, listener: PipeListener) {
    this.#sink = sink;
    this.#plan = plan;
    this.#listener = listener;
  }

  take(data: Buffer): void {
    if (this.isOver) return;
    this.#queue.push(...pieces(data, this.#plan.sliceBytes ?? (() => data.length)));
    if (!this.#isBusy) this.#pump();
  }

  whenEmpty(run: () => void): void {
    this.#onEmpty = run;
    if (!this.#isBusy) this.#pump();
  }

  /** Forwards at once what was held back. */
  release(): void {
    this.isSilent = false;
    for (const piece of this.#queue.splice(0)) this.#write(piece);
  }

  #pump(): void {
    this.#isBusy = false;
    const { delayMs, sliceBytes } = this.#plan;
    while (!this.isOver && !this.isSilent) {
      const piece = this.#queue.shift();
      if (piece === undefined) {
        this.#onEmpty?.();
        return;
      }
      const left = this.#listener.left();
      if (piece.length >= left) {
        this.#write(piece.subarray(0, left));
        this.#queue.unshift(piece.subarray(left));
        this.#listener.reached(this.#place.place);
        // silenced or over now, or it counts no longer
        continue;
      }
      this.#write(piece);
      if (!delayMs && !sliceBytes) continue;
      this.#isBusy = true;
      const [next, ms] = [() => this.#pump(), delayMs?.() ?? 0];
      if (ms === 0) setImmediate(next);
      else setTimeout(next, ms);
      return;
    }
  }

  #write(piece: Buffer): void {
    this.bytes += piece.length;
    this.#place.read(piece);
    if (piece.length > 0 && !this.#sink.destroyed && this.#sink.writable) this.#sink.write(piece);
  }
}

function pieces(data: Buffer, bytes: () => number): Buffer[] {
  const found: Buffer[] = [];
  for (let at = 0; at < data.length; at += found.at(-1)?.length ?? 0) found.push(data.subarray(at, at + bytes()));
  return found;
}
