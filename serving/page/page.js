// The page: one review with its words, or many lines. A client of the REST routes, and of nothing else.
// What people wrote is only ever put into text nodes.

const API = "api/v1/sentiment";
const PATIENCE_MS = 70_000; // longer than the longest deadline of the service
const HEALTH_MS = 15_000;

const PIECE_LINES = 100;
const PIECE_CHARACTERS = 100_000;
const IN_FLIGHT = 2;
const TRIES = 5;
const LONGEST_PAUSE_S = 120;
const MOST_LINES = 10_000;
const MOST_FILE_BYTES = 20_000_000;
const ROWS_SHOWN = 100;
const BINS = 20;

const STRONGEST = 3; // log odds that are drawn in full colour: they turn 50 % into 95 %
const FAINTEST = 0.2; // below, a word is not marked
const TOP_WORDS = 5;

// ---------------------------------------------------------------------------------------------- language

const TEXTS = {
  ko: {
    brand: "리뷰 감성 분석",
    other: "English",
    judge: "판단하기",
    "긍정": "긍정",
    "부정": "부정",
    "중립": "중립",
    "one.title": "이 리뷰, 어떤 마음일까요?",
    "one.lead": "영화 리뷰를 쓰거나 붙여 넣으면 긍정, 부정, 중립 가운데 무엇인지, 어느 단어 때문인지 보여 줍니다.",
    "one.label": "리뷰 한 편",
    "one.placeholder": "예: 배우들 연기는 좋았지만 이야기가 지루했다",
    "one.examples": "예문으로 해 보기",
    "one.result": "판단 결과",
    "one.empty": "판단할 리뷰를 먼저 써 주세요.",
    "one.busy": "판단하고 있습니다.",
    "one.said": "{label}, {score}",
    "one.cut": "앞부분만 읽고 판단하기",
    "scale": "부정 {negative}, 긍정 {positive}",
    "words.list": "단어마다 답에 준 영향",
    "words.positive": "긍정 쪽으로",
    "words.negative": "부정 쪽으로",
    "words.none": "거의 영향 없음",
    "words.thick": "밑줄이 굵고 색이 진할수록 영향이 큽니다",
    "words.top": "가장 큰 몫을 한 단어",
    "words.busy": "단어마다 영향을 재고 있습니다…",
    "words.flat": "어느 단어도 답을 크게 움직이지 않습니다.",
    "words.meaning": "숫자는 답의 로그 오즈에서 그 단어가 차지하는 몫입니다. 모든 단어의 몫을 더하면 답이 됩니다.",
    "words.failed": "단어별 영향은 재지 못했습니다. {why}",
    lean: "{label} 쪽 {score}",
    "fact.model": "모델",
    "fact.source": "답",
    "fact.cached": "캐시에서 가져옴",
    "fact.fresh": "새로 계산함",
    "fact.time": "걸린 시간",
    "many.title": "여러 편을 한꺼번에",
    "many.lead": "한 줄에 리뷰 하나씩 붙여 넣거나 .txt, .csv 파일을 고르세요. 결과를 표와 그림으로 보고 CSV로 내려받을 수 있습니다.",
    "many.label": "리뷰 여러 편, 한 줄에 하나",
    "many.placeholder": "정말 최고의 영화였어요!\n시간 낭비였습니다.\n그냥 그래요.",
    "many.file": "파일 고르기",
    "many.truncate": "긴 글은 앞부분만 읽기",
    "many.count": "{count}줄",
    "many.empty": "판단할 리뷰가 없습니다. 한 줄에 하나씩 써 주세요.",
    "many.most": "{count}줄입니다. 한 번에 {most}줄까지 판단할 수 있습니다.",
    "many.progress": "진행",
    "many.busy": "리뷰 {total}편을 판단하고 있습니다.",
    "many.done": "{done} / {total}",
    "many.pause": "{done} / {total} · 서비스가 바빠 {seconds}초 쉽니다",
    "many.cancel": "그만두기",
    "many.summary": "리뷰 {total}편 가운데 {judged}편을 {seconds}초 만에 판단했습니다.",
    "many.failed": "{failed}편은 판단하지 못했습니다.",
    "many.left": "{left}편은 남았습니다.",
    "many.cancelled": "그만두었습니다.",
    "many.table": "결과",
    "many.download": "CSV로 내려받기",
    "many.more": "{count}줄 더 보기",
    "many.unjudged": "판단 못 함",
    "file.large": "파일이 너무 큽니다. {most}MB까지 읽을 수 있습니다.",
    "file.unreadable": "파일을 읽지 못했습니다. UTF-8이나 CP949로 된 .txt 또는 .csv 파일이어야 합니다.",
    "chart.shares": "판단별 비율",
    "chart.share": "{label} {count}편, {share}",
    "chart.scores": "긍정 확률의 분포",
    "chart.bins": "긍정 확률의 분포. {bins}",
    "chart.bin": "{low}~{high}: {count}편",
    "column.line": "줄",
    "column.text": "리뷰",
    "column.sentiment": "판단",
    "column.score": "점수",
    "health.unknown": "상태 확인 중",
    "health.healthy": "정상 동작 중",
    "health.degraded": "동작 중, 일부 기능 저하",
    "health.unhealthy": "모델이 아직 준비되지 않음",
    "health.unreachable": "서비스에 연결할 수 없음",
    "model.line": "지금 답하는 모델: {name} ({tag}), {engine}, {precision}.",
    "model.accuracy": "NSMC 테스트 정확도 {accuracy}.",
    footer: "점수는 고른 쪽의 보정된 확률입니다. 확률이 애매하면 중립이라고 답합니다.",
    "problem.unreachable": "서비스에 연결할 수 없습니다. 잠시 뒤 다시 해 보세요.",
    "problem.late": "답이 너무 늦어 그만 기다렸습니다. 잠시 뒤 다시 해 보세요.",
    "problem.empty-text": "판단할 글자가 없습니다. 태그나 빈칸뿐인 글은 판단할 수 없습니다.",
    "problem.text-too-long": "글이 너무 깁니다.",
    "problem.too-long": "글이 너무 깁니다: {length}토큰인데 {most}토큰까지 읽을 수 있습니다.",
    "problem.invalid-text": "글에 깨진 문자가 있습니다.",
    "problem.401": "이 서비스는 키가 있어야 답합니다.",
    "problem.403": "이 서비스를 쓸 권한이 없습니다.",
    "problem.413": "글이 너무 커서 보낼 수 없습니다.",
    "problem.429": "요청이 너무 많습니다. {seconds}초 뒤 다시 해 보세요.",
    "problem.no-model": "모델이 아직 준비되지 않았습니다. 잠시 뒤 다시 해 보세요.",
    "problem.503": "서비스가 지금 바쁩니다. 잠시 뒤 다시 해 보세요.",
    "problem.504": "판단이 제시간에 끝나지 않았습니다. 잠시 뒤 다시 해 보세요.",
    "problem.500": "서비스에 문제가 생겼습니다. 요청 번호: {request}",
    "problem.other": "서비스가 이 글을 받지 않았습니다: {detail}",
  },
  en: {
    brand: "Review sentiment",
    other: "한국어",
    judge: "Judge",
    "긍정": "Positive",
    "부정": "Negative",
    "중립": "Neutral",
    "one.title": "How does this review feel?",
    "one.lead": "Type or paste a Korean movie review to see whether it is positive, negative or neutral, and which words make it so.",
    "one.label": "One review",
    "one.placeholder": "e.g. 배우들 연기는 좋았지만 이야기가 지루했다",
    "one.examples": "Try an example",
    "one.result": "Verdict",
    "one.empty": "Write a review first.",
    "one.busy": "Judging.",
    "one.said": "{label}, {score}",
    "one.cut": "Judge the beginning only",
    "scale": "Negative {negative}, positive {positive}",
    "words.list": "What each word does to the answer",
    "words.positive": "Toward positive",
    "words.negative": "Toward negative",
    "words.none": "hardly any influence",
    "words.thick": "The thicker the line and the deeper the colour, the stronger",
    "words.top": "Words with the largest shares",
    "words.busy": "Weighing each word…",
    "words.flat": "No word moves the answer much.",
    "words.meaning": "A figure is the word's share of the answer's log odds. The shares of all words add up to the answer.",
    "words.failed": "The words could not be weighed. {why}",
    lean: "{score} {label}",
    "fact.model": "Model",
    "fact.source": "Answer",
    "fact.cached": "from the cache",
    "fact.fresh": "newly computed",
    "fact.time": "Time",
    "many.title": "Many at once",
    "many.lead": "Paste reviews, one a line, or choose a .txt or .csv file. See the results as a table and charts, and download them as CSV.",
    "many.label": "Many reviews, one a line",
    "many.placeholder": "정말 최고의 영화였어요!\n시간 낭비였습니다.\n그냥 그래요.",
    "many.file": "Choose a file",
    "many.truncate": "Read only the beginning of long texts",
    "many.count": "{count} lines",
    "many.empty": "There is nothing to judge. Write one review a line.",
    "many.most": "These are {count} lines. At most {most} can be judged at a time.",
    "many.progress": "Progress",
    "many.busy": "Judging {total} reviews.",
    "many.done": "{done} of {total}",
    "many.pause": "{done} of {total} · the service is busy, waiting {seconds} s",
    "many.cancel": "Stop",
    "many.summary": "Judged {judged} of {total} reviews in {seconds} s.",
    "many.failed": "{failed} could not be judged.",
    "many.left": "{left} are left.",
    "many.cancelled": "Stopped.",
    "many.table": "Results",
    "many.download": "Download CSV",
    "many.more": "Show {count} more",
    "many.unjudged": "Not judged",
    "file.large": "The file is too large. Files of up to {most} MB can be read.",
    "file.unreadable": "The file could not be read. It must be a .txt or .csv file in UTF-8 or CP949.",
    "chart.shares": "Share of each verdict",
    "chart.share": "{label}: {count}, {share}",
    "chart.scores": "Probability of positive",
    "chart.bins": "How often each probability of positive occurs. {bins}",
    "chart.bin": "{low} to {high}: {count}",
    "column.line": "Line",
    "column.text": "Review",
    "column.sentiment": "Verdict",
    "column.score": "Score",
    "health.unknown": "Checking",
    "health.healthy": "Up and healthy",
    "health.degraded": "Up, with something missing",
    "health.unhealthy": "No model is ready yet",
    "health.unreachable": "The service cannot be reached",
    "model.line": "Answering now: {name} ({tag}), {engine}, {precision}.",
    "model.accuracy": "Accuracy on NSMC's test set: {accuracy}.",
    footer: "A score is the calibrated probability of the side that was chosen. Where it is unsure, the answer is neutral.",
    "problem.unreachable": "The service cannot be reached. Try again in a while.",
    "problem.late": "The answer took too long. Try again in a while.",
    "problem.empty-text": "There is nothing to judge: a text of tags or blanks alone has no words.",
    "problem.text-too-long": "The text is too long.",
    "problem.too-long": "The text is too long: {length} tokens, and at most {most} can be read.",
    "problem.invalid-text": "The text holds broken characters.",
    "problem.401": "This service answers only with a key.",
    "problem.403": "You are not allowed to use this service.",
    "problem.413": "The text is too large to send.",
    "problem.429": "Too many requests. Try again in {seconds} s.",
    "problem.no-model": "No model is ready yet. Try again in a while.",
    "problem.503": "The service is busy. Try again in a while.",
    "problem.504": "The answer was not ready in time. Try again in a while.",
    "problem.500": "Something went wrong in the service. Request id: {request}",
    "problem.other": "The service refused this text: {detail}",
  },
};

