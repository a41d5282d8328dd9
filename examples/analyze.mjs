// The REST service with plain fetch: Node 18+ and browsers, no dependencies.
// fetch만으로 쓰는 REST 서비스: Node 18 이상과 브라우저, 의존성 없음.
//
//   node examples/analyze.mjs
//
// In a browser, import `ask` and give it the address; the page must come from the same origin, or CORS must allow it.
// 브라우저에서는 `ask`를 import해서 주소를 넘기세요. 출처(origin)가 다르면 CORS 설정이 필요합니다.

const RETRIED = new Set([429, 502, 503, 504]);
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** What the service refused or could not do; `problem` is its RFC 9457 body. / 서비스가 알려 준 문제 */
export class Problem extends Error {
  constructor(status, problem) {
    super(`${status} ${problem.title ?? ""}: ${problem.detail ?? ""} (request ${problem.request_id ?? "unknown"})`);
    this.status = status;
    this.problem = problem;
  }
}

/** Milliseconds that Retry-After asks to wait: seconds or a date. / Retry-After: 초 또는 날짜 */
export function retryAfterMs(value) {
  if (value === null) return 0;
  const ms = /^\d+$/.test(value.trim()) ? Number(value) * 1000 : Date.parse(value) - Date.now();
  return Number.isNaN(ms) ? 0 : Math.max(0, ms);
}

/**
 * One call; returns the JSON of the answer. `timeoutMs` covers all attempts and the waits between them.
 * 한 번의 호출. `timeoutMs`는 모든 시도와 대기를 합친 제한 시간입니다.
 */
export async function ask(url, body, { timeoutMs = 10_000, attempts = 3, headers = {} } = {}) {
  const ends = Date.now() + timeoutMs;
  for (let attempt = 1; ; attempt++) {
    let failure;
    let askedMs = 0;
    try {
      const response = await fetch(url, {
        method: body === undefined ? "GET" : "POST",
        headers: body === undefined ? headers : { "Content-Type": "application/json", ...headers },
        body: body === undefined ? undefined : JSON.stringify(body),
        signal: AbortSignal.timeout(Math.max(1, ends - Date.now())),
      });
      if (response.ok) return await response.json();
      failure = new Problem(response.status, await response.json().catch(() => ({})));
      if (!RETRIED.has(response.status)) throw failure;
      askedMs = retryAfterMs(response.headers.get("Retry-After"));
    } catch (error) {
      // fetch says TypeError where there is no connection; a refusal or the deadline is final
      // 연결 실패만 다시 시도합니다. 거절과 제한 시간 초과는 그대로 끝냅니다.
      if (!(error instanceof TypeError)) throw error;
      failure = error;
    }
    const waitMs = askedMs + Math.random() * 200 * 2 ** (attempt - 1); // full jitter
    if (attempt >= attempts || Date.now() + waitMs >= ends) throw failure;
    await sleep(waitMs);
  }
}

async function main() {
  const url = process.env.SENTIMENT_URL ?? "http://localhost:3000";
  const base = `${url.replace(/\/$/, "")}/api/v1/sentiment`;
  const key = process.env.SENTIMENT_API_KEY;
  const options = { headers: key ? { Authorization: `Bearer ${key}` } : {} };

  const text = "이 영화 정말 재미있어요! 강력 추천합니다.";
  const one = await ask(`${base}/analyze`, { text, return_probabilities: true }, options);
  console.log(one.data.sentiment, one.data.score, one.data.probabilities);

  const texts = ["정말 최고의 영화였어요!", "시간 낭비였습니다.", "그냥 그래요."];
  const many = await ask(`${base}/batch`, { texts }, options);
  for (const result of many.data.results) console.log(result.sentiment, result.score, result.text);

  try {
    await ask(`${base}/analyze`, { text: "<br>" }, options);
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    console.log(error.status, error.problem.type, error.problem.field);
  }

  const health = await ask(`${base}/health`, undefined, options);
  console.log(health.status);
}

// run directly, not imported / 직접 실행할 때만
if (globalThis.process?.argv?.[1]?.endsWith("analyze.mjs")) {
  main().catch((error) => {
    console.error(error.message);
    process.exitCode = 1;
  });
}
