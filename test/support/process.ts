import { type ChildProcess, spawn } from 'node:child_process';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import { watch } from './canary.ts';
import { freePort } from './livekit.ts';
import { patienceMs } from './patience.ts';

export const root = join(import.meta.dirname, '../..');
const stopMs = 5_000;

/** A process of a test: its lines are kept, and it ends with the test. */
export class Child {
  readonly process: ChildProcess;
  /** Every line it printed, on stdout and stderr. */
  readonly lines: string[] = [];
  /** Of stderr alone. */
  readonly errors: string[] = [];
  readonly exited: Promise<{ code: number | null; signal: NodeJS.Signals | null }>;
  readonly #waiting = new Set<() => void>();
  /** How it ended. */
  #ended: string | undefined;

  constructor(command: string, args: readonly string[], options: { env?: NodeJS.ProcessEnv; cwd?: string } = {}) {
    this.process = spawn(command, args, { cwd: root, ...options, stdio: 'pipe' });
    this.exited = new Promise((done) => {
      this.process.once('close', (code, signal) => {
        this.#ended = `${signal ?? `code ${code}`}`;
        for (const look of this.#waiting) look();
        done({ code, signal });
      });
    });
    this.process.once('error', (error) => this.#add(String(error)));
    this.process.stdin?.on('error', () => {});
    for (const stream of [this.process.stdout, this.process.stderr]) {
      let rest = '';
      stream?.setEncoding('utf8').on('data', (text: string) => {
        const lines = (rest + text).split('\n');
        rest = lines.pop() ?? '';
        if (stream === this.process.stderr) this.errors.push(...lines);
        for (const line of lines) watch(line);
        this.#add(...lines);
      });
    }
    onTestFinished(() => this.stop());
  }

  get pid(): number {
    if (this.process.pid === undefined) throw new Error('the process did not start');
    return this.process.pid;
  }

  /** Types a line into it. */
  type(line: string): void {
    this.process.stdin?.write(`${line}\n`);
  }

  /** The first line that fits, of those printed already or to come; with `from`, of those after so many. */
  async line(match: string | RegExp, from = 0): Promise<string> {
    const find = () => this.lines.slice(from).find((line) => (typeof match === 'string' ? line.includes(match) : match.test(line)));
    return new Promise((found, fail) => {
      const end = () => {
        clearTimeout(timer);
        this.#waiting.delete(look);
      };
      const look = () => {
        const line = find();
        if (line !== undefined) {
          end();
          found(line);
        } else if (this.#ended) {
          end();
          fail(new Error(`it ended (${this.#ended}) without a line like ${match}; it printed:\n${this.lines.join('\n')}`));
        }
      };
      const timer = setTimeout(() => {
        end();
        fail(new Error(`no line like ${match} within ${patienceMs} ms; it printed:\n${this.lines.join('\n')}`));
      }, patienceMs);
      this.#waiting.add(look);
      look();
    });
  }

  /** The JSON of the first line with this text in it. */
  async json(match: string | RegExp, from = 0) {
    return JSON.parse(await this.line(match, from));
  }

  kill(signal: NodeJS.Signals): void {
    this.process.kill(signal);
  }

  /** Ends it, by force where it does not go. Safe to repeat. */
  async stop(): Promise<void> {
    if (this.#ended) return;
    this.kill('SIGTERM');
    const timer = setTimeout(() => this.kill('SIGKILL'), stopMs);
    await this.exited;
    clearTimeout(timer);
  }

  #add(...lines: string[]): void {
    this.lines.push(...lines);
    for (const look of this.#waiting) look();
  }
}

/** Runs a TypeScript file of this repository. Its arguments reach it as JSON in argv[2]. */
export const startScript = (path: string, given: object): Child =>
  new Child(process.execPath, ['--import', 'tsx', join(root, path), JSON.stringify(given)]);

/** The environment of a process that must see none of the settings of whoever runs the tests. */
export function cleanEnv(set: Record<string, string> = {}): NodeJS.ProcessEnv {
  const settings = /^(server|auth|livekit|gateway|workspace|microservices|session|limits|heartbeat|logging|npm)_|^(log_level|rust_log)$/i;
  return { ...Object.fromEntries(Object.entries(process.env).filter(([name]) => !settings.test(name))), ...set };
}

/** Starts the built gateway on a free port, without a LiveKit unless `env` names one. Its pid is the gateway's own. */
export async function startBuiltGateway(env: Record<string, string> = {}, args: readonly string[] = []): Promise<Child & { url: string }> {
  const set = { SERVER_PORT: '0', LIVEKIT_MODE: 'on_join', LIVEKIT_SERVER_URL: `ws://127.0.0.1:${await freePort()}`, ...env };
  const child = new Child(process.execPath, ['dist/src/main.js', ...args], { env: cleanEnv(set) });
  return Object.assign(child, { url: await restUrl(child) });
}

/** The REST URL a gateway printed. */
export async function restUrl(gateway: Child): Promise<string> {
  return (await gateway.line(/^REST:/)).replace(/^REST:\s*/, '');
}
