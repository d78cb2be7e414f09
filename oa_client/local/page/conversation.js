/** The conversation that is open: one chat, the thread that is shown of it, and what is asked in it. */

import { poll, watch } from "./answer.js";
import * as api from "./api.js";
import { FIRST_WORD, Live, WRITING } from "./live.js";
import { announce } from "./notices.js";
import { goToEnd } from "./scroll.js";
import { isFinal, Tree } from "./tree.js";
import { PageError } from "./words.js";

/** @typedef {import("./tree.js").Message} Message */

/**
 * @typedef {object} Surroundings What all conversations share.
 * @property {import("./asking.js").Asking} asking
 * @property {import("./choices.js").Choices} choices
 * @property {import("./drafts.js").Drafts} drafts
 * @property {import("./list.js").ChatList} list
 * @property {import("./heard.js").Hearing} hearing
 * @property {() => void} draw the page
 * @property {() => void} paint what has come of the answer that is being written
 * @property {(error: unknown | null) => void} tell what went wrong, null for nothing
 * @property {(message: Message) => void} finished called with an answer that is
 * @property {(chat: api.Chat) => void} made called with a new chat
 */

const MOST_BYTES = 1_000_000; // of a question: the site refuses a body of more, and then stumbles over the next one

export class Conversation {
  /**
   * @param {Surroundings} surroundings
   * @param {string} id of the chat, "" for a new one
   */
  constructor(surroundings, id) {
    this.surroundings = surroundings;
    this.id = id;
    this.isLeft = false; // whether another one was opened: what comes now comes too late
    this.isBusy = false;
    /** @type {api.Chat | null} */
    this.chat = null; // null while it is a new one
    this.tree = new Tree();
    /** @type {string | null} */
    this.tail = null; // the last message of the thread that is shown
    /** @type {Live | null} */
    this.live = null;
    /** @type {string | null} */
    this.editing = null;
  }

  get isWaiting() {
    return this.isBusy || this.live?.watching === true;
  }

  /** Why nothing can be asked at the end of this thread, "" if it can. */
  get obstacle() {
    const last = this.last;
    if (this.isWaiting) return "The answer is on its way.";
    if (!last || last.state === "complete") return "";
    if (last.role === "prompter") return "This question has no answer yet: get one first.";
    return isFinal(last) ? "The last answer failed: try it again first." : "The last answer is not finished yet.";
  }

  get last() {
    return this.tail === null ? undefined : this.tree.byId.get(this.tail);
  }

  draw() {
    if (!this.isLeft) this.surroundings.draw();
  }

  /** @param {unknown} error */
  fail(error) {
    if (!this.isLeft) this.surroundings.tell(error);
  }

  async load() {
    await this.attempt(async () => {
      const chat = await api.getChat(this.id);
      this.take(chat);
      this.tail = this.tree.activeTail(chat.active_thread_tail_message_id);
    });
    if (this.isLeft) return;
    this.waitForTail();
    this.draw();
  }

  /** @param {api.Chat} chat with its messages */
  take(chat) {
    this.chat = chat;
    this.tree = new Tree(this.surroundings.asking.withoutStubs(chat.messages ?? []));
  }

  /** Stop reading; the server is not stopped by that. */
  leave() {
    this.isLeft = true;
    this.turnAway();
  }

  turnAway() {
    this.live?.leave();
    this.live = null;
  }

  /**
   * Do something that the server may refuse, one thing at a time.
   * @param {() => Promise<void>} action
   */
  async attempt(action) {
    if (this.isBusy) return;
    this.isBusy = true;
    this.surroundings.tell(null);
    this.draw();
    try {
      await action();
    } catch (error) {
      this.fail(error);
    }
    this.isBusy = false;
    this.draw();
  }

  /**
   * Post a prompt and ask for its answer.
   * @param {string | null} parentId
   * @param {string} text
   * @param {() => void} posted called once the server has it
   */
  async prompt(parentId, text, posted) {
    const { asking, drafts, list, made } = this.surroundings;
    if (new Blob([text]).size > MOST_BYTES) {
      throw new PageError("This is too long: the server takes a million bytes at most.", "Shorten it.");
    }
    await asking.refuseToCancel(null);
    if (!this.chat) {
      const chat = await api.createChat();
      list.add(chat);
      if (this.isLeft) return;
      this.chat = chat;
      drafts.move(this.id, chat.id);
      this.id = chat.id;
      made(chat);
    }
    const { chat } = this;
    const message = await this.post(chat, parentId, () => api.postPrompt(chat.id, parentId, text));
    posted();
    if (this.isLeft) return;
    if (chat.title === null) {
      chat.title = text;
      const listed = list.chats.find(({ id }) => id === chat.id);
      if (listed) listed.title = text;
    }
    this.tail = message.id;
    this.draw();
    goToEnd();
    await this.answer(message.id);
  }

