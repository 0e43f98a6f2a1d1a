/** What a child of the bench answers to: one function a question. */
export type Answers = Record<string, (given: never) => unknown>;

export interface Question {
  id: number;
  ask: string;
  given: unknown;
}

export type Said = { id: number; answer: unknown } | { id: number; error: string } | { failed: string };

/** Answers the process that started this one, and ends with it, however that ended. */
export function serve(answers: Answers): void {
  process.on('disconnect', () => process.exit());
  process.on('uncaughtException', (error) => {
    process.send?.({ failed: error.stack ?? error.message } satisfies Said, () => process.exit(1));
  });
  const say = (said: Said) => void process.send?.(said);
  process.on('message', ({ id, ask, given }: Question) => {
    const answer = answers[ask] as ((given: unknown) => unknown) | undefined;
    Promise.resolve(given)
      .then(answer ?? (() => Promise.reject(new Error(`nobody here answers ${ask}`))))
      .then(
        (answer) => say({ id, answer }),
        (error: Error) => say({ id, error: error.stack ?? error.message }),
      );
  });
}
