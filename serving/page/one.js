// One review: its verdict, and what each of its words does to it.

import { askForKey, stopAsking } from "./asking.js";
import { $, make, say } from "./elements.js";
import { number, onSpeak, percent, signed, t } from "./language.js";
import { call } from "./service.js";
import { CLASSES, SIGNS, scoreOf, sideOf } from "./verdicts.js";

const STRONGEST = 3; // log odds that are drawn in full colour: they turn 50 % into 95 %
const FAINTEST = 0.2; // below, a word is not marked
const TOP_WORDS = 5;

const one = { stop: null, asked: null, answer: null, words: null, wordsProblem: null, problem: null, empty: false };

export async function judgeOne(truncate = false) {
  const text = $("one-text").value;
  if (one.stop && one.asked === text) return;
  one.stop?.abort();
  const stop = new AbortController();
  Object.assign(one, { stop: null, asked: text, answer: null, words: null, wordsProblem: null, problem: null });
  one.empty = !text.trim();
  stopAsking($("one-problem"));
  if (one.empty) {
    $("one-text").focus();
    showOne();
    return;
  }
  one.stop = stop;
  showOne();
  try {
    const analyzed = await call("analyze", { body: { text, return_probabilities: true, truncate }, signal: stop.signal });
    one.answer = analyzed.data; // shown before the words are weighed, which takes two inferences each
    showOne();
    const explained = await call("explain", { body: { text, truncate }, signal: stop.signal });
    if (explained.data.model_tag !== one.answer.model_tag) one.answer = explained.data;
    one.words = explained.data.words;
  } catch (problem) {
    if (problem.kind === "cancelled") return;
    if (one.answer) one.wordsProblem = problem;
    else one.problem = problem;
  }
  one.stop = null;
  showOne();
  const refused = one.problem ?? one.wordsProblem;
  if (refused?.needsKey) askForKey(refused, $("one-problem"), () => judgeOne(truncate));
}

function showOne() {
  const { answer, problem, empty } = one;
  const label = answer && t(answer.sentiment);
  say($("one-status"), answer ? t("one.said", { label, score: scoreOf(answer) }) : one.stop ? t("one.busy") : "");
  $("one-problem").hidden = !problem && !empty;
  if (problem || empty) {
    $("one-problem").replaceChildren(make("p", { textContent: empty ? t("one.empty") : problem.text }));
    if (problem?.tooLong) {
      const cut = make("button", { type: "button", className: "quiet", textContent: t("one.cut") });
      cut.addEventListener("click", () => judgeOne(true));
      $("one-problem").append(cut);
    }
  }
  $("one-result").hidden = !answer;
  if (answer) $("one-result").replaceChildren(verdict(answer), scale(answer.probabilities), ...influence(answer.text), facts(answer));
}

function verdict(answer) {
  const { sentiment } = answer;
  return make(
    "p",
    { className: `verdict ${CLASSES[sentiment]}` },
    make("span", { className: "sign", "aria-hidden": "true", textContent: SIGNS[sentiment] }),
    make("strong", { textContent: t(sentiment) }),
    make("span", { className: "score", textContent: scoreOf(answer) }),
  );
}

function scale(probabilities) {
  const [negative, positive] = [percent(probabilities["부정"]), percent(probabilities["긍정"])];
  const track = make("div", { className: "track" });
  for (const side of ["부정", "긍정"]) {
    const part = make("span", { className: CLASSES[side] });
    part.style.setProperty("--share", Math.max(probabilities[side], 0.001));
    track.append(part);
  }
  const ends = make(
    "div",
    { className: "ends" },
    make("span", { textContent: `${t("부정")} ${negative}` }),
    make("span", { textContent: `${t("긍정")} ${positive}` }),
  );
  return make("div", { className: "scale", role: "img", "aria-label": t("scale", { negative, positive }) }, track, ends);
}

const strength = (weight) => Math.min(1, Math.abs(weight) / STRONGEST);
const weigh = ({ weight }) =>
  Math.abs(weight) < FAINTEST ? t("words.none") : `${t(`words.${weight < 0 ? "negative" : "positive"}`)} ${signed(weight)}`;

function influence(text) {
  const note = (content) => make("p", { className: "note", textContent: content });
  if (!one.words) {
    const plain = make("p", { className: "words", lang: "ko", textContent: text });
    return [plain, note(one.wordsProblem ? t("words.failed", { why: one.wordsProblem.text }) : t("words.busy"))];
  }
  const coloured = make("p", { className: "words", lang: "ko", "aria-hidden": "true" });
  const list = make("ul", { className: "sr", "aria-label": t("words.list") });
  for (const word of one.words) {
    const marked = make("span", { className: "word", title: weigh(word), textContent: word.text });
    if (Math.abs(word.weight) >= FAINTEST) {
      marked.classList.add(CLASSES[sideOf(word.weight)]);
      marked.style.setProperty("--strength", strength(word.weight));
    }
    coloured.append(marked, " ");
    list.append(make("li", {}, make("span", { lang: "ko", textContent: word.text }), `: ${weigh(word)}`));
  }
  const top = one.words
    .filter(({ weight }) => Math.abs(weight) >= FAINTEST)
    .sort((a, b) => Math.abs(b.weight) - Math.abs(a.weight))
    .slice(0, TOP_WORDS);
  if (!top.length) return [coloured, list, note(t("words.flat"))];
  return [coloured, list, legend(), beams(top), note(t("words.meaning"))];
}

function legend() {
  return make(
    "p",
    { className: "legend", "aria-hidden": "true" },
    make("span", { className: "is-positive", textContent: t("words.positive") }),
    make("span", { className: "is-negative", textContent: t("words.negative") }),
    make("span", { textContent: t("words.thick") }),
  );
}

function beams(top) {
  const widest = Math.max(STRONGEST, Math.abs(top[0].weight));
  const rows = top.map(({ text, weight }) => {
    const beam = make("span", { className: CLASSES[sideOf(weight)] });
    beam.style.setProperty("--strength", Math.abs(weight) / widest);
    return make(
      "li",
      {},
      make("span", { className: "name", lang: "ko", title: text, textContent: text }),
      make("span", { className: "beam" }, beam),
      make("span", { className: "value", textContent: signed(weight) }),
    );
  });
  // the list for screen readers has it all, in the order of the text
  return make("div", { className: "influence", "aria-hidden": "true" }, make("h3", { textContent: t("words.top") }), make("ol", {}, ...rows));
}

function facts({ model_tag: tag, cached, processing_time_ms: time }) {
  const rows = [
    ["fact.model", tag],
    ["fact.source", t(cached ? "fact.cached" : "fact.fresh")],
    ["fact.time", `${number(Math.round(time * 10) / 10)} ms`],
  ];
  const row = ([key, value]) => make("div", {}, make("dt", { textContent: t(key) }), make("dd", { textContent: value }));
  return make("dl", { className: "facts" }, ...rows.map(row));
}

onSpeak(showOne);
