/** Drafts: what was typed and not sent yet, in each chat and in each question that is being edited. */

const MEMORY = "oa-client draft "; // for as long as the tab is open

export class Drafts {
  constructor() {
    /** @type {Map<string, string | null>} */
    this.kept = new Map(); // in front of the browser's memory, which may be full, or not to be had
  }

  /**
   * @param {string} id of a chat, "" for a new one, or of a question
   * @returns {string | null} null if there is none
   */
  of(id) {
    const kept = this.kept.get(id);
    if (kept !== undefined) return kept;
    try {
      return sessionStorage.getItem(MEMORY + id);
    } catch {
      return null;
    }
  }

  /**
   * @param {string} id
   * @param {string | null} text null forgets it
   */
  keep(id, text) {
    this.kept.set(id, text);
    try {
      if (text === null) sessionStorage.removeItem(MEMORY + id);
      else sessionStorage.setItem(MEMORY + id, text);
    } catch {
      // Then it holds until the page is left.
    }
  }

  /**
   * @param {string} from
   * @param {string} to
   */
  move(from, to) {
    this.keep(to, this.of(from));
    this.keep(from, null);
  }
}
