import { afterAll, afterEach, beforeEach } from 'vitest';
import { leaked, running } from './canary.ts';

const fail = () => {
  const [first, ...more] = leaked();
  if (first !== undefined) throw new Error(`a secret was written ${first}${more.length > 0 ? ` (and ${more.length} more)` : ''}`);
};

beforeEach(({ task }) => {
  running.test = task.name;
});
afterEach(fail);
// what is closed with a test is closed after its hooks
afterAll(fail);
