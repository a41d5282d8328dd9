// Files of reviews: read from text and tables, and written as CSV.

import { make } from "./elements.js";

const MOST_FILE_BYTES = 20_000_000;
const COLUMNS = ["text", "review", "reviews", "document", "comment", "content", "sentence", "리뷰", "내용", "본문", "문장", "댓글", "감상평"];

export const linesOf = (text) => text.split(/\r\n|\r|\n/);

export async function readFile(file) {
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

export function download(rows) {
  const header = ["line", "text", "sentiment", "score", "negative", "positive", "cached", "model_tag", "problem"];
  const lines = rows.map(({ line, text, result, tag, problem }) => [
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
