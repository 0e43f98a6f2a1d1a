import { closeSync, openSync, readFileSync } from 'node:fs';
import { devNull } from 'node:os';
import type { Logger } from 'pino';
import type { Clock } from './clock.ts';

/** How often it is checked: two system calls. */
const lookMs = 1_000;
/** Descriptors must have been free for this long before that is reported: clients that reconnect take each one that is freed. */
const calmMs = 5_000;

/**
 * Reports when the process runs out of file descriptors and when it has some again, one line each.
 *
 * Node reports neither. Where accept fails for want of a descriptor, libuv gives up one that it keeps for this, accepts with it, and closes
 * the connection; where that fails too, the connection waits in the system's queue. The server emits no 'error' and no 'drop' (Node 20, 22 and
 * 24). What can be observed is the cause: one more descriptor cannot be opened.
 * @returns stops it
 */
export function watchDescriptors(clock: Clock, log: Logger): () => void {
  // at once: without a descriptor it could not be read
  const limit = openFilesLimit();
  /** Since when there was none, and when that was seen last. */
  let since: number | undefined;
  let seenAt = 0;
  return clock.every(lookMs, () => {
    const now = clock.now();
    const code = faultOfOpening();
    if (code) {
      seenAt = now;
      if (since !== undefined) return;
      since = now;
      const whose = code === 'ENFILE' ? 'this machine is' : 'this process is';
      log.error(
        { code, ...(limit !== undefined && { limit }) },
        `${whose} out of file descriptors: new connections are closed at once and calls to others fail; raise the limit (ulimit -n, LimitNOFILE)`,
      );
    } else if (since !== undefined && now - seenAt >= calmMs) {
      log.info({ out_s: (seenAt - since) / 1_000 }, 'file descriptors are free again');
      since = undefined;
    }
  });
}

/** EMFILE: this process has no descriptor left; ENFILE: the machine; undefined: there is one. */
function faultOfOpening(): 'EMFILE' | 'ENFILE' | undefined {
  try {
    closeSync(openSync(devNull, 'r'));
    return undefined;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    return code === 'EMFILE' || code === 'ENFILE' ? code : undefined;
  }
}

/** How many descriptors the process may have; undefined where the system does not say. */
function openFilesLimit(): number | undefined {
  try {
    return Number(/^Max open files +(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8'))?.[1]) || undefined;
  } catch {
    return undefined;
  }
}
