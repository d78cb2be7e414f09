/** The answer that the page waits for. */

/** @typedef {import("./heard.js").Heard} Heard */
/** @typedef {import("./tree.js").Message} Message */

export const FIRST_WORD = "Waiting for the first word.";
export const WRITING = "The answer is being written.";
const LOST = "The connection was lost. The page asks the server for the answer until it is finished.";

export class Live {
  /**
   * @param {Message} message as it was when it was asked for
   * @param {string} note what is going on, "" while it is being written
   * @param {boolean} watching whether its events are read; else the message is asked for until it is finished
   * @param {Heard} heard so far
   */
  constructor(message, note, watching, heard) {
    this.message = message;
    this.note = note;
    this.watching = watching;
    this.heard = heard;
    this.leaving = new AbortController();
  }

  /** @param {any} event */
  hear(event) {
    if (event.event_type === "pending") {
      const { queue_position: position, queue_size: size } = event;
      this.note = position > 0 ? `In the queue: position ${position} of ${size}.` : FIRST_WORD;
    } else if (event.event_type === "token") {
      this.heard.text += event.text;
      if (event.text) this.note = "";
    } else if (event.event_type === "plugin_intermediate") {
      this.heard.steps.push(event);
      this.note = "Using the plugin.";
    } else if (event.event_type === "lost") {
      this.note = LOST;
    }
  }

  /** Stop reading; the server is not stopped by that. */
  leave() {
    this.leaving.abort();
  }
}
