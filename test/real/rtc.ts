// its debug lines go straight to standard output, unless it is loaded in production
const mode = process.env.NODE_ENV;
process.env.NODE_ENV = 'production';
export const rtc = await import('@livekit/rtc-node');
if (mode === undefined) delete process.env.NODE_ENV;
else process.env.NODE_ENV = mode;
