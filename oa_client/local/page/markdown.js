/**
 * Markdown, as models write it, to nodes of the page.
 *
 * What a model writes is not trusted: nodes are made by name and filled with text, so that HTML in it stays text;
 * links lead to http(s) alone, and images are shown as links, since loading one would tell its server who reads.
 * However hostile the text, the time taken grows as its length: nothing is looked at more than a fixed number of
 * times, and nesting has a limit, after which marks are text.
 */

import { appendElement, appendInline } from "./inline.js";

const MOST_CHARACTERS = 100_000; // any more are shown as they are
const MOST_BLOCKS = 8; // lists and quotes in each other
const MOST_COLUMNS = 64;
const TOP_HEADING = 3; // "#" becomes h4: the page has three levels of its own

// NOTE: each of these begins at a given place and can fail in one way only, so that none ever starts over. "s" matters:
// without it a dot stops at U+2028, and what stands before it would be tried again.
const FENCE = /^ *(`{3,}|~{3,})(.*)$/s;
const HEADING = /^ {0,3}(#{1,6})(?:[ \t]+(.*))?$/s;
const QUOTE = /^ {0,3}> ?/;
const MARKER = /^([ \t]*)([-*+]|(\d{1,9})[.)])(?: {1,4}|\t|$)/;
const BAR = /(?<!\\)\|/;
const DASHES = /^:?-+:?$/;

/**
 * @param {string} source
 * @returns {DocumentFragment}
 */
export function renderMarkdown(source) {
  const fragment = document.createDocumentFragment();
  const lines = source.slice(0, MOST_CHARACTERS).split(/\r\n|\n|\r/);
  appendBlocks(fragment, lines, 0);
  if (source.length > MOST_CHARACTERS) {
    appendElement(fragment, "p", "plain").append(source.slice(MOST_CHARACTERS));
  }
  return fragment;
}

/**
 * @param {Node & ParentNode} parent
 * @param {string[]} lines
 * @param {number} depth of quotes and lists around
 */
function appendBlocks(parent, lines, depth) {
  let at = 0;
  while (at < lines.length) {
    const line = lines[at];
    const heading = HEADING.exec(line);
    if (isBlank(line)) {
      at += 1;
    } else if (fenceOf(line)) {
      at = appendCode(parent, lines, at);
    } else if (heading) {
      const level = Math.min(heading[1].length + TOP_HEADING, 6);
      appendInline(appendElement(parent, `h${level}`), withoutHashes(heading[2] ?? ""));
      at += 1;
    } else if (isRule(line)) {
      appendElement(parent, "hr");
      at += 1;
    } else if (depth < MOST_BLOCKS && QUOTE.test(line)) {
      at = appendQuote(parent, lines, at, depth);
    } else if (depth < MOST_BLOCKS && MARKER.test(line)) {
      at = appendList(parent, lines, at, depth);
    } else if (isTable(lines, at)) {
      at = appendTable(parent, lines, at);
    } else {
      at = appendParagraph(parent, lines, at, depth);
    }
  }
}

/** @param {string} line */
function isBlank(line) {
  return line.trim() === "";
}

/** @param {string} line */
function isRule(line) {
  const marks = line.replaceAll(" ", "");
  return marks.length > 2 && "-*_".includes(marks[0]) && marks === marks[0].repeat(marks.length);
}

/**
 * The marks that open a block of code, null if the line opens none.
 * @param {string} line
 */
function fenceOf(line) {
  const match = FENCE.exec(line);
  return match && !(match[1][0] === "`" && match[2].includes("`")) ? match[1] : null;
}

/**
 * How far a line is indented, a tab counting as four spaces.
 * @param {string} line
 */
function indentOf(line) {
  let columns = 0;
  for (let at = 0; line[at] === " " || line[at] === "\t"; at += 1) columns += line[at] === " " ? 1 : 4;
  return columns;
}

/**
 * A line without so much of its indentation.
 * @param {string} line
 * @param {number} columns
 */
function outdent(line, columns) {
  let at = 0;
  for (let left = columns; left > 0 && (line[at] === " " || line[at] === "\t"); at += 1) left -= line[at] === " " ? 1 : 4;
  return line.slice(at);
}

/**
 * Whether a line cannot go on a paragraph. A number other than 1 can: many a sentence begins a line with a year.
 * @param {string[]} lines
 * @param {number} at
 * @param {number} depth
 */
function startsBlock(lines, at, depth) {
  const line = lines[at];
  const marker = depth < MOST_BLOCKS ? MARKER.exec(line) : null;
  return (
    fenceOf(line) !== null ||
    HEADING.test(line) ||
    isRule(line) ||
    (depth < MOST_BLOCKS && QUOTE.test(line)) ||
    (marker !== null && (marker[3] ?? "1") === "1") ||
    isTable(lines, at)
  );
}

/**
 * @param {Node & ParentNode} parent
 * @param {string[]} lines
 * @param {number} at
 * @param {number} depth
 */
function appendParagraph(parent, lines, at, depth) {
  const first = at;
  do at += 1;
  while (at < lines.length && !isBlank(lines[at]) && !startsBlock(lines, at, depth));
  const text = lines.slice(first, at).map((line) => line.trim());
  appendInline(appendElement(parent, "p"), text.join("\n"));
  return at;
}

/**
 * @param {Node & ParentNode} parent
 * @param {string[]} lines
 * @param {number} at
 */
function appendCode(parent, lines, at) {
  const fence = fenceOf(lines[at]) ?? "";
  const indent = indentOf(lines[at]);
  const first = at + 1;
  do at += 1;
  while (at < lines.length && !closes(lines[at].trim(), fence));
  const code = lines.slice(first, at).map((line) => outdent(line, indent));
  const block = appendElement(parent, "pre");
  block.tabIndex = 0; // what scrolls must be reached by the keyboard
  appendElement(block, "code").append(code.join("\n"));
  return at + 1;
}

/**
 * @param {string} marks
 * @param {string} fence
 */
function closes(marks, fence) {
  return marks.length >= fence.length && marks === fence[0].repeat(marks.length);
}

/**
 * @param {Node & ParentNode} parent
 * @param {string[]} lines
 * @param {number} at
 * @param {number} depth
 */
function appendQuote(parent, lines, at, depth) {
  const inner = [];
  while (at < lines.length && !isBlank(lines[at])) {
    const isQuote = QUOTE.test(lines[at]);
    if (!isQuote && startsBlock(lines, at, depth)) break;
    inner.push(isQuote ? lines[at].replace(QUOTE, "") : lines[at]);
    at += 1;
  }
  appendBlocks(appendElement(parent, "blockquote"), inner, depth + 1);
  return at;
}

/**
 * A list. What is indented by two spaces more than a mark belongs to its item: models seldom count to the third.
 * @param {Node & ParentNode} parent
 * @param {string[]} lines
 * @param {number} at
 * @param {number} depth
 */
function appendList(parent, lines, at, depth) {
  const [, , firstMark, number] = MARKER.exec(lines[at]) ?? [];
  const kind = firstMark.at(-1);
  const list = appendElement(parent, number === undefined ? "ul" : "ol");
  if (number !== undefined && number !== "1") list.setAttribute("start", number);
  for (;;) {
    const marker = at < lines.length && !isRule(lines[at]) ? MARKER.exec(lines[at]) : null;
    if (!marker || marker[2].at(-1) !== kind) return at;
    const least = indentOf(marker[1]) + 2;
    const inner = [lines[at].slice(marker[0].length)];
    at += 1;
    while (at < lines.length) {
      const next = skipBlanks(lines, at);
      if (next === lines.length) return next;
      const indent = indentOf(lines[next]);
      const goesOn = next === at && !startsBlock(lines, at, depth) && !MARKER.test(lines[at]);
      if (indent < least && !goesOn) break;
      if (next > at) inner.push("");
      inner.push(outdent(lines[next], marker[0].length));
      at = next + 1;
    }
    appendBlocks(appendElement(list, "li"), inner, depth + 1);
    at = skipBlanks(lines, at);
  }
}

/**
 * @param {string[]} lines
 * @param {number} at
 */
function skipBlanks(lines, at) {
  while (at < lines.length && isBlank(lines[at])) at += 1;
  return at;
}

/**
 * @param {string[]} lines
 * @param {number} at
 */
function isTable(lines, at) {
  if (!lines[at].includes("|") || !lines[at + 1]?.includes("|")) return false;
  const dashes = cellsOf(lines[at + 1]);
  return dashes.every((cell) => DASHES.test(cell)) && dashes.length === cellsOf(lines[at]).length;
}

/**
 * @param {Node & ParentNode} parent
 * @param {string[]} lines
 * @param {number} at
 */
function appendTable(parent, lines, at) {
  const frame = appendElement(parent, "div", "table");
  frame.tabIndex = 0; // as a block of code
  frame.setAttribute("role", "region");
  frame.setAttribute("aria-label", "Table");
  const table = appendElement(frame, "table");
  const columns = appendRow(appendElement(table, "thead"), "th", lines[at], MOST_COLUMNS);
  const body = appendElement(table, "tbody");
  for (at += 2; at < lines.length && lines[at].includes("|"); at += 1) appendRow(body, "td", lines[at], columns);
  return at;
}

/**
 * @param {HTMLElement} parent
 * @param {string} tag
 * @param {string} line
 * @param {number} most
 */
function appendRow(parent, tag, line, most) {
  const row = appendElement(parent, "tr");
  const cells = cellsOf(line).slice(0, most);
  for (const cell of cells) appendInline(appendElement(row, tag), cell);
  return cells.length;
}

/**
 * The cells of a row; a bar after a backslash is part of one.
 * @param {string} line
 */
function cellsOf(line) {
  const cells = line.split(BAR).map((cell) => cell.replaceAll("\\|", "|").trim());
  if (cells[0] === "") cells.shift();
  if (cells.at(-1) === "") cells.pop();
  return cells;
}

/** @param {string} text */
function withoutHashes(text) {
  text = text.trim();
  let end = text.length;
  while (text[end - 1] === "#") end -= 1;
  return end === 0 || " \t".includes(text[end - 1]) ? text.slice(0, end).trim() : text;
}
