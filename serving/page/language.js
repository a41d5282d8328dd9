// The language that the page speaks, and how it writes figures. Who shows texts registers with `onSpeak`.

import { $ } from "./elements.js";
import { ENGLISH } from "./english.js";
import { KOREAN } from "./korean.js";

const TEXTS = { ko: KOREAN, en: ENGLISH };
const redraws = [];

export let language = remembered() ?? (navigator.language.toLowerCase().startsWith("ko") ? "ko" : "en");

function remembered() {
  try {
    const kept = localStorage.getItem("language");
    return kept in TEXTS ? kept : null;
  } catch {
    return null; // storage is turned off
  }
}

export const knows = (key) => key in TEXTS[language];

export function t(key, values = {}) {
  return TEXTS[language][key].replace(/\{(\w+)\}/g, (_, name) => values[name]);
}

export const number = (value) => new Intl.NumberFormat(language).format(value);
export const percent = (value, digits = 1) =>
  new Intl.NumberFormat(language, { style: "percent", minimumFractionDigits: digits, maximumFractionDigits: digits }).format(value);
export const points = (value) => new Intl.NumberFormat(language, { style: "percent", maximumFractionDigits: 2 }).format(value / 100);
export const moment = (seconds) =>
  new Intl.DateTimeFormat(language, { dateStyle: "medium", timeStyle: "medium" }).format(new Date(seconds * 1000));
export const signed = (value) => `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(2)}`;

// What is to be drawn again in another language.
export const onSpeak = (...functions) => redraws.push(...functions);

function speak(chosen) {
  language = chosen;
  document.documentElement.lang = language;
  for (const element of document.querySelectorAll("[data-t]")) element.textContent = t(element.dataset.t);
  for (const element of document.querySelectorAll("[data-t-placeholder]")) element.placeholder = t(element.dataset.tPlaceholder);
  for (const element of document.querySelectorAll("[data-t-label]")) element.setAttribute("aria-label", t(element.dataset.tLabel));
  $("language").textContent = t("other");
  $("language").lang = language === "ko" ? "en" : "ko";
  for (const redraw of redraws) redraw();
}

export function startLanguage() {
  $("language").addEventListener("click", () => {
    speak(language === "ko" ? "en" : "ko");
    try {
      localStorage.setItem("language", language);
    } catch {
      // not remembered, then
    }
  });
  speak(language);
}
