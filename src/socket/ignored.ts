import type { AnswerType } from '../../protocol/answers.ts';

/** Answers that are still to come; for a peer that asks for more at once with unknown fields, those of the first requests are dropped. */
const maxWaiting = 32;

/** The unknown fields of a socket's requests, until they go out with the answers. */
export class IgnoredFields {
  readonly #waiting: { reply: AnswerType; id: string | undefined; names: readonly string[] }[] = [];

  add(reply: AnswerType, id: string | undefined, names: readonly string[]): void {
    if (this.#waiting.push({ reply, id, names }) > maxWaiting) this.#waiting.shift();
  }

  /** Those of the request that this answers; an Error answers by its id alone. */
  take(reply: AnswerType | undefined, id: string | undefined): readonly string[] | undefined {
    const at = this.#waiting.findIndex((one) => one.id === id && (reply === undefined || one.reply === reply));
    return at < 0 ? undefined : this.#waiting.splice(at, 1)[0]?.names;
  }
}
