/** What stands within a passage of Markdown: emphasis, code, links and formulas. `markdown.js` says what holds for both. */

const MOST_FRAMES = 16; // emphasis and links in each other
const MOST_URL = 2000;

// NOTE: each of these begins at a given place and can fail in one way only, so that none ever starts over.
const SPECIAL = /[\\`*_~[\]!<]|\$\$|https?:\/\//g;
const BARE_URL = /https?:\/\/[^\s<>"`\\[\]]+/y;
const POINTED_URL = /<(https?:\/\/[^\s<>]+)>/y;
const TARGET = /\([ \n]*<?([^\s<>()[\]]+(?:\([^\s<>()[\]]*\)[^\s<>()[\]]*)*)>?(?:[ \n]+"[^"\]]*")?[ \n]*\)/y;

/** @type {Record<string, string>} the end of a formula, by the mark that begins it */
const FORMULA_ENDS = { "\\(": "\\)", "\\[": "\\]", "$$": "$$" };
/** @type {Record<string, string>} */
const TAGS = { "*": "em", _: "em", "**": "strong", __: "strong", "~~": "del" };

/**
 * @param {Node & ParentNode} parent
 * @param {string} tag
 * @param {string} [style]
 */
export function appendElement(parent, tag, style) {
  const element = document.createElement(tag);
  if (style) element.className = style;
  parent.append(element);
  return element;
}

/**
 * @typedef {object} Frame What has been opened and may yet be closed; if it is not, its mark was text.
 * @property {string} mark
 * @property {DocumentFragment} content
 * @property {string} text that follows the content: one node for all of it, and not for each of its marks
 * @property {boolean} dead whether it is a bracket around a link, which cannot be one itself
 */

/**
 * @param {HTMLElement} parent
 * @param {string} text
 */
export function appendInline(parent, text) {
  parent.append(new Inline(text).parse());
}

