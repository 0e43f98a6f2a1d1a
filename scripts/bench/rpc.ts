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
  process.on('message', async ({ id, ask, given }: Question) => {
    try {
      const answer = answers[ask] as ((given: unknown) => unknown) | undefined;
      if (!answer) throw new Error(`nobody here answers ${ask}`);
      process.send?.({ id, answer: await answer(given) } satisfies Said);
    } catch (error) {
      process.send?.({ id, error: error instanceof Error ? (error.stack ?? error.message) : String(error) } satisfies Said);
    }
  });
}
