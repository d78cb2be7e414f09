/** The chat page: what is on it, and what happens when somebody does something. */

import * as api from "./api.js";
import { Asking } from "./asking.js";
import { Choices } from "./choices.js";
import { Conversation } from "./conversation.js";
import { confirm } from "./dialogs.js";
import { find, redraw } from "./dom.js";
import { Drafts } from "./drafts.js";
import { Hearing } from "./heard.js";
import { ChatList } from "./list.js";
import { announce, drawFault } from "./notices.js";
import { Painter } from "./painter.js";
import { goToEnd, isAtEnd } from "./scroll.js";
import { drawChoice } from "./settings.js";
import { drawThread, isSend, paintLive } from "./thread.js";
import { askTitle, drawTitle } from "./title.js";
import { mayBeAtWork } from "./tree.js";
import { PageError, wordsFor, wordsForState } from "./words.js";

/** @typedef {import("./tree.js").Message} Message */

const ANNOUNCED_CHARACTERS = 2000;
const HIDDEN = "The chat is hidden from the list.";

class ChatPage {
  constructor() {
    this.choices = new Choices();
    this.drafts = new Drafts();
    this.list = new ChatList();
    this.painter = new Painter(() => this.open.live && paintLive(this.open.live));
    /** @type {import("./conversation.js").Surroundings} */
    this.surroundings = {
      asking: new Asking(),
      choices: this.choices,
      drafts: this.drafts,
      list: this.list,
      hearing: new Hearing(),
      draw: () => this.draw(),
      paint: () => this.painter.paint(),
      tell: (error) => this.tell(error),
      finished: (message) => this.finished(message),
      made: (chat) => history.pushState(null, "", `#${chat.id}`),
    };
    this.open = new Conversation(this.surroundings, "");
  }