  /**
   * Have a prompt answered, again if it has been.
   * @param {string} promptId
   */
  async answer(promptId) {
    const { chat } = this;
    const { asking, choices } = this.surroundings;
    if (!chat) return;
    if (!choices.made.model) await choices.load();
    await asking.refuseToCancel(promptId);
    this.turnAway();
    const message = await this.post(chat, promptId, () => api.postAnswer(chat.id, promptId, choices.wishes()));
    asking.asked = message;
    if (this.isLeft) return;
    this.tail = message.id;
    this.tellTail();
    void this.follow(message, FIRST_WORD, true);
  }

  /**
   * Post a message and add it to the tree.
   * @param {api.Chat} chat
   * @param {string | null} parentId
   * @param {() => Promise<Message>} send
   */
  async post(chat, parentId, send) {
    const { asking } = this.surroundings;
    const message = await asking.post(chat, this.tree, parentId, send, (fresh) => this.take(fresh));
    this.tree.put(message);
    return message;
  }

  /** Tell the server which thread is shown, for the next time. */
  tellTail() {
    if (!this.chat || !this.tail) return;
    // Whether it heard is of no weight now: then the newest thread is shown the next time.
    api.updateChat(this.chat.id, { active_thread_tail_message_id: this.tail }).catch(() => {});
  }

  /** Wait for the answer at the end of the thread, if it is not finished. Somebody else may be reading its events. */
  waitForTail() {
    const { last } = this;
    if (last && !isFinal(last) && !this.live) void this.follow(last, WRITING, false);
  }

  /** Wait once more, after that was given up. */
  look() {
    this.surroundings.tell(null);
    this.waitForTail();
    this.draw();
  }

  /**
   * Wait for an answer and show it.
   * @param {Message} asked
   * @param {string} note
   * @param {boolean} watching
   */
  async follow(asked, note, watching) {
    const { chat_id: chatId, id } = asked;
    const live = new Live(asked, note, watching, this.surroundings.hearing.of(id));
    this.live = live;
    this.draw();
    const how = watching ? watch : poll;
    try {
      const { message, error } = await how(chatId, id, live.leaving.signal, (event) => this.hear(live, event));
      live.heard.error = error;
      if (live === this.live) this.finish(message);
    } catch (error) {
      if (live !== this.live || live.leaving.signal.aborted) return;
      this.live = null;
      this.draw();
      this.fail(error);
    }
  }

  /**
   * @param {Live} live
   * @param {any} event
   */
  hear(live, event) {
    const before = live.note;
    live.hear(event);
    if (live !== this.live) return;
    if (live.note && live.note !== before) announce(live.note);
    this.surroundings.paint();
  }

  /** @param {Message} message the answer that was waited for */
  finish(message) {
    this.turnAway();
    this.tree.put(message);
    this.surroundings.finished(message);
  }

  /** Stop the answer that is waited for: the server keeps what is written of it, and the chat can go on. */
  async stop() {
    const { live } = this;
    if (!live || live.heard.isStopped) return;
    live.heard.isStopped = true;
    try {
      const message = await api.stopAnswer(live.message.id);
      if (live === this.live) this.finish(message);
    } catch (error) {
      live.heard.isStopped = false;
      this.fail(error);
    }
  }

  /** @param {Message} message whose thread is to be shown */
  show(message) {
    if (this.live && !this.live.watching) this.turnAway();
    this.tail = this.tree.newestBelow(message.id);
    this.editing = null;
    this.tellTail();
    this.waitForTail();
    this.draw();
  }

  /**
   * @param {Message} message
   * @param {number} score
   */
  async vote(message, score) {
    await api.vote(message.chat_id, message.id, score);
    message.score = score;
    announce(score === 0 ? "Your vote is taken back." : "Your vote is kept.");
  }

  /** @param {Partial<api.Chat>} changes of the chat as a whole */
  async change(changes) {
    const { chat } = this;
    if (!chat) return;
    await api.updateChat(chat.id, changes);
    Object.assign(chat, changes);
    await this.surroundings.list.change(chat, changes);
  }
}
