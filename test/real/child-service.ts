// A service as a process of its own. It prints what it does, one step a line.
import { startService } from '../../scripts/demo/service.ts';
import { rtc } from './rtc.ts';

const { gateway, id, ready }: { gateway: string; id: string; ready: boolean } = JSON.parse(process.argv[2] ?? '');
await startService({
  gateway,
  id,
  rtc,
  hears: `to-${id}`,
  says: `from-${id}`,
  work: (text) => text,
  onStep: (step) => console.log(step),
  // one that is killed before it is ready must not become so by chance
  ...(!ready && { prepare: () => new Promise<void>(() => {}) }),
});