  async start() {
    this.listen();
    this.draw();
    find("question").focus();
    const choices = this.loadChoices().catch((error) => this.tell(error));
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
    question.addEventListener("input", () => this.drafts.keep(this.open.id, question.value || null));
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
    find("older").addEventListener("click", () => this.loadOlder());
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

  draw() {
    const { open, choices } = this;
    const { chat, obstacle, tree, tail, live, editing } = open;
    drawTitle(chat, { rename: () => this.rename(), hide: () => this.hide(), remove: () => this.remove() });
    this.list.draw(chat?.id ?? null);
    drawChoice(choices.made, choices.plugins);
    redraw(
      find("thread"),
      drawThread(
        { tree, tail, live, editing, busy: open.isWaiting, hearing: this.surroundings.hearing, drafts: this.drafts },
        {
          show: (message) => open.show(message),
          look: () => open.look(),
          answer: (promptId) => open.attempt(() => open.answer(promptId)),
          vote: (message, score) => open.attempt(() => open.vote(message, score)),
          copy: (message) => open.attempt(() => this.copy(message)),
          edit: (message) => this.edit(message),
          branch: (message, text) => this.branch(message, text),
        },
      ),
    );
    find("thread").ariaBusy = String(live?.watching === true);
    const hint = obstacle || "Enter sends, Shift and Enter start a new line.";
    if (find("hint").textContent !== hint) find("hint").textContent = hint;
    find("send").ariaDisabled = String(obstacle !== "");
    find("stop").hidden = !live;
    find("send").hidden = live?.watching === true;
  }

  /** @param {unknown | null} error null takes the last one away */
  tell(error) {
    drawFault(error === null ? null : wordsFor(error));
    if (error !== null) find("fault").scrollIntoView({ block: "nearest" });
  }

  // The list and the choices

  async loadList() {
    await this.list.load();
    this.draw();
  }

  async loadOlder() {
    await this.list.load(this.list.next);
    this.draw();
    // The button that was pressed may have gone; the last of the chats that came is what it was pressed for.
    if (find("older").hidden) find("list").querySelector("li:last-child a")?.focus();
  }

  async loadChoices() {
    await this.choices.load();
    this.draw();
  }

  async askChoices() {
    await this.choices.ask();
    this.draw();
  }

  // The conversation

  /** Open the chat that the address names, or a new one. */
  async openFromAddress() {
    const chatId = location.hash.slice(1);
    if (chatId && chatId === this.open.chat?.id) return;
    this.open.leave();
    const open = new Conversation(this.surroundings, chatId);
    this.open = open;
    find("question").value = this.drafts.of(chatId) ?? "";
    this.tell(null);
    this.draw();
    if (!chatId) {
      this.showChats(false);
      find("question").focus();
      return;
    }
    await open.load();
    if (open.isLeft) return;
    this.showChats(false);
    goToEnd();
    find("title").focus({ preventScroll: true });
  }

  /** @param {string} text */
  async send(text) {
    const { open } = this;
    if (open.obstacle || !text.trim()) return;
    await open.attempt(() => open.prompt(open.tail, text, () => this.posted(open, text)));
    goToEnd();
    find("question").focus({ preventScroll: true });
  }

  /**
   * The server has what was in the field. What was typed since is a draft of its own, also in another chat.
   * @param {Conversation} open
   * @param {string} text
   */
  posted(open, text) {
    if (this.drafts.of(open.id) === text) this.drafts.keep(open.id, null);
    const question = find("question");
    if (open === this.open && question.value === text) question.value = "";
  }

  /**
   * Ask the question before a message in other words: a branch of the chat.
   * @param {Message} message
   * @param {string} text
   */
  async branch(message, text) {
    const { open } = this;
    if (open.isWaiting || !text.trim()) return;
    const posted = () => {
      this.drafts.keep(message.id, null);
      open.editing = null;
    };
    await open.attempt(() => open.prompt(message.parent_id, text, posted));
    find("question").focus({ preventScroll: true });
  }

  stop() {
    if (!this.open.live) return;
    void this.open.stop();
    find("question").focus({ preventScroll: true });
  }

  /** @param {Message} message an answer that has come to its end */
  finished(message) {
    const { error, isStopped } = this.surroundings.hearing.of(message.id);
    const wasAtEnd = isAtEnd();
    const hadFocus = document.activeElement === find("stop");
    this.draw();
    if (wasAtEnd) goToEnd();
    if (hadFocus) find("question").focus({ preventScroll: true });
    if (message.state === "complete") {
      const text = find(`message-${message.id}`)?.querySelector(".text")?.textContent ?? "";
      announce(`${isStopped ? "The answer is stopped." : "The answer is complete."} ${text.slice(0, ANNOUNCED_CHARACTERS)}`);
    } else {
      announce(wordsForState(message.state, error).what);
    }
  }

  /** @param {Message | null} message the prompt to edit, null to leave it as it is */
  edit(message) {
    const { open } = this;
    const before = open.editing;
    if (before && !message) this.drafts.keep(before, null);
    open.editing = message?.id ?? null;
    this.draw();
    const parentId = open.tree.byId.get(before ?? "")?.parent_id;
    if (message) find("edit").focus();
    else find("thread").querySelector(`[data-key="edit:${parentId}"]`)?.focus();
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
    const { open } = this;
    const title = open.chat && (await askTitle(open.chat));
    if (title) await open.attempt(() => open.change({ title }));
  }

  async hide() {
    const { open } = this;
    if (!open.chat) return;
    const hidden = !open.chat.hidden;
    await open.attempt(() => open.change({ hidden }));
    announce(open.chat.hidden ? HIDDEN : "The chat is in the list again.");
  }

  async remove() {
    const { open } = this;
    const { chat } = open;
    if (!chat) return;
    await open.attempt(async () => {
      const { messages = [] } = await api.getChat(chat.id);
      if (messages.some(mayBeAtWork)) {
        const why =
          "An answer in it is not finished. Deleting it now would break that off, and other people's answers with " +
          "it. It can be hidden, and deleted later.";
        if (!(await confirm("This chat cannot be deleted yet", why, "Hide it"))) return;
        await open.change({ hidden: true });
        announce(HIDDEN);
      } else if (await confirm("Delete this chat?", "This cannot be undone.", "Delete")) {
        await api.deleteChat(chat.id);
        this.list.remove(chat.id);
        this.drafts.keep(chat.id, null);
        history.replaceState(null, "", "/chat");
        await this.openFromAddress();
        announce("The chat is deleted.");
      }
    });
  }
}

void new ChatPage().start();