/** One passage of text with emphasis, code and links in it. */
class Inline {
  /** @param {string} text */
  constructor(text) {
    this.text = text;
    this.at = 0;
    /** @type {Frame[]} */
    this.frames = [newFrame("")];
    /** @type {Set<string>} */
    this.unended = new Set(); // ends of formulas that do not come any more
    /** @type {Map<number, number[]>} where runs of so many backticks start, the last first */
    this.ticks = new Map();
    for (const { 0: run, index } of [...text.matchAll(/`+/g)].reverse()) {
      const starts = this.ticks.get(run.length);
      if (starts) starts.push(index);
      else this.ticks.set(run.length, [index]);
    }
  }

  get top() {
    return this.frames[this.frames.length - 1];
  }

  parse() {
    const { text } = this;
    while (this.at < text.length) {
      SPECIAL.lastIndex = this.at;
      const special = SPECIAL.exec(text);
      this.write(text.slice(this.at, special?.index ?? text.length));
      if (!special) break;
      this.take(special[0][0]);
    }
    while (this.frames.length > 1) this.drop();
    return this.content();
  }

  /** What is in the innermost frame. */
  content() {
    const { content, text } = this.top;
    if (text) content.append(text);
    this.top.text = "";
    return content;
  }

  /**
   * @param {string} text that stands next, as it is
   * @param {number} [length] of what it stands for
   */
  write(text, length = text.length) {
    this.top.text += text;
    this.at += length;
  }

  /** @param {string} character */
  take(character) {
    if (character === "\\") this.takeBackslash();
    else if (character === "`") this.takeCode();
    else if (character === "[") this.open("[");
    else if (character === "]") this.takeBracket();
    else if (character === "!") this.text[this.at + 1] === "[" ? this.open("![") : this.write("!");
    else if (character === "$") this.takeFormula("$$");
    else if (character === "<") this.takeUrl(POINTED_URL);
    else if (character === "h") this.takeUrl(BARE_URL);
    else this.takeEmphasis(character);
  }

  takeBackslash() {
    const next = this.text[this.at + 1] ?? "";
    if (/[()[\]]/.test(next)) this.takeFormula(`\\${next}`);
    else if (/[!-/:-@[-`{-~]/.test(next)) this.write(next, 2);
    else this.write("\\");
  }

  /**
   * Leave a formula as it was written. A mark without a partner stays too: the end may be yet to come.
   * @param {string} mark
   */
  takeFormula(mark) {
    const end = FORMULA_ENDS[mark];
    let stop = this.at + mark.length;
    if (end && !this.unended.has(end)) {
      const found = this.text.indexOf(end, stop);
      if (found < 0) this.unended.add(end);
      else stop = found + end.length;
    }
    this.write(this.text.slice(this.at, stop));
  }

  takeCode() {
    const length = runLength(this.text, this.at);
    const starts = this.ticks.get(length) ?? [];
    while (starts.length && starts[starts.length - 1] < this.at + length) starts.pop();
    const end = starts.at(-1);
    if (end === undefined) {
      this.write("`".repeat(length));
      return;
    }
    const code = this.text.slice(this.at + length, end).replaceAll("\n", " ");
    const isPadded = code.startsWith(" ") && code.endsWith(" ") && code.trim() !== "";
    appendElement(this.content(), "code").append(isPadded ? code.slice(1, -1) : code);
    this.at = end + length;
  }

  /** @param {RegExp} pattern */
  takeUrl(pattern) {
    pattern.lastIndex = this.at;
    const match = pattern.exec(this.text);
    const url = match && (match[1] ?? withoutEnd(match[0]));
    const link = url && linkTo(url);
    if (!match || !link) {
      this.write(match?.[0] ?? this.text[this.at]);
      return;
    }
    link.append(url);
    this.content().append(link);
    this.at += match[1] ? match[0].length : url.length;
  }

  /** @param {string} mark */
  open(mark) {
    if (this.frames.length > MOST_FRAMES) {
      this.write(mark);
      return;
    }
    this.frames.push(newFrame(mark));
    this.at += mark.length;
  }

  /** Take the innermost frame for text after all. */
  drop() {
    const { mark, content, text } = this.top;
    this.frames.pop();
    this.top.text += mark;
    if (content.hasChildNodes()) this.content().append(content);
    this.top.text += text;
  }

  /**
   * Put what is in a frame into an element; those inside that are still open were text.
   * @param {number} index
   * @param {HTMLElement} element
   */
  close(index, element) {
    while (this.frames.length > index + 1) this.drop();
    element.append(this.content());
    this.frames.pop();
    this.content().append(element);
  }

  /** @param {string} character */
  takeEmphasis(character) {
    const { text } = this;
    const length = runLength(text, this.at);
    const before = text[this.at - 1] ?? " ";
    const after = text[this.at + length] ?? " ";
    const isWithin = character === "_" && /\w/.test(before) && /\w/.test(after);
    if (isWithin || length > 3 || (character === "~" && length !== 2)) {
      this.write(character.repeat(length));
      return;
    }
    for (let left = length; left > 0; ) {
      const index = /\s/.test(before) ? 0 : this.openedBy(character, left);
      if (index) {
        const { mark } = this.frames[index];
        this.close(index, document.createElement(TAGS[mark]));
        this.at += mark.length;
        left -= mark.length;
      } else if (/\s/.test(after)) {
        this.write(character.repeat(left));
        left = 0;
      } else {
        const mark = character.repeat(Math.min(left, 2));
        this.open(mark);
        left -= mark.length;
      }
    }
  }

  /**
   * The innermost frame that a run of marks can close, 0 if there is none. A bracket still open hides those around it.
   * @param {string} character
   * @param {number} length
   */
  openedBy(character, length) {
    for (let index = this.frames.length - 1; index > 0; index -= 1) {
      const { mark } = this.frames[index];
      if (mark.endsWith("[")) return 0;
      if (mark[0] === character && mark.length <= length) return index;
    }
    return 0;
  }

  takeBracket() {
    const index = this.frames.findLastIndex((frame) => frame.mark.endsWith("["));
    if (index < 0) {
      this.write("]");
      return;
    }
    TARGET.lastIndex = this.at + 1;
    const target = this.frames[index].dead ? null : TARGET.exec(this.text);
    const link = target && linkTo(target[1]);
    if (!link) {
      while (this.frames.length > index) this.drop();
      this.write("]");
      return;
    }
    if (this.frames[index].mark === "![") link.prepend("Image: ");
    this.close(index, link);
    this.at += 1 + target[0].length;
    for (const frame of this.frames) frame.dead = frame.mark.endsWith("[");
  }
}

/**
 * @param {string} mark
 * @returns {Frame}
 */
function newFrame(mark) {
  return { mark, content: document.createDocumentFragment(), text: "", dead: false };
}

/**
 * @param {string} text
 * @param {number} at
 */
function runLength(text, at) {
  let end = at;
  while (text[end] === text[at]) end += 1;
  return end - at;
}

/**
 * An empty link, null if the address is not one that may be followed.
 * @param {string} address
 */
function linkTo(address) {
  if (address.length > MOST_URL || !URL.canParse(address)) return null;
  const url = new URL(address);
  if (url.protocol !== "http:" && url.protocol !== "https:") return null;
  const link = document.createElement("a");
  link.href = url.href;
  link.rel = "noopener noreferrer nofollow";
  link.target = "_blank";
  link.title = url.href; // what the text of a link says need not be where it leads
  return link;
}

/**
 * A URL without the marks that belong to the sentence around it.
 * @param {string} url
 */
function withoutEnd(url) {
  let unopened = url.split(")").length - url.split("(").length;
  let end = url.length;
  for (; ".,:;!?'*_~)".includes(url[end - 1]); end -= 1) {
    if (url[end - 1] === ")" && --unopened < 0) break;
  }
  return url.slice(0, end);
}
