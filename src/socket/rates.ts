/** What a socket may cost each second. A level grows with what comes, and goes down with time (a leaky bucket); it may stand as high as the burst. */
export interface RateLimits {
  messagesPerSecond: number;
  messageBurst: number;
  /** Of every kind: messages, fragments, pings, pongs. */
  framesPerSecond: number;
  /** Of those frames. */
  bytesPerSecond: number;
  maxFrameBytes: number;
  /** Fragments of one message. */
  maxFragments: number;
}

/** One message or frame: levels are counted in thousandths, which a millisecond gives back as many of as the limit allows in a second. Small whole numbers stay in place. */
export const one = 1_000;

export const drained = (level: number, by: number) => (level > by ? level - by : 0);
export const bytesIn = (ms: number, perSecond: number) => Math.ceil((ms * perSecond) / 1_000);

/** What the limits on messages let in may come in two fragments each. */
export const frameRate = ({ framesPerSecond, messagesPerSecond }: RateLimits) => Math.max(framesPerSecond, 2 * messagesPerSecond);
export const frameBurst = ({ framesPerSecond, messageBurst }: RateLimits) => Math.max(framesPerSecond, 2 * messageBurst) * one;
/** The largest frame is never too large for it. */
export const byteBurst = ({ bytesPerSecond, maxFrameBytes }: RateLimits) => Math.max(bytesPerSecond, 2 * maxFrameBytes);
