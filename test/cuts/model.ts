import type { ShareRole, Visibility } from '../../protocol/states.ts';
import type { Wish } from './history.ts';

/** What a session holds of what its own client may change, and what each command does to it. */
export class Model {
  readonly context: Record<string, unknown> = {};
  shares: Record<string, ShareRole> = {};
  visibility: Visibility = 'private';

  /** Carries a command out. @returns what its event in the log looks like; undefined: it has none */
  apply(wish: Wish): string | undefined {
    switch (wish.do) {
      case 'say':
        return mark.said(wish.content);
      case 'set':
        this.context[wish.key] = wish.value;
        this.context.chain = wish.value;
        return mark.changed(['context']);
      case 'extend':
        return mark.changed(['expires_at']);
      case 'share': {
        const isOpen = this.visibility !== 'private';
        if (isOpen && this.shares[wish.user] === wish.role) return undefined;
        this.shares[wish.user] = wish.role;
        if (!isOpen) this.visibility = 'shared';
        return mark.changed(isOpen ? ['shares'] : ['shares', 'visibility']);
      }
      case 'unshare':
        if (this.shares[wish.user] === undefined) return undefined;
        delete this.shares[wish.user];
        return mark.changed(['shares']);
      case 'read':
        return undefined;
    }
  }
}

/** How an event is compared with what was to come of a command. */
export const mark = {
  said: (content: string) => `said ${content}`,
  changed: (what: readonly string[]) => `changed ${what.join(' ')}`,
};
