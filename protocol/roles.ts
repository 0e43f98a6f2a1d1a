/** As what a peer takes part on a socket. */
export const roles = ['client', 'service'] as const;
export type Role = (typeof roles)[number];
