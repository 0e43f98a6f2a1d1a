/** A session's states, in order; only Terminated is final. */
export const statuses = ['Creating', 'WaitingForServices', 'Ready', 'Active', 'Terminating', 'Terminated'] as const;
export type Status = (typeof statuses)[number];

/** How a service's part in a session is shown: not offered, asked, serving, or out of it. */
export const serviceStatuses = ['Registered', 'Joining', 'Ready', 'Disconnected'] as const;
export type ServiceStatus = (typeof serviceStatuses)[number];

/** Whether a registered service takes sessions. */
export const availabilities = ['available', 'full', 'draining'] as const;
export type Availability = (typeof availabilities)[number];

/** Who besides its owner may read a session: nobody, those it is shared with, everybody. */
export const visibilities = ['private', 'shared', 'public'] as const;
export type Visibility = (typeof visibilities)[number];

/** As what a session is shared: to read it, or to take part with messages. */
export const shareRoles = ['viewer', 'participant'] as const;
export type ShareRole = (typeof shareRoles)[number];

/** Why a session ended. */
export const endReasons = [
  'client_ended',
  'owner_deleted',
  'client_gone',
  'protocol_error',
  'resume_expired',
  'client_never_joined',
  'registration_timeout',
  'join_timeout',
  'service_lost',
  'ttl',
  'duration_limit',
  'room_deleted',
  'livekit_error',
  'node_lost',
  'storage_lost',
  'shutdown',
] as const;
export type EndReason = (typeof endReasons)[number];