const EXAMPLES = [
  "정말 재미있어요! 강력 추천합니다",
  "연기는 좋지만 이야기가 지루하다",
  "기대 없이 봤는데 그냥 그래요",
];

let language = remembered() ?? (navigator.language.toLowerCase().startsWith("ko") ? "ko" : "en");

function remembered() {
  try {
    const kept = localStorage.getItem("language");
    return kept in TEXTS ? kept : null;
  } catch {
    return null; // storage is turned off
  }
}

function t(key, values = {}) {
  return TEXTS[language][key].replace(/\{(\w+)\}/g, (_, name) => values[name]);
}

const number = (value) => new Intl.NumberFormat(language).format(value);
const percent = (value, digits = 1) =>
  new Intl.NumberFormat(language, { style: "percent", minimumFractionDigits: digits, maximumFractionDigits: digits }).format(value);
const signed = (value) => `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(2)}`;

function speak(chosen) {
  language = chosen;
  document.documentElement.lang = language;
  document.title = t("brand");
  for (const element of document.querySelectorAll("[data-t]")) element.textContent = t(element.dataset.t);
  for (const element of document.querySelectorAll("[data-t-placeholder]")) element.placeholder = t(element.dataset.tPlaceholder);
  for (const element of document.querySelectorAll("[data-t-label]")) element.setAttribute("aria-label", t(element.dataset.tLabel));
  $("language").textContent = t("other");
  $("language").lang = language === "ko" ? "en" : "ko";
  showOne();
  showMany();
  showCount();
  showHealth();
}

