// The key that goes with requests, where somebody gave one. It is in the header of requests to this service, and kept,
// where a page wants that, for this tab only: never in an address, and never where another tab or day could find it.

const NAME = "api-key";
const listeners = [];
let present = kept();

function kept() {
  try {
    return sessionStorage.getItem(NAME) ?? "";
  } catch {
    return ""; // storage is turned off
  }
}

export const key = () => present;

// Whether a header can hold it: what a Korean keyboard writes, it cannot.
export const sendable = (given) => /^[\x20-\x7e]+$/.test(given);

// What is to be asked again with another key.
export const onKey = (...functions) => listeners.push(...functions);

// From now on, until the page is left; without one, the key that the tab keeps.
export function useKey(given) {
  const chosen = given || kept();
  if (chosen === present) return;
  present = chosen;
  for (const listener of listeners) listener();
}

// From now on, until the tab is closed.
export function keepKey(given) {
  try {
    sessionStorage.setItem(NAME, given);
  } catch {
    // for this page only, then
  }
  useKey(given);
}

// A key that the service refused is not kept. One that is in a field is left to whoever wrote it there.
export function forgetKey(refused) {
  if (!refused || refused !== kept()) return;
  sessionStorage.removeItem(NAME);
  if (present === refused) present = "";
}
