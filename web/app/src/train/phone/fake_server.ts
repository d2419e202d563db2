import type { ServerOf } from "../visit";
import { FAKE_DESCRIPTION, FakePhone } from "./fake_phone";

/** No server at all: `npm run dev -- --mode fake` shows the page with it. */
export const fakeServerOf: ServerOf = () => ({
  describe: async () => FAKE_DESCRIPTION,
  open: async (description) => new FakePhone(description, 40),
});
