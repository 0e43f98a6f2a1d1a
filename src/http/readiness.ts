import type { Clock } from '../clock.ts';
import type { Rooms, SessionStore } from '../sessions/ports.ts';
import type { StorageHealth } from '../sessions/storage-health.ts';
import { iso } from '../time.ts';
import type { Endpoints } from './app.ts';

export interface ReadinessParts {
  rooms: Rooms;
  store: SessionStore;
  storageHealth: StorageHealth;
  storageType: string;
  clock: Clock;
  draining(): boolean;
  /** What this node holds now. */
  holds(): { sockets: number; live_sessions: number };
}

type Ready = Awaited<ReturnType<Endpoints['ready']>>;

/** Whether this gateway can serve sessions now, and how its parts stand. */
export class Readiness {
  readonly #parts: ReadinessParts;
  #checking: Promise<Ready> | undefined;
  #lastWebhook: string | undefined;

  constructor(parts: ReadinessParts) {
    this.#parts = parts;
  }

  /** LiveKit's webhooks reach this gateway. */
  webhookCame(): void {
    this.#lastWebhook = iso(this.#parts.clock.now());
  }

  /** One check serves all who ask meanwhile: anybody may. */
  check(): Promise<Ready> {
    this.#checking ??= this.#check().finally(() => {
      this.#checking = undefined;
    });
    return this.#checking;
  }

  async #check(): Promise<Ready> {
    const { rooms, store, storageHealth, storageType } = this.#parts;
    const ping = store.ping().then(
      () => true,
      () => false,
    );
    const [reachable, stored] = await Promise.all([rooms.ping(), ping]);
    const draining = this.#parts.draining();
    const writable = stored && storageHealth.writable;
    return {
      ready: !draining && writable && (reachable || rooms.mode === 'on_join'),
      draining,
      livekit: { mode: rooms.mode, url: rooms.url, reachable, webhooks: this.#lastWebhook ?? 'none seen yet' },
      storage: { type: storageType, reachable: stored, writable, warnings: [...store.warnings()] },
      ...this.#parts.holds(),
    };
  }
}
