// The field for a key: shown where the service refused to answer without one, and gone once one is given.

import { $ } from "./elements.js";
import { keepKey, sendable } from "./key.js";
import { onSpeak, t } from "./language.js";

const asking = { place: null, again: null, wrong: "" };

// Asks below `place`, which says why. With a key, `again` repeats what was refused.
export function askForKey(problem, place, again) {
  const section = place.closest("section");
  const elsewhere = document.activeElement !== document.body && !section.contains(document.activeElement);
  Object.assign(asking, { place, again, wrong: "" });
  place.after($("key-form"));
  $("key-form").hidden = false;
  $("key").setAttribute("aria-describedby", `${place.id} key-wrong key-lead`);
  showWrong(problem.keyed);
  if (elsewhere) return; // somebody does something else meanwhile
  $("key").focus();
  $("key").select();
}

// Nothing is refused any more at `place`: it is being asked again.
export function stopAsking(place) {
  if (asking.place !== place) return;
  const focused = $("key-form").contains(document.activeElement);
  asking.place = asking.again = null;
  $("key-form").hidden = true;
  if (focused) place.closest("section").querySelector(".main").focus();
}

function showWrong(invalid) {
  if (invalid) $("key").setAttribute("aria-invalid", "true");
  else $("key").removeAttribute("aria-invalid");
  $("key-wrong").hidden = !asking.wrong;
  $("key-wrong").textContent = asking.wrong ? t(asking.wrong) : "";
}

function give() {
  const given = $("key").value.trim();
  asking.wrong = given ? (sendable(given) ? "" : "key.signs") : "key.empty";
  showWrong(asking.wrong);
  if (asking.wrong) {
    $("key").focus();
    return;
  }
  keepKey(given);
  asking.again();
}

export function startAsking() {
  $("key-use").addEventListener("click", give);
  $("key-form").addEventListener("submit", (event) => {
    event.preventDefault(); // Enter in the field
    give();
  });
}

onSpeak(() => {
  if (asking.wrong) showWrong(true);
});
