/** Calls the handlers of an event's type. */
export class Emitter<Events extends object> {
  readonly #handlers = new Map<keyof Events, Set<{ handler(value: never): void }>>();

  /** Calls `handler` with each event of this type from now on; handlers run in the order of registration. Returns an unsubscribe function. */
  on<K extends keyof Events>(type: K, handler: (value: Events[K]) => void): () => void {
    const handlers = this.#handlers.get(type) ?? new Set();
    this.#handlers.set(type, handlers);
    // its own object, so that the same function can be registered twice
    const entry = { handler };
    handlers.add(entry);
    return () => handlers.delete(entry);
  }

  /** An error that a handler throws is rethrown later, as an uncaught error: the other handlers are still called. */
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
