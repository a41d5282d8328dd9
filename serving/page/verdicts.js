// How a verdict looks and is said: its sign, its colour, its score.

import { percent, t } from "./language.js";

export const SIGNS = { "긍정": "+", "부정": "−", "중립": "≈" };
export const CLASSES = { "긍정": "is-positive", "부정": "is-negative", "중립": "is-neutral" };
export const sideOf = (weight) => (weight < 0 ? "부정" : "긍정");

// Of a neutral review it says which side the score is of: "중립 75 %" would be read as the share of neutral.
export function scoreOf({ sentiment, score, probabilities }) {
  const side = probabilities["긍정"] < probabilities["부정"] ? "부정" : "긍정";
  return sentiment === "중립" ? t("lean", { label: t(side), score: percent(score) }) : percent(score);
}
