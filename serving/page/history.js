// The last changes, newest first.

import { $, make, say } from "./elements.js";
import { moment, number, t } from "./language.js";
import { english, fill } from "./tables.js";
import { shows } from "./watching.js";

function change({ before, after }) {
  const tag = (name) => (name === null ? t("history.nothing") : english(name));
  return [tag(before), " → ", tag(after)];
}

const row = (entry) => [
  make("time", { dateTime: new Date(entry.at * 1000).toISOString(), textContent: moment(entry.at) }),
  entry.who,
  english(entry.what),
  change(entry),
  entry.why,
];

function said(changes, problem) {
  if (problem) return t(problem.status === 401 ? "history.keyless" : "history.failed");
  if (!changes) return t("history.busy");
  return changes.length ? t("history.lead", { count: number(changes.length) }) : t("history.none");
}

shows(
  ({ changes, changesProblem }) => ({ changes: changes && [...changes].reverse(), problem: changesProblem }),
  ({ changes, problem }) => {
    say($("history-said"), said(changes, problem));
    $("history-problem").hidden = !problem?.detail;
    $("history-problem").replaceChildren(...(problem?.detail ? [english(problem.detail)] : []));
    $("history-part").hidden = !changes?.length;
    fill("history", (changes ?? []).map(row));
  },
);
