import type { Command, CommandType } from '../../protocol/commands.ts';
import { iso } from '../time.ts';
import type { Session } from './record.ts';

/** Commands that report to every service of a session how the session stands. */
export type NotificationType = Exclude<CommandType, 'JoinRoomRequest' | 'LeaveRoomRequest'>;

interface Row<T extends NotificationType> {
  /** Whether it can change at all while this session lives. */
  canChange(session: Session): boolean;
  /** Whether it differs from what a service assumes that has received nothing. */
  isNews(session: Session): boolean;
  body(session: Session): Omit<Command<T>, 'type'>;
}

const rows: { [T in NotificationType]: Row<T> } = {
  ClientPresence: {
    canChange: ({ resume }) => resume !== undefined,
    isNews: ({ link }) => link === 'away',
    body: ({ session_id, link, deadlines }) => ({
      session_id,
      status: link === 'away' ? 'away' : 'connected',
      ...(deadlines.resume !== undefined && { resume_deadline: iso(deadlines.resume) }),
    }),
  },
};

const types = Object.keys(rows) as NotificationType[];

export const notification = (type: NotificationType, session: Session) =>
  ({ type, ...rows[type].body(session) }) as Command<NotificationType>;

/** Those that may have changed since a service last received one. */
export const changeable = (session: Session) => types.filter((type) => rows[type].canChange(session));

/** Those without which a service would take the session to stand otherwise. */
export const news = (session: Session) => types.filter((type) => rows[type].isNews(session));

/** Those by which the two differ. */
export const changed = (before: Session, after: Session) => types.filter((type) => rows[type].isNews(before) !== rows[type].isNews(after));
