/** Why a required service did not serve. Newer gateways may know more. */
export const failureReasons = ['never_registered', 'no_answer', 'declined', 'failed', 'lost', 'not_ready'] as const;
export type FailureReason = (typeof failureReasons)[number];

/** A required service that did not serve, and why. */
export interface Failure {
  /** As it is named in `missing`. */
  service: string;
  reason: FailureReason;
  /** What the service itself said. */
  message?: string | undefined;
}

const maxNamed = 8;
const maxNameLength = 64;

/** Failures in words, at most eight of them, long names cut: nope (never registered), asr (CUDA out of memory). */
export function inWords(failures: readonly (Omit<Failure, 'reason'> & { reason: string })[]): string {
  const named = failures
    .slice(0, maxNamed)
    .map(({ service, reason, message }) => `${service.slice(0, maxNameLength).toWellFormed()} (${message ?? reason.replaceAll('_', ' ')})`);
  const more = failures.length - named.length;
  return named.join(', ') + (more > 0 ? ` and ${more} more` : '');
}
