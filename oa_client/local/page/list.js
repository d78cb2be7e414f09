/** The list of chats, as far as it has come. */

import { listChats } from "./api.js";
import { find, h, redraw } from "./dom.js";
import { titleOf } from "./title.js";
import { wordsFor } from "./words.js";

/** @typedef {import("./api.js").Chat} Chat */

export class ChatList {
  constructor() {
    /** @type {Chat[]} */
    this.chats = [];
    /** @type {string | null} */
    this.next = null; // the cursor of the next page
  }

  /** @param {string | null} [after] the cursor of the page to add; without one the list begins again */
  async load(after = null) {
    try {
      const { chats, next } = await listChats(after, find("with-hidden").checked);
      const isNew = new Set(chats.map(({ id }) => id));
      this.chats = after ? [...this.chats.filter(({ id }) => !isNew.has(id)), ...chats] : chats;
      this.next = chats.length ? next : null;
      find("list-fault").textContent = "";
    } catch (error) {
      const { what, advice } = wordsFor(error);
      find("list-fault").textContent = `${what} ${advice}`;
    }
  }

  /** @param {Chat} chat a new one */
  add(chat) {
    this.chats = [chat, ...this.chats];
  }

  /** @param {string} chatId */
  remove(chatId) {
    this.chats = this.chats.filter(({ id }) => id !== chatId);
  }

  /**
   * @param {Chat} chat
   * @param {Partial<Chat>} changes that were made to it
   */
  async change(chat, changes) {
    const isShown = (/** @type {Chat} */ one) => !one.hidden || find("with-hidden").checked;
    this.chats = this.chats.map((one) => (one.id === chat.id ? { ...one, ...changes } : one)).filter(isShown);
    if (!this.chats.some(({ id }) => id === chat.id) && isShown(chat)) await this.load();
  }

  /** @param {string | null} openId the chat that is open */
  draw(openId) {
    drawList(this.chats, openId);
    find("older").hidden = !this.next;
  }
}

/**
 * @param {Chat[]} chats
 * @param {string | null} openId
 */
function drawList(chats, openId) {
  const items = chats.map((chat) =>
    h(
      "li",
      {},
      h(
        "a",
        {
          href: `#${chat.id}`,
          "data-key": chat.id,
          "aria-current": chat.id === openId ? "page" : null,
          class: chat.hidden && "faint",
        },
        titleOf(chat),
        chat.hidden && " (hidden)",
      ),
    ),
  );
  redraw(find("list"), items.length ? items : [h("li", { class: "faint" }, "No chats yet")]);
}
