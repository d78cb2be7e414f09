/** Asking, so that no question is posted twice, and no answer is cancelled that still waits. */

import { getChat, getMessage, RefusedError } from "./api.js";
import { PageError } from "./words.js";

/** @typedef {import("./api.js").Chat} Chat */
/** @typedef {import("./tree.js").Message} Message */

export class Asking {
  constructor() {
    /** @type {Message | null} */
    this.asked = null; // the answer that was asked for last, in whatever chat
    /** @type {Set<string>} */
    this.stubs = new Set(); // answers that a full queue did not take; the server lists them for ever
  }

  /** @param {Message[]} messages */
  withoutStubs(messages) {
    return messages.filter(({ id }) => !this.stubs.has(id));
  }

  /**
   * Post a message. Where it is not clear whether the server took it, the server is asked: a second one would be a fork
   * in the chat.
   * @param {Chat} chat
   * @param {import("./tree.js").Tree} tree what is known of it
   * @param {string | null} parentId
   * @param {() => Promise<Message>} send
   * @param {(fresh: Chat) => void} take called with the chat if the server was asked for it
   * @returns {Promise<Message>}
   */
  async post(chat, tree, parentId, send, take) {
    const known = new Set(tree.byId.keys());
    try {
      return await send();
    } catch (error) {
      const fresh = await getChat(chat.id).catch(() => null);
      if (!fresh) throw error;
      const arrived = (fresh.messages ?? []).filter(({ id, parent_id }) => parent_id === parentId && !known.has(id));
      const isRefusal = error instanceof RefusedError;
      if (isRefusal && error.status === 503) arrived.forEach(({ id }) => this.stubs.add(id));
      take({ ...fresh, title: chat.title ?? fresh.title });
      if (isRefusal || arrived.length !== 1) throw error;
      return arrived[0];
    }
  }

  /**
   * Throw if asking now would cancel the answer that was asked for before: the server does that, without telling
   * anybody, to those that wait in the queue for another prompt.
   * @param {string | null} promptId
   */
  async refuseToCancel(promptId) {
    const { asked } = this;
    if (!asked || asked.parent_id === promptId) return;
    const message = await getMessage(asked.chat_id, asked.id).catch(() => null);
    if (message?.state === "pending") {
      throw new PageError(
        "Another answer of yours still waits in the queue, and asking now would cancel it.",
        "Ask again once it is being written.",
      );
    }
    this.asked = null;
  }
}
