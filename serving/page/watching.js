// What the rollout is: asked every second while somebody looks, and told to whoever shows a part of it.

import { onKey } from "./key.js";
import { language, onSpeak } from "./language.js";
import { call } from "./service.js";

const POLL_MS = 1_000;
const REFUSED_MS = 10_000; // after it was refused for want of a key
const POLL_PATIENCE_MS = 5_000;
const SHOWN = 20; // changes
const HISTORY_AGAIN_MS = 10_000; // after it could not be read

const rollout = { status: null, problem: null, seen: 0, changes: null, changesProblem: null };
const parts = [];
let turn = 0;
let timer = 0;
const ledger = { generation: null, busy: false, after: 0 };

// Draws with what `read` takes of the rollout, whenever that or the language is another one: where nothing is new,
// what somebody has selected or reads stays as it is.
export function shows(read, draw) {
  let drawn = "";
  const show = () => {
    const found = read(rollout);
    const mark = JSON.stringify([language, found]);
    if (mark === drawn) return;
    drawn = mark;
    draw(found);
  };
  parts.push(show);
  onSpeak(show);
}

function tell() {
  for (const show of parts) show();
}

async function poll() {
  clearTimeout(timer);
  const asked = (turn += 1);
  let status = null;
  let problem = null;
  try {
    status = await call("rollout", { patience: POLL_PATIENCE_MS });
  } catch (found) {
    problem = found;
  }
  if (asked !== turn) return; // somebody has newer news
  if (status) take(status);
  else miss(problem);
  clearTimeout(timer);
  if (document.visibilityState === "visible") timer = setTimeout(poll, problem?.status === 401 ? REFUSED_MS : POLL_MS);
}

function take(status) {
  Object.assign(rollout, { status, problem: null, seen: Date.now() / 1000 });
  tell();
  readHistory(status.generation);
}

// What was seen last stays where the service is silent; where it says that there is no state, there is none.
function miss(problem) {
  const { status, detail, keyed } = problem;
  rollout.problem = { status, detail, keyed };
  if (status === 409) rollout.status = null;
  if (status === 401 && !rollout.changes) rollout.changesProblem = { status }; // who may not see one may not see the other
  tell();
  if (status && status !== 401) readHistory(rollout.status?.generation ?? 0);
}

async function readHistory(generation) {
  if (ledger.generation === generation || ledger.busy || Date.now() < ledger.after) return;
  ledger.busy = true;
  try {
    rollout.changes = await call(`rollout/history?last=${SHOWN}`);
    rollout.changesProblem = null;
    ledger.generation = generation;
  } catch ({ status, detail }) {
    rollout.changesProblem = { status, detail };
    ledger.after = Date.now() + HISTORY_AGAIN_MS;
  }
  ledger.busy = false;
  tell();
}

// Gives a command, and shows what came of it. Returns the new state. Throws a Problem.
export async function order(command, body, key) {
  try {
    const status = await call(`rollout/${command}`, { body, key });
    turn += 1; // what was asked before is older
    take(status);
    return status;
  } finally {
    poll();
  }
}

export function watchRollout() {
  document.addEventListener("visibilitychange", () => {
    if (document.visibilityState === "visible") poll();
    else clearTimeout(timer);
  });
  onKey(() => {
    ledger.after = 0;
    poll();
  });
  poll();
}
