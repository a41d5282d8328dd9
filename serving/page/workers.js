// The workers: who follows the state, who is behind, and who could not load a model, and why.

import { $, make, say } from "./elements.js";
import { number, t } from "./language.js";
import { english, fill, mark } from "./tables.js";
import { shows } from "./watching.js";

function states({ worker, ready, problems }, { behind, other }) {
  const failed = Object.entries(problems);
  const found = [];
  if (failed.length) found.push(mark("is-negative", "!", t("worker.failed")));
  else if (other !== null && !ready.includes(other)) found.push(mark("is-neutral", "…", t("worker.loading")));
  if (behind.includes(worker)) found.push(mark("is-neutral", "…", t("worker.behind")));
  if (!found.length) found.push(mark("is-positive", "✓", t("worker.follows")));
  const reasons = failed.map(([tag, why]) => make("span", { className: "reason", lang: "en", textContent: `${tag}: ${why}` }));
  return [...found, ...reasons];
}

const lines = (tags) => tags.map((tag) => make("span", { className: "line", lang: "en", textContent: tag }));

shows(
  ({ status }) => status && { workers: status.workers, behind: status.behind, other: status.other },
  (found) => {
    if (!found) return;
    const { workers, behind } = found;
    const key = workers.length ? (behind.length ? "workers.behind" : "workers.all") : "workers.none";
    say($("workers-said"), t(key, { count: number(workers.length), behind: number(behind.length) }));
    $("workers-part").hidden = !workers.length;
    fill(
      "workers",
      workers.map((each) => [english(each.worker), states(each, found), english(each.live), lines(each.ready), number(each.generation)]),
    );
  },
);
