import { describe, expectTypeOf, test } from 'vitest';
import type { z } from 'zod';
import type { AnswerType, answers } from '../../protocol/answers.ts';
import type { commands } from '../../protocol/commands.ts';
import type { events } from '../../protocol/events.ts';
import type { notices } from '../../protocol/notices.ts';
import type { requests } from '../../protocol/requests.ts';
import type { Answers, Commands, Events, Notices, Replies, Requests } from '../../protocol/types.ts';

type Rows = Record<string, { body: z.ZodType }>;
type Received<R extends Rows> = { [T in keyof R]: z.output<R[T]['body']> };
type Sent<R extends Rows> = { [T in keyof R]: z.input<R[T]['body']> };
type Answered<R> = {
  [T in keyof R as R[T] extends { reply: AnswerType } ? T : never]: R[T] extends { reply: infer A extends AnswerType } ? Answers[A] : never;
};
/** Those in which zod's type of an object with other fields besides its own refuses its own: a list is no text. */
type Loose = 'NewSessionRequest' | 'UpdateSessionRequest';

// it compiles, or `npm run check` fails
describe('the types that are generated are those of the rows', () => {
  test('of what is received', () => {
    expectTypeOf<Answers>().toEqualTypeOf<Received<typeof answers>>();
    expectTypeOf<Events>().toEqualTypeOf<Received<typeof events>>();
    expectTypeOf<Commands>().toEqualTypeOf<{ [T in keyof typeof commands]: Readonly<Received<typeof commands>[T]> }>();
    expectTypeOf<Notices>().toEqualTypeOf<Received<typeof notices>>();
    expectTypeOf<Replies>().toEqualTypeOf<Answered<typeof requests>>();
  });

  test('of what is sent', () => {
    type All = Sent<typeof requests>;
    expectTypeOf<Omit<Requests, Loose>>().toEqualTypeOf<Omit<All, Loose>>();
    expectTypeOf<Omit<Requests['NewSessionRequest'], 'metadata'>>().toEqualTypeOf<Omit<All['NewSessionRequest'], 'metadata'>>();
    expectTypeOf<Omit<Requests['UpdateSessionRequest'], 'metadata_updates'>>().toEqualTypeOf<
      Omit<All['UpdateSessionRequest'], 'metadata_updates'>
    >();
    expectTypeOf<All['NewSessionRequest']>().toExtend<Requests['NewSessionRequest']>();
    expectTypeOf<All['UpdateSessionRequest']>().toExtend<Requests['UpdateSessionRequest']>();
  });

  test('and take tags, which are a list among texts', () => {
    expectTypeOf({ tags: ['kitchen'], floor: 2 }).toExtend<Requests['NewSessionRequest']['metadata']>();
    expectTypeOf({ tags: null, floor: null }).toExtend<Requests['UpdateSessionRequest']['metadata_updates']>();
    expectTypeOf({ tags: ['kitchen'] }).toExtend<Requests['UpdateSessionRequest']['metadata_updates']>();
    expectTypeOf({ floor: { number: 2 } }).not.toExtend<Requests['NewSessionRequest']['metadata']>();
  });
});
