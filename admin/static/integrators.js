// The guide for those who call: taken along as text, or on paper.

import { busy, byId, copy, tell } from "./dom.js";

byId("print").addEventListener("click", () => print());
byId("copy").addEventListener("click", (event) => busy(event.target, async () => {
  const answer = await fetch("integrators.md").catch(() => null);
  if (answer?.ok) await copy(await answer.text(), event.target);
  else tell(answer?.status === 401 ? "You are not signed in any more." : "The server cannot be reached. Try again.");
}));
