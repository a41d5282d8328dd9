// The page for reviews: one with its words, or many lines. Its elements are wired to what they do.

import { startAsking } from "./asking.js";
import { $, make } from "./elements.js";
import { watchHealth } from "./health.js";
import { startLanguage } from "./language.js";
import { choose, downloadMany, judgeMany, showCount, showMore, stopMany } from "./many.js";
import { judgeOne } from "./one.js";

const EXAMPLES = [
  "정말 재미있어요! 강력 추천합니다",
  "연기는 좋지만 이야기가 지루하다",
  "기대 없이 봤는데 그냥 그래요",
];

// With a Korean keyboard the last syllable may still be open: it is closed first, so that it is judged, too.
function judgesOnEnter(box, judge) {
  box.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
    if (event.isComposing) box.addEventListener("compositionend", () => setTimeout(judge), { once: true });
    else {
      event.preventDefault();
      judge();
    }
  });
}

judgesOnEnter($("one-text"), () => judgeOne());
judgesOnEnter($("many-text"), judgeMany);
$("one-judge").addEventListener("click", () => judgeOne());
$("many-judge").addEventListener("click", judgeMany);
$("many-cancel").addEventListener("click", stopMany);
$("many-download").addEventListener("click", downloadMany);
$("many-text").addEventListener("input", showCount);
$("many-more").addEventListener("click", showMore);
$("many-file").addEventListener("change", async ({ target }) => {
  const [file] = target.files;
  if (!file) return;
  await choose(file);
  target.value = ""; // so that the same file may be chosen again
});
for (const text of EXAMPLES) {
  const button = make("button", { type: "button", lang: "ko", textContent: text });
  button.addEventListener("click", () => {
    $("one-text").value = text;
    judgeOne();
  });
  $("examples").append(make("li", {}, button));
}
if (/Mac|iPhone|iPad/.test(navigator.platform)) {
  for (const element of document.querySelectorAll(".modifier")) element.textContent = "⌘";
}
startAsking();
startLanguage();
watchHealth();
