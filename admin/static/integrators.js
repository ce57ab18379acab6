// The integrators' guide: buttons to copy and print it.

import { busy, byId, copy, showToast } from "./components.js";

byId("print").addEventListener("click", () => print());
byId("copy").addEventListener("click", (event) => busy(event.target, async () => {
  const response = await fetch("integrators.md").catch(() => null);
  if (response?.ok) await copy(await response.text(), event.target);
  else showToast(response?.status === 401 ? "You are no longer signed in." : "The server cannot be reached. Try again.");
}));
