// Pictures of many verdicts. What they show is said, too.

import { draw, make } from "./elements.js";
import { number, percent, t } from "./language.js";
import { CLASSES, SIGNS } from "./verdicts.js";

const BINS = 20;

function figure(title, label, height, ...shapes) {
  const picture = draw("svg", { viewBox: `0 0 320 ${height}`, role: "img", "aria-label": label }, ...shapes);
  return make("figure", {}, make("figcaption", { textContent: title }), picture);
}

const label = (x, y, text, anchor = "start", style = "") => draw("text", { x, y, "text-anchor": anchor, class: style }, text);

export function shares(rows) {
  const judged = rows.filter(({ result }) => result);
  const shapes = [];
  const said = [];
  ["긍정", "중립", "부정"].forEach((name, place) => {
    const count = judged.filter(({ result }) => result.sentiment === name).length;
    const share = judged.length ? count / judged.length : 0;
    const top = place * 46;
    shapes.push(
      label(0, top + 14, `${SIGNS[name]} ${t(name)}`),
      label(320, top + 14, `${number(count)} · ${percent(share)}`, "end", "faint"),
      draw("rect", { x: 0, y: top + 22, width: 320, height: 9, rx: 4.5, class: "groove" }),
      draw("rect", { x: 0, y: top + 22, width: 320 * share, height: 9, rx: Math.min(4.5, 160 * share), class: `bar ${CLASSES[name]}` }),
    );
    said.push(t("chart.share", { label: t(name), count: number(count), share: percent(share) }));
  });
  return figure(t("chart.shares"), said.join("; "), 132, ...shapes);
}

export function scores(rows) {
  const bins = Array.from({ length: BINS }, () => ({ "긍정": 0, "중립": 0, "부정": 0 }));
  for (const { result } of rows) {
    if (result) bins[Math.min(BINS - 1, Math.floor(result.probabilities["긍정"] * BINS))][result.sentiment] += 1;
  }
  const counts = bins.map((bin) => bin["긍정"] + bin["중립"] + bin["부정"]);
  const highest = Math.max(1, ...counts);
  const [floor, tall, wide] = [104, 84, 320 / BINS];
  const shapes = bins.flatMap((bin, place) => {
    let top = floor;
    return ["부정", "중립", "긍정"].filter((name) => bin[name]).map((name) => {
      const height = (bin[name] / highest) * tall;
      top -= height;
      return draw("rect", { x: place * wide + 1.5, y: top, width: wide - 3, height, rx: Math.min(2, height / 2), class: `bar ${CLASSES[name]}` });
    });
  });
  const said = counts.flatMap((count, place) =>
    count ? [t("chart.bin", { low: percent(place / BINS, 0), high: percent((place + 1) / BINS, 0), count: number(count) })] : [],
  );
  return figure(
    t("chart.scores"),
    t("chart.bins", { bins: said.join("; ") }),
    132,
    label(0, 12, number(highest), "start", "faint"),
    ...shapes,
    draw("line", { x1: 0, y1: floor, x2: 320, y2: floor, class: "axis" }),
    label(0, floor + 20, `0 % ${t("부정")}`, "start", "faint"),
    label(160, floor + 20, "50 %", "middle", "faint"),
    label(320, floor + 20, `${t("긍정")} 100 %`, "end", "faint"),
  );
}
