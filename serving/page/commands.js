// Commands, for whoever has the key: which ones the state allows, giving them, and what came of it.
// The key stays in its field, and goes nowhere but into the headers of commands and of what is read for this page.

import { $, make } from "./elements.js";
import { sendable, useKey } from "./key.js";
import { knows, number, onSpeak, t } from "./language.js";
import { english } from "./tables.js";
import { order, shows } from "./watching.js";

const COMMANDS = ["stage", "weight", "shadow", "promote", "rollback", "release"];
const WHO = "who";
const TYPING_MS = 300; // a pause as long as that ends the typing of a key

const present = { status: null, sending: false, outcome: null, refused: null, wrongKey: false };
let typing = 0;

// What of the state is in the way of a command, or null.
function obstacle(command, status) {
  if (!status) return "unknown";
  const { other, role, weight, shadow } = status;
  if (command === "stage") return other === null ? null : "full";
  if (other === null) return "empty";
  if (["weight", "promote"].includes(command) && role !== "staged") return "unstaged";
  return command === "rollback" && role === "staged" && !weight && !shadow ? "idle" : null;
}

function showCommands() {
  const keyed = Boolean($("key").value.trim());
  $("commands-part").hidden = !keyed;
  for (const command of COMMANDS) {
    const found = obstacle(command, present.status);
    $(command).disabled = found !== null;
    $(`${command}-obstacle`).textContent = found ? t(`obstacle.${found}`) : "";
  }
  const { refused } = present;
  $("force").hidden = !refused;
  $("force-label").textContent = refused ? t("force.sure", { tag: refused.tag }) : "";
  $("force-promote").disabled = !$("force-sure").checked;
}

function showOutcome() {
  const { outcome } = present;
  const lines = [];
  if (outcome?.key) lines.push(t(outcome.key));
  else if (outcome?.problem) {
    const { status, detail } = outcome.problem;
    const key = status ? `refusal.${status}` : "refusal.unsure";
    lines.push(t("command.failed", { command: t(`command.${outcome.command}`), why: t(knows(key) ? key : "refusal.other") }));
    if (detail) lines.push(english(detail));
  } else if (outcome) {
    lines.push(t("command.done", { command: t(`command.${outcome.command}`), generation: number(outcome.generation) }));
  }
  $("command-result").className = outcome?.problem || outcome?.wrong ? "problem" : "summary";
  $("command-result").replaceChildren(...lines.map((line) => make("p", {}, line)));
}

function finish(outcome) {
  present.outcome = outcome;
  showCommands();
  showOutcome();
}

function markInvalid(id, invalid) {
  if (invalid) $(id).setAttribute("aria-invalid", "true");
  else $(id).removeAttribute("aria-invalid");
}

// Says what is missing, and where.
function missing(id, key) {
  markInvalid(id, true);
  $(id).focus();
  finish({ key, wrong: true });
  return null;
}

// The body of a command, or null where something is missing.
function bodyOf(command, force) {
  for (const id of [WHO, "stage-value", "weight-value", "shadow-value"]) markInvalid(id, false);
  markInvalid("key", present.wrongKey);
  if (!sendable($("key").value.trim())) return missing("key", "key.signs");
  const who = $(WHO).value.trim();
  if (!who) return missing(WHO, "command.no-who");
  const body = { who, why: $("why").value.trim(), force };
  if (command === "stage") {
    body.value = $("stage-value").value.trim();
    if (!body.value) return missing("stage-value", "command.no-tag");
  } else if (command === "weight" || command === "shadow") {
    body.value = $(`${command}-value`).value;
    if (!body.value || !(Number(body.value) >= 0 && Number(body.value) <= 100)) return missing(`${command}-value`, "command.no-share");
  }
  return body;
}

async function give(command, force = false) {
  if (present.sending) return;
  const body = bodyOf(command, force);
  if (!body) return;
  const button = document.activeElement;
  present.sending = true;
  present.refused = null;
  $("force-sure").checked = false;
  finish({ key: "command.busy" });
  try {
    const { generation } = await order(command, body, $("key").value.trim());
    const field = $(`${command}-value`);
    if (field) field.value = "";
    finish({ command, generation });
  } catch (problem) {
    const { status, detail } = problem;
    present.refused = refusal(command, status);
    finish({ command, problem: { status, detail } });
  }
  present.sending = false;
  // a button that cannot be pressed again loses the focus: nobody is to search for the place
  const { activeElement, body: nowhere } = document;
  const gone = button.disabled || button.closest("[hidden]");
  if (activeElement === nowhere || (gone && activeElement === button)) $("command-result").focus();
}

// A promotion that was refused may be forced, as long as nothing else changes and gates are what is in its way.
function refusal(command, code) {
  const { status } = present;
  const forcible = command === "promote" && code === 409 && status?.role === "staged" && status.gates_passed !== true;
  return forcible ? { generation: status.generation, tag: status.other } : null;
}

// What is only looked at needs a key, too, where the service asks everybody for one.
function lookWithKey() {
  clearTimeout(typing);
  typing = setTimeout(() => {
    const given = $("key").value.trim();
    useKey(sendable(given) ? given : "");
  }, TYPING_MS);
}

function remember(name) {
  try {
    localStorage.setItem(WHO, name);
  } catch {
    // not remembered, then
  }
}

function remembered() {
  try {
    return localStorage.getItem(WHO) ?? "";
  } catch {
    return ""; // storage is turned off
  }
}

export function startCommands() {
  $(WHO).value = remembered();
  $(WHO).addEventListener("change", () => remember($(WHO).value.trim()));
  $("key").addEventListener("input", showCommands);
  $("key").addEventListener("input", lookWithKey);
  $("command-form").addEventListener("submit", (event) => event.preventDefault());
  for (const command of COMMANDS) $(command).addEventListener("click", () => give(command));
  $("force-sure").addEventListener("change", showCommands);
  $("force-promote").addEventListener("click", () => give("promote", true));
}

shows(
  ({ status }) => status,
  (status) => {
    present.status = status;
    if (present.refused && present.refused.generation !== status?.generation) {
      present.refused = null;
      $("force-sure").checked = false;
    }
    showCommands();
  },
);
shows(
  ({ problem }) => Boolean(problem?.status === 401 && problem.keyed),
  (wrong) => {
    present.wrongKey = wrong;
    markInvalid("key", wrong);
  },
);
onSpeak(showOutcome);
