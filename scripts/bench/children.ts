import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { stopAtEnd } from './ending.ts';
import type { Question, Said } from './rpc.ts';

export const root = join(import.meta.dirname, '../..');
const answerMs = 120_000;

const hasTaskset = spawnSync('taskset', ['-V'], { stdio: 'ignore' }).status === 0;
export const coreCount = availableParallelism();
/** Server and load each have their own core. */
export const isPinned = hasTaskset && coreCount >= 2;
const cores = { server: '0', load: '1' } as const;

/** Leaves the server's core to the server: this process, and what it starts besides, as a storage, share the load's. */
export function leaveServerAlone(): void {
  if (isPinned) spawnSync('taskset', ['-apc', cores.load, `${process.pid}`], { stdio: 'ignore' });
}

/** A server or a load: a built script in its own process that answers questions. */
export class Child {
  readonly #process: ChildProcess;
  readonly #name: string;
  readonly #waiting = new Map<number, { done: (answer: never) => void; fail: (error: Error) => void }>();
  readonly #exited: Promise<void>;
  #asked = 0;
  /** How it ended, and why. */
  #end: string | undefined;

  /** `stdout`: a file's descriptor; absent: nothing is kept. `checkout`: whose script it is. */
  constructor(script: string, role: keyof typeof cores, stdout: number | 'ignore' = 'ignore', checkout = root) {
    this.#name = script;
    const node = [process.execPath, '--expose-gc', join(checkout, 'dist/scripts/bench', script)];
    const [command, ...args] = (isPinned ? ['taskset', '-c', cores[role], ...node] : node) as [string, ...string[]];
    this.#process = spawn(command, args, { cwd: checkout, stdio: ['ignore', stdout, 'inherit', 'ipc'] });
    const gone = stopAtEnd(() => this.stop());
    this.#process.on('message', (said: Said) => {
      if ('failed' in said) {
        this.#end ??= said.failed;
        return;
      }
      const waiting = this.#waiting.get(said.id);
      this.#waiting.delete(said.id);
      if ('error' in said) waiting?.fail(new Error(`${script}: ${said.error}`));
      else waiting?.done(said.answer as never);
    });
    this.#exited = new Promise((done) => {
      const ended = (how: string) => {
        this.#end ??= how;
        gone();
        for (const { fail } of this.#waiting.values()) fail(new Error(`${script} ended: ${this.#end}`));
        this.#waiting.clear();
        done();
      };
      this.#process.once('exit', (code, signal) => ended(signal ?? `code ${code}`));
      this.#process.once('error', (error) => ended(error.message));
    });
  }

  get pid(): number {
    return this.#process.pid ?? 0;
  }

  /** @throws it ended, failed, or did not answer in time */
  ask<T = void>(ask: string, given: unknown = {}, withinMs = answerMs): Promise<T> {
    const id = ++this.#asked;
    return new Promise<T>((done, fail) => {
      const timer = setTimeout(() => fail(new Error(`${this.#name} did not answer ${ask} within ${withinMs} ms`)), withinMs);
      this.#waiting.set(id, {
        done: (answer) => {
          clearTimeout(timer);
          done(answer);
        },
        fail: (error) => {
          clearTimeout(timer);
          fail(error);
        },
      });
      if (this.#process.connected) this.#process.send({ id, ask, given } satisfies Question);
      else this.#waiting.get(id)?.fail(new Error(`${this.#name} has ended: ${this.#end}`));
    });
  }

  /** At once: nothing that a child holds is worth a goodbye. */
  async stop(): Promise<void> {
    this.#process.kill('SIGKILL');
    await this.#exited;
  }
}