// ---------------------------------------------------------------------------------------------- elements

const $ = (id) => document.getElementById(id);

function put(element, properties, children) {
  for (const [name, value] of Object.entries(properties)) {
    if (name in element && name !== "role") element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

const make = (tag, properties = {}, ...children) => put(document.createElement(tag), properties, children);

function draw(tag, attributes = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

const SIGNS = { "긍정": "+", "부정": "−", "중립": "≈" };
const CLASSES = { "긍정": "is-positive", "부정": "is-negative", "중립": "is-neutral" };
const sideOf = (weight) => (weight < 0 ? "부정" : "긍정");

function say(element, text) {
  if (element.textContent !== text) element.textContent = text; // said again, a live region would be read again
}

// ---------------------------------------------------------------------------------------------- service

class Problem extends Error {
  constructor(kind, { status = 0, detail = "", field = "", request = "", retryAfter = 1 } = {}) {
    super(kind);
    Object.assign(this, { kind, status, detail, field, request, retryAfter });
  }

  static async of(response) {
    const content = await response.json().catch(() => ({}));
    const wait = Number(response.headers.get("retry-after"));
    return new Problem(String(content.type ?? "").split(":").at(-1), {
      status: response.status,
      detail: content.detail ?? response.statusText,
      field: content.field,
      request: content.request_id ?? response.headers.get("x-request-id") ?? "",
      retryAfter: Number.isFinite(wait) && wait > 0 ? Math.ceil(wait) : 1,
    });
  }

  get tooLong() {
    return this.kind === "text-too-long";
  }

  get text() {
    const tokens = this.tooLong && /(\d+)\D+(\d+)/.exec(this.detail);
    if (tokens) return t("problem.too-long", { length: number(tokens[1]), most: number(tokens[2]) });
    const key = [this.kind, String(this.status)].map((name) => `problem.${name}`).find((name) => name in TEXTS[language]);
    const values = { seconds: number(this.retryAfter), request: this.request, detail: this.detail };
    return t(key ?? (this.status >= 500 ? "problem.500" : "problem.other"), values);
  }
}

async function call(path, body, signal) {
  if (signal?.aborted) throw new Problem("cancelled");
  const late = new AbortController();
  const stop = () => late.abort();
  const timer = setTimeout(stop, PATIENCE_MS);
  signal?.addEventListener("abort", stop);
  try {
    const response = await fetch(`${API}/${path}`, {
      method: body ? "POST" : "GET",
      headers: body ? { "Content-Type": "application/json" } : {},
      body: body && JSON.stringify(body),
      signal: late.signal,
    });
    if (!response.ok && path !== "health") throw await Problem.of(response);
    return await response.json();
  } catch (error) {
    if (error instanceof Problem) throw error;
    if (signal?.aborted) throw new Problem("cancelled");
    throw new Problem(late.signal.aborted ? "late" : "unreachable");
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", stop);
  }
}

// ---------------------------------------------------------------------------------------------- one review

const one = { stop: null, asked: null, answer: null, words: null, wordsProblem: null, problem: null, empty: false };

async function judgeOne(truncate = false) {
  const text = $("one-text").value;
  if (one.stop && one.asked === text) return;
  one.stop?.abort();
  const stop = new AbortController();
  Object.assign(one, { stop: null, asked: text, answer: null, words: null, wordsProblem: null, problem: null });
  one.empty = !text.trim();
  if (one.empty) {
    $("one-text").focus();
    showOne();
    return;
  }
  one.stop = stop;
  showOne();
  try {
    const analyzed = await call("analyze", { text, return_probabilities: true, truncate }, stop.signal);
    one.answer = analyzed.data; // shown before the words are weighed, which takes two inferences each
    showOne();
    const explained = await call("explain", { text, truncate }, stop.signal);
    if (explained.data.model_tag !== one.answer.model_tag) one.answer = explained.data;
    one.words = explained.data.words;
  } catch (problem) {
    if (problem.kind === "cancelled") return;
    if (one.answer) one.wordsProblem = problem;
    else one.problem = problem;
  }
  one.stop = null;
  showOne();
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

// Of a neutral review it says which side the score is of: "중립 75 %" would be read as the share of neutral.
function scoreOf({ sentiment, score, probabilities }) {
  const side = probabilities["긍정"] < probabilities["부정"] ? "부정" : "긍정";
  return sentiment === "중립" ? t("lean", { label: t(side), score: percent(score) }) : percent(score);
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

// ---------------------------------------------------------------------------------------------- many reviews

const many = { rows: [], stop: null, started: 0, seconds: 0, cancelled: false, problem: null, pause: 0, shown: ROWS_SHOWN };

const settled = (row) => row.result || row.problem;
const linesOf = (text) => text.split(/\r\n|\r|\n/);

async function judgeMany() {
  if (many.stop) return;
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
      const { data } = await call("batch", { texts: rows.map(({ text }) => text), return_probabilities: true, truncate }, signal);
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

// ---------------------------------------------------------------------------------------------- charts

function figure(title, label, height, ...shapes) {
  const picture = draw("svg", { viewBox: `0 0 320 ${height}`, role: "img", "aria-label": label }, ...shapes);
  return make("figure", {}, make("figcaption", { textContent: title }), picture);
}

const label = (x, y, text, anchor = "start", style = "") => draw("text", { x, y, "text-anchor": anchor, class: style }, text);

function shares(rows) {
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

function scores(rows) {
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

// ---------------------------------------------------------------------------------------------- files

const COLUMNS = ["text", "review", "reviews", "document", "comment", "content", "sentence", "리뷰", "내용", "본문", "문장", "댓글", "감상평"];

async function readFile(file) {
  if (file.size > MOST_FILE_BYTES) throw { key: "file.large", values: { most: MOST_FILE_BYTES / 1_000_000 } };
  let text;
  try {
    const bytes = await file.arrayBuffer();
    text = decoded(bytes);
  } catch {
    throw { key: "file.unreadable" };
  }
  const table = file.name.toLowerCase().endsWith(".csv") || /^[^\n]*\t/.test(text);
  return (table ? reviewsOf(text) : linesOf(text)).map((line) => line.replace(/\s+/g, " ").trim()).filter(Boolean).join("\n");
}

function decoded(bytes) {
  const [first, second] = new Uint8Array(bytes.slice(0, 2));
  const marked = (first === 0xff && second === 0xfe && "utf-16le") || (first === 0xfe && second === 0xff && "utf-16be");
  if (marked) return new TextDecoder(marked, { fatal: true }).decode(bytes);
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    return new TextDecoder("euc-kr", { fatal: true }).decode(bytes); // CP949, as Korean Excel saves CSV
  }
}

// The column with a known name; without one, all rows of the column with the longest texts.
function reviewsOf(text) {
  const header = text.slice(0, text.search(/[\r\n]|$/));
  const delimiter = ["\t", ",", ";"].reduce((best, each) => (header.split(each).length > header.split(best).length ? each : best));
  const rows = cells(text, delimiter);
  const named = (rows[0] ?? []).findIndex((name) => COLUMNS.includes(name.trim().toLowerCase()));
  if (named >= 0) return rows.slice(1).map((row) => row[named] ?? "");
  const lengths = [];
  for (const row of rows) row.forEach((cell, place) => (lengths[place] = (lengths[place] ?? 0) + cell.length));
  const longest = lengths.indexOf(Math.max(...lengths));
  return rows.map((row) => row[longest] ?? "");
}

function cells(text, delimiter) {
  const rows = [[]];
  const pattern = new RegExp(`(?:"((?:[^"]|"")*)"|([^${delimiter}\\r\\n]*))(${delimiter}|\\r\\n|\\r|\\n|$)`, "y");
  for (let match; pattern.lastIndex < text.length && (match = pattern.exec(text)); ) {
    rows.at(-1).push(match[1]?.replaceAll('""', '"') ?? match[2]);
    if (/[\r\n]/.test(match[3])) rows.push([]);
    if (!match[0]) break;
  }
  return rows.filter((row) => row.length);
}

function download() {
  const header = ["line", "text", "sentiment", "score", "negative", "positive", "cached", "model_tag", "problem"];
  const lines = many.rows.filter(settled).map(({ line, text, result, tag, problem }) => [
    line,
    safe(text),
    ...(result
      ? [result.sentiment, result.score, result.probabilities["부정"], result.probabilities["긍정"], result.cached, tag, ""]
      : ["", "", "", "", "", "", problem.text]),
  ]);
  const content = [header, ...lines].map((row) => row.map(quoted).join(",")).join("\r\n");
  const link = make("a", {
    href: URL.createObjectURL(new Blob([`\ufeff${content}\r\n`], { type: "text/csv;charset=utf-8" })), // the mark is for Excel
    download: `sentiment-${new Date().toISOString().slice(0, 10)}.csv`,
  });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

const safe = (text) => (/^\s*[=+\-@＝＋－＠]|^[\t\r]/.test(text) ? `'${text}` : text); // spreadsheets would run it as a formula
const quoted = (cell) => (typeof cell === "string" ? `"${cell.replaceAll('"', '""')}"` : String(cell));

function showCount() {
  const count = linesOf($("many-text").value).filter((line) => line.trim()).length;
  $("many-count").textContent = count ? t("many.count", { count: number(count) }) : "";
}

// ---------------------------------------------------------------------------------------------- health

const STATES = ["healthy", "degraded", "unhealthy"];
const live = { status: "unknown", model: null, timer: 0 };

async function pollHealth() {
  clearTimeout(live.timer);
  const before = live.status;
  try {
    const { status } = await call("health");
    live.status = STATES.includes(status) ? status : "unreachable";
  } catch {
    live.status = "unreachable";
  }
  const up = live.status === "healthy" || live.status === "degraded";
  if (up && (!live.model || before !== live.status)) live.model = await call("model-info").catch(() => live.model);
  showHealth();
  clearTimeout(live.timer);
  if (document.visibilityState === "visible") live.timer = setTimeout(pollHealth, HEALTH_MS);
}

function showHealth() {
  $("health").dataset.state = live.status;
  say($("health"), t(`health.${live.status}`));
  if (!live.model) return;
  const { model_name: name, model_tag: tag, engine, precision, test_accuracy: accuracy } = live.model;
  const line = t("model.line", { name, tag, engine, precision });
  $("model").textContent = accuracy == null ? line : `${line} ${t("model.accuracy", { accuracy: percent(accuracy) })}`;
}

// ---------------------------------------------------------------------------------------------- start

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
$("many-cancel").addEventListener("click", () => many.stop?.abort());
$("many-download").addEventListener("click", download);
$("many-text").addEventListener("input", showCount);
$("many-more").addEventListener("click", () => {
  many.shown += ROWS_SHOWN;
  showMany();
});
$("many-file").addEventListener("change", async ({ target }) => {
  const [file] = target.files;
  if (!file) return;
  many.problem = null;
  try {
    $("many-text").value = await readFile(file);
    showCount();
  } catch (problem) {
    many.problem = problem;
  }
  target.value = ""; // so that the same file may be chosen again
  showMany();
});
$("language").addEventListener("click", () => {
  speak(language === "ko" ? "en" : "ko");
  try {
    localStorage.setItem("language", language);
  } catch {
    // not remembered, then
  }
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
document.addEventListener("visibilitychange", () => {
  if (document.visibilityState === "visible") pollHealth();
  else clearTimeout(live.timer);
});
speak(language);
pollHealth();
