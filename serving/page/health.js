// Whether the service is up, and which model answers: asked again and again while somebody looks.

import { $, say } from "./elements.js";
import { onKey } from "./key.js";
import { onSpeak, percent, t } from "./language.js";
import { call } from "./service.js";

const HEALTH_MS = 15_000;
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

export function watchHealth() {
  document.addEventListener("visibilitychange", () => {
    if (document.visibilityState === "visible") pollHealth();
    else clearTimeout(live.timer);
  });
  onKey(pollHealth); // which model answers is told to those with a key
  pollHealth();
}

onSpeak(showHealth);
