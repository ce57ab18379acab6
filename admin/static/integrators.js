// The guide for those who call: taken along as text, or on paper.

import { busy, byId, copy, say } from "./dom.js";

byId("print").addEventListener("click", () => print());
byId("copy").addEventListener("click", (event) => busy(event.target, async () => {
  const answer = await fetch("integrators.md");
  if (answer.ok) await copy(await answer.text(), event.target);
  else say("You are not signed in any more.");
}));
