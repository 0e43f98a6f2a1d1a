/** Who somebody is, as their credential says. A device is one of a user; an operator is a program or a person that runs the gateway or acts for its users. */
export const kinds = ['user', 'device', 'service', 'operator'] as const;
export type Kind = (typeof kinds)[number];

/** What an operator's credential allows; one that names none allows `read` and `manage`. */
export const scopes = {
  act_as: 'Open sessions for any user, and act as that user where a call names it: the backend of an application',
  read: 'List, read and watch every session; list services; statistics and the state of the gateway',
  manage: 'Change and end every session; drain and deregister services; reload the keys',
  tokens: 'Tokens that administer a room',
  keys: 'Make, list and revoke API keys',
  devices: 'List, rename and revoke devices of every user',
} as const;
export type Scope = keyof typeof scopes;
export const defaultScopes: readonly Scope[] = ['read', 'manage'];

/** What a caller is to a session; the first that fits counts. */
export const standings = ['operator', 'owner', 'service', 'participant', 'viewer', 'public', 'stranger'] as const;
export type Standing = (typeof standings)[number];

/** Who may ask for one thing. Whoever may not gets FORBIDDEN, whatever else the request names. */
export interface AccessRow {
  about: string;
  /** Absent: whoever can reach the gateway, without a credential too. */
  by?: {
    readonly user?: true;
    readonly device?: true;
    readonly service?: true;
    /** With this scope; true: with any. One with act_as that names a user asks as that user. */
    readonly operator?: Scope | true;
  };
  /**
   * About one session: what a caller other than an operator must be to it. Who may not read it gets SESSION_NOT_FOUND, anybody else FORBIDDEN.
   * Absent: it is about no session, or decides by itself.
   */
  standings?: readonly Exclude<Standing, 'operator' | 'stranger'>[];
}

const readers = ['owner', 'service', 'participant', 'viewer', 'public'] as const;

/** Everything that can be asked of the gateway, as far as it differs in who may. The rows of requests.ts and rest.ts name theirs. */
export const access = {
  anything: { about: 'Whether the gateway is there, and who one is' },
  open: { about: 'Open a session', by: { user: true, device: true, operator: 'act_as' } },
  resume: { about: 'Resume a session with its token: its user, or whoever opened it', by: { user: true, device: true, operator: true } },
  read: { about: 'Get a session, get its messages', by: { user: true, device: true, service: true, operator: 'read' }, standings: readers },
  watch: { about: 'Watch a session', by: { user: true, device: true, operator: 'read' }, standings: readers },
  list: { about: 'List sessions: a user its own, an operator all', by: { user: true, device: true, operator: 'read' } },
  add_message: {
    about: 'Add a message',
    by: { user: true, device: true, service: true, operator: 'manage' },
    standings: ['owner', 'service', 'participant'],
  },
  update_context: {
    about: 'Update the context',
    by: { user: true, device: true, service: true, operator: 'manage' },
    standings: ['owner', 'service'],
  },
  update_session: { about: 'Update metadata or visibility, extend', by: { user: true, operator: 'manage' }, standings: ['owner'] },
  share: { about: 'Share, unshare, delete', by: { user: true, operator: 'manage' }, standings: ['owner'] },
  end: { about: 'End a session', by: { user: true, device: true, operator: 'manage' }, standings: ['owner'] },
  join_token: {
    about: 'A new token for the user of a session',
    by: { user: true, device: true, operator: 'manage' },
    standings: ['owner'],
  },
  manager_token: { about: 'A token that administers the room of a session', by: { operator: 'tokens' } },
  report: { about: 'Report for an assignment of its own', by: { service: true } },
  register: { about: 'Register a service of its own, set its status, deregister it', by: { service: true } },
  remove_service: { about: 'Drain or deregister a service by its id: a service its own', by: { service: true, operator: 'manage' } },
  list_services: { about: 'List services: a service its own', by: { service: true, operator: 'read' } },
  statistics: { about: 'Statistics', by: { operator: 'read' } },
  reload_keys: { about: 'Read the keys and identity providers of the configuration again', by: { operator: 'manage' } },
} as const satisfies Record<string, AccessRow>;
export type AccessName = keyof typeof access;
