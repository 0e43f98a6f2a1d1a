import type { z } from 'zod';
import type { AnswerType, answers } from '../../protocol/answers.ts';
import type { RequestType, requests } from '../../protocol/requests.ts';

type Rows = typeof requests;

/** Requests that have an answer. */
export type Asked = { [T in RequestType]: Rows[T] extends { reply: AnswerType } ? T : never }[RequestType];

/** What a request is made with, as it goes out: what has a default may be left out. */
export type Fields<T extends RequestType> = z.input<Rows[T]['body']>;

/** The answer to a request, as it comes. */
export type Answered<T extends Asked> = Rows[T] extends { reply: infer A extends AnswerType }
  ? z.output<(typeof answers)[A]['body']>
  : never;
