/** Calls handlers by the type of what happened. */
export class Emitter<Events extends object> {
  readonly #handlers = new Map<keyof Events, Set<{ handler(value: never): void }>>();

  /** Calls `handler` with each one from now on, in the order of registration. The returned function takes it back. */
  on<K extends keyof Events>(type: K, handler: (value: Events[K]) => void): () => void {
    const handlers = this.#handlers.get(type) ?? new Set();
    this.#handlers.set(type, handlers);
    // an object of its own, so that the same function can be registered twice
    const entry = { handler };
    handlers.add(entry);
    return () => handlers.delete(entry);
  }

  /** What a handler throws is thrown again outside of everything, as an uncaught error: the other handlers are still called. */
  emit<K extends keyof Events>(type: K, value: Events[K]): void {
    for (const { handler } of [...(this.#handlers.get(type) ?? [])]) {
      try {
        handler(value as never);
      } catch (error) {
        queueMicrotask(() => {
          throw error;
        });
      }
    }
  }
}
