// Times as people say them; exact on hover.

import { el } from "./dom.js";

const relative = new Intl.RelativeTimeFormat("en", { numeric: "auto" });
const exact = new Intl.DateTimeFormat("en", { dateStyle: "medium", timeStyle: "long" });
const UNITS = [["year", 31536000], ["month", 2592000], ["week", 604800], ["day", 86400], ["hour", 3600], ["minute", 60]];

export function ago(text) {
  const seconds = (Date.now() - new Date(text)) / 1000;
  for (const [unit, size] of UNITS) {
    if (seconds >= size) return relative.format(-Math.floor(seconds / size), unit);
  }
  return "just now";
}

const short = new Intl.DateTimeFormat("en", { dateStyle: "medium", timeStyle: "medium" });

export const exactly = (text) => short.format(new Date(text));

export const isPast = (text) => new Date(text) <= new Date();

export function time(text) {
  if (!text) return el("span", { class: "quiet" }, "never");
  return el("time", { datetime: text, title: exact.format(new Date(text)) }, ago(text));
}

export function refreshTimes() {
  for (const shown of document.querySelectorAll("time[datetime]")) {
    const said = ago(shown.dateTime);
    if (shown.textContent !== said) shown.textContent = said;
  }
}
