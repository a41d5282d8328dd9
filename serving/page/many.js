// Many reviews, one a line: judged in pieces, and shown as charts and a table.

import { askForKey, stopAsking } from "./asking.js";
import { scores, shares } from "./charts.js";
import { $, make, say } from "./elements.js";
import { download, linesOf, readFile } from "./files.js";
import { number, onSpeak, t } from "./language.js";
import { call, Problem } from "./service.js";
import { CLASSES, SIGNS, scoreOf } from "./verdicts.js";

const PIECE_LINES = 100;
const PIECE_CHARACTERS = 100_000;
const IN_FLIGHT = 2;
const TRIES = 5;
const LONGEST_PAUSE_S = 120;
const MOST_LINES = 10_000;
const ROWS_SHOWN = 100;

const many = { rows: [], stop: null, started: 0, seconds: 0, cancelled: false, problem: null, pause: 0, shown: ROWS_SHOWN };

const settled = (row) => row.result || row.problem;

export async function judgeMany() {
  if (many.stop) return;
  stopAsking($("many-problem"));
  const rows = linesOf($("many-text").value)
    .map((text, index) => ({ line: index + 1, text, result: null, tag: "", problem: null }))
    .filter(({ text }) => text.trim());
  const most = rows.length > MOST_LINES && { key: "many.most", values: { count: number(rows.length), most: number(MOST_LINES) } };
  if (!rows.length || most) {
    many.problem = most || { key: "many.empty" };
    $("many-text").focus();
    showMany();
    return;
  }
  const stop = new AbortController();
  Object.assign(many, { rows, stop, started: performance.now(), cancelled: false, problem: null, pause: 0, shown: ROWS_SHOWN });
  showMany();
  const queue = pieces(rows);
  const truncate = $("many-truncate").checked;
  const work = async () => {
    try {
      while (queue.length) await judgePiece(queue.shift(), queue, truncate, stop.signal);
    } catch (problem) {
      if (problem.kind !== "cancelled") many.problem ??= problem;
      stop.abort(); // the other piece in flight, too
    }
  };
  await Promise.all(Array.from({ length: IN_FLIGHT }, work));
  many.cancelled = stop.signal.aborted && !many.problem;
  Object.assign(many, { stop: null, pause: 0, seconds: (performance.now() - many.started) / 1000 });
  const inProgress = $("many-progress").contains(document.activeElement);
  showMany();
  if (inProgress) $(many.rows.some(settled) ? "many-download" : "many-judge").focus();
  if (many.problem?.needsKey) askForKey(many.problem, $("many-problem"), judgeMany);
}

function pieces(rows) {
  const found = [];
  let characters = Infinity;
  for (const row of rows) {
    if (characters + row.text.length > PIECE_CHARACTERS || found.at(-1).length === PIECE_LINES) {
      found.push([]);
      characters = 0;
    }
    found.at(-1).push(row);
    characters += row.text.length;
  }
  return found;
}

// Judges the rows of a piece. A line that the service refuses is marked and left out; a piece that is too much at a
// time is halved; a service that is busy is given time.
async function judgePiece(piece, queue, truncate, signal) {
  let rows = piece;
  let tries = 0;
  while (rows.length) {
    try {
      const { data } = await call("batch", { body: { texts: rows.map(({ text }) => text), return_probabilities: true, truncate }, signal });
      rows.forEach((row, index) => Object.assign(row, { result: data.results[index], tag: data.model_tag }));
      rows = [];
    } catch (problem) {
      const bad = rows[/^texts\[(\d+)\]/.exec(problem.field)?.[1]];
      if (bad) {
        bad.problem = problem;
        rows = rows.filter((row) => row !== bad);
      } else if ([413, 422, 504].includes(problem.status)) {
        if (rows.length === 1) rows.pop().problem = problem;
        else queue.unshift(rows.splice(Math.ceil(rows.length / 2)));
      } else if ([429, 503].includes(problem.status) && tries < TRIES && problem.retryAfter <= LONGEST_PAUSE_S) {
        tries += 1;
        await pause(problem.retryAfter, signal);
      } else throw problem;
    }
    showProgress();
  }
}

async function pause(seconds, signal) {
  many.pause = seconds;
  showProgress();
  await new Promise((resolve) => {
    const timer = setTimeout(resolve, seconds * 1000);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      resolve();
    });
  });
  many.pause = 0;
  if (signal.aborted) throw new Problem("cancelled");
}

function showProgress() {
  const [done, total] = [many.rows.filter(settled).length, many.rows.length];
  $("many-bar").max = total;
  $("many-bar").value = done;
  const values = { done: number(done), total: number(total), seconds: number(many.pause) };
  $("many-done").textContent = t(many.pause ? "many.pause" : "many.done", values);
}

function showMany() {
  const { rows, problem, stop } = many;
  $("many-progress").hidden = !stop;
  if (stop) showProgress();
  say($("many-status"), rows.length ? summary() : "");
  $("many-problem").hidden = !problem;
  if (problem) $("many-problem").textContent = problem.key ? t(problem.key, problem.values) : problem.text;
  const done = stop ? [] : rows.filter(settled);
  $("many-result").hidden = !done.length;
  if (!done.length) return;
  $("many-charts").replaceChildren(shares(done), scores(done));
  $("many-table").tBodies[0].replaceChildren(...done.slice(0, many.shown).map(tableRow));
  const more = Math.min(ROWS_SHOWN, done.length - many.shown);
  $("many-more").hidden = more <= 0;
  $("many-more").textContent = t("many.more", { count: number(more) });
}

function summary() {
  const { rows, stop, seconds, cancelled } = many;
  const total = number(rows.length);
  if (stop) return t("many.busy", { total });
  const judged = rows.filter(({ result }) => result).length;
  const failed = rows.filter(({ problem }) => problem).length;
  const left = rows.length - judged - failed;
  return [
    cancelled && t("many.cancelled"),
    t("many.summary", { total, judged: number(judged), seconds: number(Math.round(seconds * 10) / 10) }),
    failed && t("many.failed", { failed: number(failed) }),
    left && t("many.left", { left: number(left) }),
  ].filter(Boolean).join(" ");
}

function tableRow({ line, text, result, problem }) {
  const kind = result ? CLASSES[result.sentiment] : "is-failed";
  const sign = result ? SIGNS[result.sentiment] : "!";
  const judged = make("td", { role: "cell" }, make("span", { className: `tag ${kind}`, "data-sign": sign, textContent: t(result?.sentiment ?? "many.unjudged") }));
  const review = make("td", { role: "cell", className: "text" }, make("span", { lang: "ko", textContent: text.length > 300 ? `${text.slice(0, 300)}…` : text }));
  if (problem) review.append(make("span", { className: "reason", textContent: problem.text }));
  return make(
    "tr",
    { role: "row" },
    make("th", { role: "rowheader", scope: "row", className: "number", textContent: number(line) }),
    review,
    judged,
    make("td", { role: "cell", className: "number", textContent: result ? scoreOf(result) : "" }),
  );
}

export function showCount() {
  const count = linesOf($("many-text").value).filter((line) => line.trim()).length;
  $("many-count").textContent = count ? t("many.count", { count: number(count) }) : "";
}

export const stopMany = () => many.stop?.abort();
export const downloadMany = () => download(many.rows.filter(settled));

export function showMore() {
  many.shown += ROWS_SHOWN;
  showMany();
}

export async function choose(file) {
  many.problem = null;
  try {
    $("many-text").value = await readFile(file);
    showCount();
  } catch (problem) {
    many.problem = problem;
  }
  showMany();
}

onSpeak(showMany, showCount);
