/** What was heard of an answer: the server keeps none of it before the answer is complete, so the page does. */

export class Heard {
  constructor() {
    this.text = "";
    /** @type {any[]} */
    this.steps = []; // that a plugin has taken
    this.error = ""; // the server's words; they come with the events alone
    this.isStopped = false; // whether somebody at this page has stopped it
  }
}

/** What was heard of all answers, by their ids. */
export class Hearing {
  constructor() {
    /** @type {Map<string, Heard>} */
    this.heard = new Map();
  }

  /**
   * @param {string} id
   * @returns {Heard}
   */
  of(id) {
    const heard = this.heard.get(id) ?? new Heard();
    this.heard.set(id, heard);
    return heard;
  }
}
