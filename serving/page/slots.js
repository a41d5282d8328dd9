// The two slots: what each holds, how the callers are shared between them, and whether a promotion is still watched.

import { $, make, say } from "./elements.js";
import { moment, number, points, t } from "./language.js";
import { english, mark } from "./tables.js";
import { shows } from "./watching.js";

const SLOTS = ["blue", "green"];
const MARKS = { live: ["is-positive", "✓"], staged: ["is-neutral", "+"], previous: ["is-neutral", "↺"], empty: ["is-failed", "–"] };

function slot(name, status) {
  const tag = status[name];
  const holds = name === status.live_slot ? "live" : tag === null ? "empty" : status.role;
  return make(
    "li",
    { id: `slot-${name}` },
    make("h3", { textContent: t(`slot.${name}`) }),
    make("p", {}, mark(...(MARKS[holds] ?? MARKS.staged), t(`slot.${holds}`))),
    make("p", { className: "held" }, tag === null ? "—" : english(tag)),
  );
}

function bar(id, said, ...parts) {
  const track = make("div", { className: "track" });
  for (const [kind, share] of parts) {
    if (!share) continue;
    const part = make("span", { className: kind });
    part.style.setProperty("--share", share);
    track.append(part);
  }
  const ends = make("div", { className: "ends" }, ...parts.map(([, , text]) => make("span", { textContent: text })));
  $(id).replaceChildren(make("div", { role: "img", "aria-label": said }, track, ends));
}

function showShares({ live_slot: live, weight, shadow }) {
  const shares = { blue: live === "blue" ? 100 - weight : weight, green: live === "green" ? 100 - weight : weight };
  const [blue, green] = SLOTS.map((name) => points(shares[name]));
  bar(
    "callers",
    t("share.callers-said", { blue, green }),
    ["is-blue", shares.blue, t("share.blue", { share: blue })],
    ["is-green", shares.green, t("share.green", { share: green })],
  );
  bar(
    "mirrored",
    t("share.mirrored-said", { share: points(shadow) }),
    ["is-both", shadow, t("share.both", { share: points(shadow) })],
    ["is-one", 100 - shadow, t("share.one", { share: points(100 - shadow) })],
  );
}

shows(
  ({ status }) => status && { ...status, gates: null, workers: null, behind: null },
  (status) => {
    $("rollout").hidden = !status;
    const slotName = status && t(`slot.${status.live_slot}`);
    say($("rollout-now"), status ? t("rollout.now", { slot: slotName, tag: status.live, generation: number(status.generation) }) : "");
    if (!status) return;
    $("slots").replaceChildren(...SLOTS.map((name) => slot(name, status)));
    showShares(status);
  },
);

shows(
  ({ status }) => {
    const left = status?.role === "previous" ? Math.ceil(status.watched_until - Date.now() / 1000) : 0;
    return { left: Math.max(0, left), until: status?.watched_until };
  },
  ({ left, until }) => {
    $("watched").hidden = !left;
    const values = { minutes: number(Math.floor(left / 60)), seconds: number(left % 60) };
    if (left) say($("watched"), t("rollout.watched", { ...values, time: moment(until) }));
  },
);

shows(
  ({ status, problem, seen }) => problem && { ...problem, seen: status && seen },
  (problem) => {
    $("rollout-problem").hidden = !problem;
    if (!problem) return;
    const { status, detail, keyed } = problem;
    const keyless = status === 401 && !keyed;
    const told = t(keyless ? "rollout.keyless" : status === 401 ? "rollout.wrong-key" : status ? "rollout.unknown" : "rollout.unreachable");
    const stale = problem.seen ? t("rollout.stale", { time: moment(problem.seen) }) : "";
    const lines = [`${told} ${stale}`.trim(), !keyless && detail && english(detail)].filter(Boolean);
    $("rollout-problem").replaceChildren(...lines.map((line) => make("p", {}, line)));
    if (status !== 401) return;
    const way = make("button", { type: "button", className: "quiet", textContent: t("rollout.to-key") });
    way.addEventListener("click", () => $("key").focus());
    $("rollout-problem").append(way);
  },
);
