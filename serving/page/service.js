// The service over HTTP, and what it says when something is wrong. A client of the REST routes, and of nothing else.

import { forgetKey, key as present } from "./key.js";
import { knows, number, t } from "./language.js";

const API = "api/v1/sentiment";
const PATIENCE_MS = 70_000; // longer than the longest deadline of the service

export class Problem extends Error {
  constructor(kind, { status = 0, detail = "", field = "", request = "", retryAfter = 1, keyed = false } = {}) {
    super(kind);
    Object.assign(this, { kind, status, detail, field, request, retryAfter, keyed });
  }

  static async of(response, keyed) {
    const content = await response.json().catch(() => ({}));
    const wait = Number(response.headers.get("retry-after"));
    return new Problem(String(content.type ?? "").split(":").at(-1), {
      status: response.status,
      detail: content.detail ?? response.statusText,
      field: content.field,
      request: content.request_id ?? response.headers.get("x-request-id") ?? "",
      retryAfter: Number.isFinite(wait) && wait > 0 ? Math.ceil(wait) : 1,
      keyed,
    });
  }

  get tooLong() {
    return this.kind === "text-too-long";
  }

  // Whether another key could help, or a first one.
  get needsKey() {
    return this.status === 401 || this.kind === "scope-missing";
  }

  get text() {
    const tokens = this.tooLong && /(\d+)\D+(\d+)/.exec(this.detail);
    if (tokens) return t("problem.too-long", { length: number(tokens[1]), most: number(tokens[2]) });
    const key = [this.status === 401 && this.keyed && "wrong-key", this.kind, String(this.status)].map((name) => `problem.${name}`).find(knows);
    const values = { seconds: number(this.retryAfter), request: this.request, detail: this.detail };
    return t(key ?? (this.status >= 500 ? "problem.500" : "problem.other"), values);
  }
}

// The answer to a request, as JSON. It goes with the key that was given to the page, unless with another one. Throws a
// Problem, of kind "cancelled" where `signal` says so.
export async function call(path, { body, signal, key = present(), patience = PATIENCE_MS } = {}) {
  if (signal?.aborted) throw new Problem("cancelled");
  const late = new AbortController();
  const stop = () => late.abort();
  const timer = setTimeout(stop, patience);
  signal?.addEventListener("abort", stop);
  try {
    const response = await fetch(`${API}/${path}`, {
      method: body ? "POST" : "GET",
      headers: { ...(body && { "Content-Type": "application/json" }), ...(key && { Authorization: `Bearer ${key}` }) },
      body: body && JSON.stringify(body),
      signal: late.signal,
    });
    if (response.status === 401) forgetKey(key);
    if (!response.ok && path !== "health") throw await Problem.of(response, Boolean(key));
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
