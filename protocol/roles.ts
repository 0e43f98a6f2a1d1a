/** As what a peer takes part on a socket. */
export const roles = ['client', 'service'] as const;
export type Role = (typeof roles)[number];

/** As what a call may be made: one of the two, or by whoever runs the gateway. */
export const rights = [...roles, 'operator'] as const;
export type Right = (typeof rights)[number];
