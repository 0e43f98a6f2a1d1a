import type { Load } from './work.ts';

/** Work that is done again and again at so many places at once; each place starts again when its unit is done. */
export class Loop<Place> implements Load {
  units = 0;
  readonly #places: readonly Place[];
  readonly #begin: (place: Place) => void;
  #running = false;
  #busy = 0;
  #quiet: (() => void) | undefined;

  /** `begin` starts a unit, which calls `done` when it is done. */
  constructor(places: readonly Place[], begin: (place: Place) => void) {
    this.#places = places;
    this.#begin = begin;
  }

  run(): void {
    this.#running = true;
    this.#busy = this.#places.length;
    for (const place of this.#places) this.#begin(place);
  }

  done(place: Place): void {
    this.units++;
    if (this.#running) return this.#begin(place);
    if (--this.#busy === 0) this.#quiet?.();
  }

  async pause(): Promise<void> {
    this.#running = false;
    if (this.#busy === 0) return;
    await new Promise<void>((quiet) => {
      this.#quiet = quiet;
    });
  }
}
