/** What signs tokens, the same in every server of the bench. */
export const key = 'bench-key';
export const secret = 'a-secret-of-the-bench-of-48-characters-and-no-use';
export const livekitUrl = 'ws://127.0.0.1:1';
