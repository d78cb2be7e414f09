/**
 * The messages of a chat as a tree. A prompt can have several answers (drafts), an answer several prompts after it
 * (edits); one thread through the tree is shown.
 */

/**
 * @typedef {object} Message As the server sends it; see the API's description for the rest of its fields.
 * @property {string} id
 * @property {string} chat_id
 * @property {string | null} parent_id
 * @property {"prompter" | "assistant"} role
 * @property {string | null} content null until the answer is complete
 * @property {string} state
 * @property {number} score
 * @property {string} created_at
 * @property {any} used_plugin
 */

/** The states after which nothing comes any more. */
const FINAL = new Set(["manual", "complete", "aborted_by_worker", "cancelled", "timeout"]);
/** Milliseconds after which an answer that is still unfinished was most likely lost. */
const LOST_AFTER = 3_600_000;

/** @param {Message} message */
export function isFinal(message) {
  return FINAL.has(message.state);
}

/**
 * Whether the server may still have work with an answer: deleting its chat would break off other people's answers
 * too. That of a cancelled one, or of one that waited too long, may still stand in the queue.
 * @param {Message} message
 */
export function mayBeAtWork(message) {
  if (message.role !== "assistant" || ["complete", "aborted_by_worker"].includes(message.state)) return false;
  return Date.now() - Date.parse(`${message.created_at}Z`) < LOST_AFTER;
}

export class Tree {
  /** @param {Message[]} [messages] in any order, as the server sends them */
  constructor(messages = []) {
    /** @type {Map<string, Message>} */
    this.byId = new Map();
    /** @type {Map<string | null, Message[]>} */
    this.children = new Map();
    messages.forEach((message) => this.put(message));
  }

  /**
   * Add a message, or put it in the place of an older version of itself.
   * @param {Message} message
   */
  put(message) {
    const siblings = this.children.get(message.parent_id) ?? [];
    const others = siblings.filter((one) => one.id !== message.id);
    // Ids are sortable by time, which sorts those of one microsecond too.
    others.push(message);
    others.sort((one, two) => compare(one.created_at, two.created_at) || compare(one.id, two.id));
    this.children.set(message.parent_id, others);
    this.byId.set(message.id, message);
  }

  /**
   * The other versions of a message, itself included, the oldest first.
   * @param {Message} message
   */
  siblings(message) {
    return this.children.get(message.parent_id) ?? [];
  }

  /**
   * The messages from the root down to one; none for null.
   * @param {string | null} id
   */
  threadTo(id) {
    const thread = [];
    // As many steps as there are messages: a circle, which no server should send, ends too.
    for (let step = 0; step < this.byId.size; step += 1) {
      const message = id === null ? undefined : this.byId.get(id);
      if (!message) break;
      thread.push(message);
      id = message.parent_id;
    }
    return thread.reverse();
  }

  /**
   * The end of the newest thread below a message; below null, of the whole tree, which is null if that is empty.
   * @param {string | null} id
   * @returns {string | null}
   */
  newestBelow(id) {
    for (let step = 0; step < this.byId.size; step += 1) {
      const versions = this.children.get(id) ?? [];
      if (!versions.length) break;
      id = versions[versions.length - 1].id;
    }
    return id;
  }

  /**
   * Where the thread ends that was shown last, as far as the server was told.
   * @param {string | null} told its `active_thread_tail_message_id`
   */
  activeTail(told) {
    return this.newestBelow(told !== null && this.byId.has(told) ? told : null);
  }
}

/**
 * @param {string} one
 * @param {string} two
 */
function compare(one, two) {
  return Number(one > two) - Number(one < two);
}
