import type { Offers } from '../../src/sessions/ports.ts';

/** No service is registered. */
export const noOffers: Offers = {
  available: () => [],
  registered: () => [],
  dispatch: async () => {},
  reserve: () => undefined,
  commands: { offer: async () => {}, leave: () => {}, notify: () => {} },
  release: () => {},
};
