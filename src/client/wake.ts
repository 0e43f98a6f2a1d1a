interface Target {
  addEventListener?(type: string, run: () => void): void;
  removeEventListener?(type: string, run: () => void): void;
}
interface Page extends Target {
  document?: Target & { visibilityState?: string };
}

/**
 * Calls `run` when a browser reports that the network is back or that its page is shown again; timers of a hidden page hardly run. Elsewhere it is never called.
 * @returns an unsubscribe function
 */
export function onWake(run: () => void, page: Page = globalThis as Page): () => void {
  const { document } = page;
  const onShown = () => document?.visibilityState === 'visible' && run();
  page.addEventListener?.('online', run);
  document?.addEventListener?.('visibilitychange', onShown);
  return () => {
    page.removeEventListener?.('online', run);
    document?.removeEventListener?.('visibilitychange', onShown);
  };
}
