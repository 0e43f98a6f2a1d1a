import type { RawData } from 'ws';
import type { CloseReason } from '../../protocol/close.ts';
import { type Parsed, parse } from '../../protocol/parse.ts';
import { type RequestRow, requests } from '../../protocol/requests.ts';
import { Metered } from './metered.ts';
import type { Held } from './outbox.ts';

/** Reading stops when so many frames wait: more than a person types, and handled within milliseconds. */
const pauseAt = 32;

/** Requests of one socket that run concurrently: after a restart a service speaks of all its sessions at once. */
const maxConcurrent = 256;

/**
 * What a socket's peer sends, in order: a frame is handled when those before it are done. Whatever that takes is made when it is first needed.
 *
 *     free     a frame comes               it is handled; busy if that takes a while, or if it has to wait for its gate
 *     busy     a frame comes               it waits; when `pauseAt` wait, reading is paused
 *     busy     the frame in work is done   the next passes its gate and is handled; when fewer than `pauseAt` wait, reading goes on
 *     busy     a concurrent one is next    the one behind it does not wait for it, if it may run concurrently too
 *     busy     any other is next           it starts when all that run are done
 *     busy     none waits                  free; when the socket closes, what waits is dropped, and what runs is answered to nobody
 */
export abstract class Inbox extends Metered {
  /** Frames behind the one in work. */
  #waiting: string[] | undefined;
  #isBusy = false;
  #isPaused = false;
  /** Requests that hold up none of their kind, until each is done. */
  #running: Set<Promise<void>> | undefined;

  /** Who owns a new session that names no user. */
  protected get ownUser(): string | undefined {
    return undefined;
  }

  /** Handles a frame. @returns what those behind it wait for, which cannot reject; undefined: it is done */
  protected abstract handle(parsed: Parsed): Promise<void> | undefined;

  /** Whether too much waits here for more to be read: nothing is heard of its peer then. */
  protected get isReadingPaused(): boolean {
    return this.#isPaused;
  }

  protected receive(data: RawData, isBinary: boolean): void {
    if (this.closing) return;
    if (isBinary) return this.close({ code: 1003, reason: 'text frames only' });
    if (!this.countMessage()) return;
    // ws hands text over as one Buffer
    const frame = (data as Buffer).toString();
    if (this.#isBusy) {
      this.#waiting ??= [];
      if (this.#waiting.push(frame) === pauseAt) this.#pauseReading(true);
      return;
    }
    const gate = this.gate(frame.length);
    if (gate) {
      this.#waiting = [frame];
      return void this.#drain(undefined, gate);
    }
    // most frames are done with at once, and need no loop
    const done = this.#start(frame);
    if (done) void this.#drain(done, undefined);
  }

  override close(given: CloseReason | { code: number; reason: string }, held?: Held): void {
    if (this.closing || this.closed) return;
    this.dropWaiting();
    // or its answer to our close would not be read
    if (this.#isPaused) this.#pauseReading(false);
    super.close(given, held);
  }

  /** The socket ends: nothing more of it is handled. */
  protected dropWaiting(): void {
    this.#waiting = undefined;
  }

  #pauseReading(paused: boolean): void {
    this.#isPaused = paused;
    if (paused) this.ws.pause();
    else {
      this.ws.resume();
      this.sawSign();
    }
  }

  /**
   * One loop a socket, not one promise chain a frame: waits for the frame in work, then takes what came meanwhile. Cannot reject.
   * @param gate what the first that waits has to wait for
   */
  async #drain(inWork: Promise<void> | undefined, gate: Promise<void> | undefined): Promise<void> {
    this.#isBusy = true;
    for (let done = inWork, wait = gate; ; wait = undefined) {
      if (done) await done;
      if (!this.#waiting?.length) break;
      for (wait ??= this.#gateOfNext(); wait; wait = this.#gateOfNext()) await wait;
      const frame = this.#waiting?.shift();
      if (frame === undefined) break;
      if (this.#isPaused && (this.#waiting?.length ?? 0) < pauseAt) this.#pauseReading(false);
      done = this.#start(frame);
    }
    this.#isBusy = false;
  }

  #gateOfNext(): Promise<void> | undefined {
    return this.gate(this.#waiting?.[0]?.length ?? 0);
  }

  /** @returns what those behind it wait for; undefined: they need not */
  #start(frame: string): Promise<void> | undefined {
    const parsed = parse(frame, this.ownUser);
    const isConcurrent = parsed.ok && (requests[parsed.request.type] as RequestRow).concurrent === true;
    const running = this.#running;
    if (!running?.size || (isConcurrent && running.size < maxConcurrent)) return this.#run(parsed, isConcurrent);
    return Promise.all(running).then(() => (this.closing || this.closed ? undefined : this.#run(parsed, isConcurrent)));
  }

  #run(parsed: Parsed, isConcurrent: boolean): Promise<void> | undefined {
    const done = this.handle(parsed);
    if (!done || !isConcurrent) return done;
    this.#running ??= new Set();
    const running = this.#running.add(done);
    void done.then(() => running.delete(done));
    return undefined;
  }
}
