/** The chat page: what it knows, and what happens when somebody does something. */

import { poll, watch } from "./answer.js";
import * as api from "./api.js";
import { Asking } from "./asking.js";
import { Choices } from "./choices.js";
import { find, redraw } from "./dom.js";
import { drawThread, isSend, paintLive } from "./thread.js";
import { isFinal, mayBeAtWork, Tree } from "./tree.js";
import { announce, askTitle, confirm, drawChoice, drawFault, drawList, drawTitle } from "./view.js";
import { PageError, wordsFor, wordsForState } from "./words.js";

/** @typedef {import("./tree.js").Message} Message */
/** @typedef {import("./thread.js").Live} Live */

const MOST_BYTES = 1_000_000; // of a question: the site refuses a body of more, and then stumbles over the next one
const PAINT_SHARE = 4; // times as long as drawing the answer took is waited before it is drawn again
const LEAST_PAUSE = 16; // milliseconds, about one picture of a screen
const ANNOUNCED_CHARACTERS = 2000;
const FIRST_WORD = "Waiting for the first word.";
const WRITING = "The answer is being written.";
const STOPPED = "You stopped watching. The server goes on writing; the answer appears here when it is finished.";
const LOST = "The connection was lost. The page asks the server for the answer until it is finished.";
const HIDDEN = "The chat is hidden from the list.";

class ChatPage {
  constructor() {
    this.choices = new Choices();
    /** @type {api.Chat[]} */
    this.chats = [];
    /** @type {string | null} */
    this.next = null; // the cursor of the list's next page
    /** @type {api.Chat | null} */
    this.chat = null; // null while it is a new one
    this.tree = new Tree();
    /** @type {string | null} */
    this.tail = null; // the last message of the thread that is shown
    /** @type {Live | null} */
    this.live = null;
    this.asking = new Asking();
    /** @type {string | null} */
    this.editing = null;
    this.isBusy = false;
    this.visit = 0; // goes up with each chat that is opened: what was asked for an earlier one comes too late
    /** @type {Map<string, string>} */
    this.errors = new Map();
    this.isPainting = false;
    this.isStale = false; // whether something came after the answer was drawn last
  }

  async start() {
    this.listen();
    this.draw();
    find("question").focus();
    const choices = this.loadChoices().catch((error) => this.fail(error));
    await Promise.all([choices, this.loadList(), this.openFromAddress()]);
  }

