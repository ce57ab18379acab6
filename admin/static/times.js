// Relative times, with the exact time as a tooltip.

import { el } from "./dom.js";

const relative = new Intl.RelativeTimeFormat("en", { numeric: "auto" });
const long = new Intl.DateTimeFormat("en", { dateStyle: "medium", timeStyle: "long" });
const short = new Intl.DateTimeFormat("en", { dateStyle: "medium", timeStyle: "medium" });
const UNITS = [["year", 31536000], ["month", 2592000], ["week", 604800], ["day", 86400], ["hour", 3600], ["minute", 60]];

export function ago(text) {
  const seconds = (Date.now() - new Date(text)) / 1000;
  for (const [unit, size] of UNITS) {
    if (seconds >= size) return relative.format(-Math.floor(seconds / size), unit);
  }
  return "just now";
}

export const localTime = (text) => short.format(new Date(text));

export const isPast = (text) => new Date(text) <= new Date();

export function time(text) {
  if (!text) return el("span", { class: "quiet" }, "never");
  return el("time", { datetime: text, title: long.format(new Date(text)) }, ago(text));
}

export function refreshTimes() {
  for (const element of document.querySelectorAll("time[datetime]")) {
    const text = ago(element.dateTime);
    if (element.textContent !== text) element.textContent = text;
  }
}
