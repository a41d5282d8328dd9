// The gates: what speaks for the new model, what against it, and what is not known yet.

import { $, say } from "./elements.js";
import { knows, t } from "./language.js";
import { english, fill, mark } from "./tables.js";
import { shows } from "./watching.js";

const MARKS = { true: ["is-positive", "✓"], false: ["is-negative", "✗"], null: ["is-neutral", "?"] };

function nameOf(gate) {
  const key = `gate.${gate.replaceAll(" ", "-")}`;
  return knows(key) ? t(key) : english(gate);
}

shows(
  ({ status }) => status && { gates: status.gates, passed: status.gates_passed },
  (found) => {
    if (!found) return;
    const { gates, passed } = found;
    say($("gates-said"), t(gates.length ? `gates.${passed}` : "gates.none"));
    $("gates-part").hidden = !gates.length;
    fill("gates", gates.map((gate) => [nameOf(gate.name), mark(...MARKS[gate.passed], t(`gate.${gate.passed}`)), english(gate.detail)]));
  },
);
