// Tables of what the service tells.

import { $, make } from "./elements.js";

// What the service says, which is English: a sentence, the name of a model.
export const english = (text) => make("span", { lang: "en", textContent: text });

// A mark with its sign: it is never the colour alone that tells.
export const mark = (kind, sign, text) => make("span", { className: `tag ${kind}`, "data-sign": sign, textContent: text });

// Fills the body of a table; `rows` hold the content of their cells, of which the first names the row. On a phone each
// cell says which column it belongs to.
export function fill(id, rows) {
  const table = $(id);
  const names = [...table.tHead.rows[0].cells].map((cell) => cell.textContent);
  const cell = (content, place) =>
    make(
      place ? "td" : "th",
      { ...(place ? { role: "cell" } : { role: "rowheader", scope: "row" }), "data-column": names[place] },
      make("div", {}, ...[content].flat()),
    );
  table.tBodies[0].replaceChildren(...rows.map((row) => make("tr", { role: "row" }, ...row.map(cell))));
}