  listen() {
    const question = find("question");
    find("composer").addEventListener("submit", (/** @type {Event} */ event) => {
      event.preventDefault();
      void this.send(question.value);
    });
    question.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
      if (!isSend(event)) return;
      event.preventDefault();
      void this.send(question.value);
    });
    document.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && !document.querySelector("dialog[open]")) this.stop();
    });
    find("stop").addEventListener("click", () => this.stop());
    find("skip").addEventListener("click", (/** @type {Event} */ event) => {
      event.preventDefault(); // the address names the chat
      question.focus();
    });
    find("new-chat").addEventListener("click", () => {
      history.pushState(null, "", "/chat");
      void this.openFromAddress();
    });
    find("toggle").addEventListener("click", () => this.showChats(find("toggle").ariaExpanded !== "true"));
    find("older").addEventListener("click", () => this.loadList(this.next));
    find("with-hidden").addEventListener("change", () => this.loadList());
    find("open-settings").addEventListener("click", () => this.askChoices());
    window.addEventListener("hashchange", () => this.openFromAddress());
    window.addEventListener("popstate", () => location.hash || this.openFromAddress());
  }

  /** @param {boolean} isOpen the list, where there is no room for it beside the chat */
  showChats(isOpen) {
    find("toggle").ariaExpanded = String(isOpen);
    find("chats").classList.toggle("open", isOpen);
  }

  // What is shown

  get isWaiting() {
    return this.isBusy || this.live?.watching === true;
  }

  /** Why nothing can be asked at the end of this thread, "" if it can. */
  get obstacle() {
    const last = this.tail === null ? null : this.tree.byId.get(this.tail);
    if (this.isWaiting) return "The answer is on its way.";
    if (!last || last.state === "complete") return "";
    if (last.role === "prompter") return "This question has no answer yet: get one first.";
    return isFinal(last) ? "The last answer failed: try it again first." : "The last answer is not finished yet.";
  }

  draw() {
    const { obstacle, tree, tail, live, editing, isWaiting, errors } = this;
    drawTitle(this.chat, { rename: () => this.rename(), hide: () => this.hide(), remove: () => this.remove() });
    drawList(this.chats, this.chat?.id ?? null);
    find("older").hidden = !this.next;
    drawChoice(this.choices.made, this.choices.plugins);
    redraw(
      find("thread"),
      drawThread(
        { tree, tail, live, editing, busy: isWaiting, errors },
        {
          show: (message) => this.show(message),
          look: () => this.look(),
          answer: (promptId) => this.attempt(() => this.answer(promptId)),
          vote: (message, score) => this.attempt(() => this.vote(message, score)),
          copy: (message) => this.attempt(() => this.copy(message)),
          edit: (message) => this.edit(message),
          branch: (message, text) => this.branch(message, text),
        },
      ),
    );
    find("thread").ariaBusy = String(live?.watching === true);
    const hint = obstacle || "Enter sends, Shift and Enter start a new line.";
    if (find("hint").textContent !== hint) find("hint").textContent = hint;
    find("send").ariaDisabled = String(obstacle !== "");
    find("stop").hidden = !live?.watching;
    find("send").hidden = live?.watching === true;
  }

  /** Draw the answer that is being written, but not more often than the browser keeps up with. */
  paint() {
    if (this.isPainting) return;
    this.isPainting = true;
    const started = performance.now();
    const isAtEnd = this.isAtEnd();
    if (this.live) paintLive(this.live);
    if (isAtEnd) this.goToEnd();
    const pause = Math.max(LEAST_PAUSE, (performance.now() - started) * PAINT_SHARE);
    setTimeout(() => {
      this.isPainting = false;
      if (this.isStale) this.paint();
    }, pause);
    this.isStale = false;
  }

  isAtEnd() {
    const page = document.documentElement;
    return page.scrollHeight - page.scrollTop - page.clientHeight < 80;
  }

  goToEnd() {
    window.scrollTo({ top: document.documentElement.scrollHeight });
  }

  /** @param {unknown} error */
  fail(error) {
    drawFault(wordsFor(error));
    find("fault").scrollIntoView({ block: "nearest" });
  }

  // The list and the choices

  /** @param {string | null} [after] the cursor of the page to add; without one the list begins anew */
  async loadList(after = null) {
    try {
      const { chats, next } = await api.listChats(after, find("with-hidden").checked);
      const isNew = new Set(chats.map(({ id }) => id));
      this.chats = after ? [...this.chats.filter(({ id }) => !isNew.has(id)), ...chats] : chats;
      this.next = chats.length ? next : null;
      find("list-fault").textContent = "";
    } catch (error) {
      const { what, advice } = wordsFor(error);
      find("list-fault").textContent = `${what} ${advice}`;
    }
    this.draw();
    // The button that was pressed may have gone; the first of the chats that came is what it was pressed for.
    if (after && find("older").hidden) find("list").querySelector("li:last-child a")?.focus();
  }

  async loadChoices() {
    await this.choices.load();
    this.draw();
  }

  async askChoices() {
    await this.choices.ask();
    this.draw();
  }

  // One chat

  /** Open the chat that the address names, or a new one. */
  async openFromAddress() {
    const chatId = location.hash.slice(1);
    if (chatId && chatId === this.chat?.id) return;
    this.visit += 1;
    const { visit } = this;
    this.leave();
    Object.assign(this, { chat: null, tree: new Tree(), tail: null, editing: null, isBusy: chatId !== "" });
    drawFault(null);
    this.draw();
    if (!chatId) {
      this.showChats(false);
      find("question").focus();
      return;
    }
    try {
      const chat = await api.getChat(chatId);
      if (visit !== this.visit) return;
      this.take(chat);
      this.tail = this.tree.activeTail(chat.active_thread_tail_message_id);
    } catch (error) {
      if (visit !== this.visit) return;
      this.fail(error);
    }
    this.isBusy = false;
    this.waitForTail();
    this.draw();
    this.showChats(false);
    this.goToEnd();
    find("title").focus({ preventScroll: true });
  }

  /** @param {api.Chat} chat with its messages */
  take(chat) {
    this.chat = chat;
    this.tree = new Tree(this.asking.withoutStubs(chat.messages ?? []));
  }

  /** Stop reading; the server is not stopped by that. */
  leave() {
    this.live?.leaving.abort();
    this.live = null;
  }

  /**
   * Do something that the server may refuse, one thing at a time.
   * @param {() => Promise<void>} action
   */
  async attempt(action) {
    if (this.isBusy) return;
    const { visit } = this;
    this.isBusy = true;
    drawFault(null);
    this.draw();
    try {
      await action();
    } catch (error) {
      if (visit === this.visit) this.fail(error);
    }
    if (visit !== this.visit) return;
    this.isBusy = false;
    this.draw();
  }

  /** @param {string} text */
  async send(text) {
    if (this.obstacle || !text.trim()) return;
    await this.attempt(() => this.prompt(this.tail, text, () => (find("question").value = "")));
    this.goToEnd();
    find("question").focus({ preventScroll: true });
  }

  /**
   * Ask the question before a message in other words: a branch of the chat.
   * @param {Message} message
   * @param {string} text
   */
  async branch(message, text) {
    if (this.isWaiting || !text.trim()) return;
    await this.attempt(() => this.prompt(message.parent_id, text, () => (this.editing = null)));
    find("question").focus({ preventScroll: true });
  }

  /**
   * Post a prompt and ask for its answer.
   * @param {string | null} parentId
   * @param {string} text
   * @param {() => void} posted called once the server has it
   */
  async prompt(parentId, text, posted) {
    if (new Blob([text]).size > MOST_BYTES) {
      throw new PageError("This is too long: the server takes a million bytes at most.", "Shorten it.");
    }
    await this.asking.refuseToCancel(null);
    const { visit } = this;
    if (!this.chat) {
      const chat = await api.createChat();
      this.chats = [chat, ...this.chats];
      if (visit !== this.visit) return;
      this.chat = chat;
      history.pushState(null, "", `#${chat.id}`);
    }
    const { chat } = this;
    const message = await this.post(chat, parentId, () => api.postPrompt(chat.id, parentId, text));
    if (visit !== this.visit) return;
    posted();
    if (chat.title === null) {
      chat.title = text;
      const listed = this.chats.find(({ id }) => id === chat.id);
      if (listed) listed.title = text;
    }
    this.tail = message.id;
    this.draw();
    this.goToEnd();
    await this.answer(message.id);
  }

  /**
   * Have a prompt answered, again if it has been.
   * @param {string} promptId
   */
  async answer(promptId) {
    const { visit, chat } = this;
    if (!chat) return;
    if (!this.choices.made.model) await this.loadChoices();
    await this.asking.refuseToCancel(promptId);
    this.leave();
    const message = await this.post(chat, promptId, () => api.postAnswer(chat.id, promptId, this.choices.wishes()));
    this.asking.asked = message;
    if (visit !== this.visit) return;
    this.tail = message.id;
    this.tellTail();
    void this.follow(message, watch, FIRST_WORD);
  }

  /**
   * Post a message and add it to the tree.
   * @param {api.Chat} chat
   * @param {string | null} parentId
   * @param {() => Promise<Message>} send
   */
  async post(chat, parentId, send) {
    const { visit, tree } = this;
    const take = (/** @type {api.Chat} */ fresh) => visit === this.visit && this.take(fresh);
    const message = await this.asking.post(chat, tree, parentId, send, take);
    if (visit === this.visit) this.tree.put(message);
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
    const message = this.tail === null ? undefined : this.tree.byId.get(this.tail);
    if (message && !isFinal(message) && !this.live) void this.follow(message, poll, WRITING);
  }

  /** Wait once more, after that was given up. */
  look() {
    drawFault(null);
    this.waitForTail();
    this.draw();
  }

  /**
   * Wait for an answer and show it.
   * @param {Message} message
   * @param {typeof watch | typeof poll} how
   * @param {string} note
   */
  async follow(message, how, note) {
    const chatId = message.chat_id;
    const live = { message, text: "", steps: [], note, watching: how === watch, leaving: new AbortController() };
    this.live = live;
    this.draw();
    await this.await(live, () => how(chatId, message.id, live.leaving.signal, (event) => this.hear(live, event)));
  }

  /**
   * @param {Live} live
   * @param {() => Promise<import("./answer.js").Outcome>} outcome
   */
  async await(live, outcome) {
    try {
      const { message, error } = await outcome();
      if (live !== this.live) return;
      this.finish(message, error);
    } catch (error) {
      if (live !== this.live || live.leaving.signal.aborted) return;
      this.live = null;
      this.draw();
      this.fail(error);
    }
  }

  /**
   * @param {Message} message
   * @param {string} error
   */
  finish(message, error) {
    const isAtEnd = this.isAtEnd();
    const hadFocus = document.activeElement === find("stop");
    this.live = null;
    if (error) this.errors.set(message.id, error);
    this.tree.put(message);
    this.draw();
    if (isAtEnd) this.goToEnd();
    if (hadFocus) find("question").focus({ preventScroll: true });
    if (message.state === "complete") {
      const text = find(`message-${message.id}`)?.querySelector(".text")?.textContent ?? "";
      announce(`The answer is complete. ${text.slice(0, ANNOUNCED_CHARACTERS)}`);
    } else {
      announce(wordsForState(message.state, error).what);
    }
  }

  /**
   * @param {Live} live
   * @param {any} event
   */
  hear(live, event) {
    const before = live.note;
    if (event.event_type === "pending") {
      const { queue_position: position, queue_size: size } = event;
      live.note = position > 0 ? `In the queue: position ${position} of ${size}.` : FIRST_WORD;
    } else if (event.event_type === "token") {
      live.text += event.text;
      if (event.text) live.note = "";
    } else if (event.event_type === "plugin_intermediate") {
      live.steps.push(event);
      live.note = "Using the plugin.";
    } else if (event.event_type === "lost") {
      live.note = LOST;
    }
    if (live !== this.live) return;
    if (live.note && live.note !== before) announce(live.note);
    this.isStale = true;
    this.paint();
  }

  /** Stop watching. The server goes on, and the page looks now and then whether it is done. */
  stop() {
    const { live } = this;
    if (!live?.watching) return;
    live.leaving.abort();
    const quiet = { ...live, note: STOPPED, watching: false, leaving: new AbortController() };
    const chatId = live.message.chat_id;
    this.live = quiet;
    this.draw();
    announce(STOPPED);
    find("question").focus({ preventScroll: true });
    void this.await(quiet, () => poll(chatId, live.message.id, quiet.leaving.signal, () => {}));
  }

  /** @param {Message} message whose thread is to be shown */
  show(message) {
    if (this.live && !this.live.watching) this.leave();
    this.tail = this.tree.newestBelow(message.id);
    this.editing = null;
    this.tellTail();
    this.waitForTail();
    this.draw();
  }

  /** @param {Message | null} message the prompt to edit, null to leave it as it is */
  edit(message) {
    const before = this.editing;
    this.editing = message?.id ?? null;
    this.draw();
    const parentId = this.tree.byId.get(before ?? "")?.parent_id;
    if (message) find("edit").focus();
    else find("thread").querySelector(`[data-key="edit:${parentId}"]`)?.focus();
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

  /** @param {Message} message */
  async copy(message) {
    try {
      await navigator.clipboard.writeText(message.content ?? "");
    } catch {
      throw new PageError("The browser did not let the page copy.", "Mark the text and copy it yourself.");
    }
    announce("Copied.");
  }

  // What is done to a whole chat

  async rename() {
    const { chat } = this;
    const title = chat && (await askTitle(chat));
    if (!title) return;
    await this.attempt(() => this.change(chat, { title }));
  }

  async hide() {
    const { chat } = this;
    if (!chat) return;
    await this.attempt(() => this.change(chat, { hidden: !chat.hidden }));
    announce(chat.hidden ? HIDDEN : "The chat is in the list again.");
  }

  /**
   * @param {api.Chat} chat
   * @param {Partial<api.Chat>} changes
   */
  async change(chat, changes) {
    await api.updateChat(chat.id, changes);
    Object.assign(chat, changes);
    const isShown = (/** @type {api.Chat} */ one) => !one.hidden || find("with-hidden").checked;
    this.chats = this.chats.map((one) => (one.id === chat.id ? { ...one, ...changes } : one)).filter(isShown);
    if (!this.chats.some(({ id }) => id === chat.id) && isShown(chat)) await this.loadList();
  }

  async remove() {
    const { chat } = this;
    if (!chat) return;
    await this.attempt(async () => {
      const { messages = [] } = await api.getChat(chat.id);
      if (messages.some(mayBeAtWork)) {
        const why =
          "An answer in it is not finished. Deleting it now would break that off, and other people's answers with " +
          "it. It can be hidden, and deleted later.";
        if (!(await confirm("This chat cannot be deleted yet", why, "Hide it"))) return;
        await this.change(chat, { hidden: true });
        announce(HIDDEN);
      } else if (await confirm("Delete this chat?", "This cannot be undone.", "Delete")) {
        await api.deleteChat(chat.id);
        this.chats = this.chats.filter(({ id }) => id !== chat.id);
        history.replaceState(null, "", "/chat");
        await this.openFromAddress();
        announce("The chat is deleted.");
      }
    });
  }
}

void new ChatPage().start();
