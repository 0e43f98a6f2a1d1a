/** Why a required service did not serve. Newer gateways may know more. */
export const failureReasons = ['never_registered', 'no_answer', 'declined', 'failed', 'lost', 'not_ready'] as const;
export type FailureReason = (typeof failureReasons)[number];

/** A required service that did not serve, and why. */
export interface Failure {
  /** As it is named in `missing`. */
  service: string;
  reason: FailureReason;
  /** Reported by the service itself. */
  message?: string | undefined;
}

const maxListed = 8;
const maxNameLength = 64;

/** A name as it is listed. */
export const shortName = (name: string) => name.slice(0, maxNameLength).toWellFormed();

/** Some of a list that others can make long: a, b and 12 more. */
export const some = (items: readonly string[]) =>
  items.slice(0, maxListed).join(', ') + (items.length > maxListed ? ` and ${items.length - maxListed} more` : '');

/** Failures in words, at most eight of them, long names cut: nope (never registered), asr (CUDA out of memory). */
export function inWords(failures: readonly (Omit<Failure, 'reason'> & { reason: string })[]): string {
  return some(failures.map(({ service, reason, message }) => `${shortName(service)} (${message ?? reason.replaceAll('_', ' ')})`));
}
