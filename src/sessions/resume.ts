import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import { GatewayError } from '../errors.ts';
import type { Session } from './record.ts';

/** What lets a client take its session over on another socket. Only its hash is kept. */
export const newResumeToken = () => randomBytes(24).toString('base64url');

export const hashOfToken = (token: string) => createHash('sha256').update(token).digest('base64url');

/**
 * Checks a resume token, in a time that reveals nothing about the right one.
 * @throws GatewayError RESUME_INVALID, RESUME_EXPIRED
 */
export function checkResume({ resume, ended }: Pick<Session, 'resume' | 'ended'>, token: string): void {
  const right = Buffer.from(resume?.token_hash ?? '');
  const given = Buffer.from(hashOfToken(token));
  if (right.length !== given.length || !timingSafeEqual(right, given)) throw resumeInvalid();
  if (ended?.reason === 'resume_expired')
    throw new GatewayError('RESUME_EXPIRED', 'The session has ended: its client did not resume in time');
}

/** One answer to all who may not: it does not say which sessions there are. */
export const resumeInvalid = () => new GatewayError('RESUME_INVALID', 'No session can be resumed with this token');
