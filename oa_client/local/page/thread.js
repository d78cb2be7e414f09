/** The thread of a chat: one article for each message, and the answer that is being written. */

import { button, find, h } from "./dom.js";
import { renderMarkdown } from "./markdown.js";
import { isFinal } from "./tree.js";
import { wordsForState } from "./words.js";

/** @typedef {import("./live.js").Live} Live */
/** @typedef {import("./tree.js").Message} Message */

/**
 * @typedef {object} Shown What there is to show.
 * @property {import("./tree.js").Tree} tree
 * @property {string | null} tail where the thread ends
 * @property {Live | null} live
 * @property {string | null} editing the prompt that is being edited
 * @property {boolean} busy whether something is on its way to the server, so that nothing else may be asked
 * @property {import("./heard.js").Hearing} hearing
 * @property {import("./drafts.js").Drafts} drafts
 */

/**
 * @typedef {object} Actions
 * @property {(message: Message) => void} show
 * @property {() => void} look
 * @property {(promptId: string) => void} answer
 * @property {(message: Message, score: number) => void} vote
 * @property {(message: Message) => void} copy
 * @property {(message: Message | null) => void} edit
 * @property {(message: Message, text: string) => void} branch
 */

/**
 * @param {Shown} shown
 * @param {Actions} actions
 * @returns {HTMLElement[]}
 */
export function drawThread(shown, actions) {
  return shown.tree.threadTo(shown.tail).map((message) => drawMessage(message, shown, actions));
}

/**
 * @param {Message} message
 * @param {Shown} shown
 * @param {Actions} actions
 */
function drawMessage(message, shown, actions) {
  const isPrompt = message.role === "prompter";
  const name = `name-${message.id}`;
  const body = isPrompt ? drawPrompt(message, shown, actions) : drawAnswer(message, shown);
  return h(
    "article",
    { class: message.role, id: `message-${message.id}`, "aria-labelledby": name },
    h("h3", { id: name }, isPrompt ? "You" : "Assistant"),
    ...body,
    h(
      "div",
      { class: "actions" },
      drawPager(message, shown, actions),
      ...(isPrompt ? promptActions(message, shown, actions) : answerActions(message, shown, actions)),
    ),
  );
}

/**
 * @param {Message} message
 * @param {Shown} shown
 * @param {Actions} actions
 */
function drawPrompt(message, shown, actions) {
  const content = message.content ?? "";
  if (shown.editing !== message.id) return [h("p", { class: "plain" }, content)];
  const key = `text:${message.id}`;
  const field = /** @type {HTMLTextAreaElement} */ (h("textarea", { rows: 3, id: "edit", "data-key": key }));
  field.value = shown.drafts.of(message.id) ?? content;
  field.addEventListener("input", () => shown.drafts.keep(message.id, field.value));
  const send = () => actions.branch(message, field.value);
  field.addEventListener("keydown", (event) => {
    if (event.key === "Escape") actions.edit(null);
    else if (isSend(event)) send();
    else return;
    event.preventDefault();
    event.stopPropagation();
  });
  return [
    h("label", { for: "edit" }, "Your question, said otherwise"),
    field,
    h(
      "div",
      { class: "row" },
      button("Cancel", () => actions.edit(null)),
      button("Send", send, { off: shown.busy, class: "main" }),
    ),
  ];
}

/**
 * Whether a key pressed in a field sends what is in it. Enter also ends the input of many scripts.
 * @param {KeyboardEvent} event
 */
export function isSend(event) {
  return event.key === "Enter" && !event.shiftKey && !event.isComposing;
}

/**
 * @param {Message} message
 * @param {Shown} shown
 */
function drawAnswer(message, shown) {
  const text = h("div", { class: "text" });
  const note = h("p", { class: "note" });
  const heard = shown.hearing.of(message.id);
  if (message.state === "complete") {
    const content = message.content ?? "";
    text.append(renderMarkdown(content));
    if (heard.isStopped) note.append("You stopped this answer.");
    else if (!content.trim()) note.append("This answer is empty.");
    return [drawPluginUse(message.used_plugin), text, note.hasChildNodes() && note];
  }
  const steps = h("ul", { class: "steps" });
  if (shown.live?.message.id === message.id) {
    paint({ text, note, steps }, heard, shown.live.note);
  } else if (isFinal(message)) {
    paint({ text, note, steps }, heard, "");
    const { what, advice } = wordsForState(message.state, heard.error);
    note.append(h("strong", {}, what), ` ${advice}`);
  } else {
    paint({ text, note, steps }, heard, "This answer is not finished.");
  }
  return [steps, text, note];
}

/**
 * Show what has come of the answer that the page waits for, if it is part of the thread that is shown.
 * @param {Live} live
 */
export function paintLive(live) {
  const article = document.getElementById(`message-${live.message.id}`);
  if (!article) return;
  const [steps, text, note] = [".steps", ".text", ".note"].map((part) => article.querySelector(part));
  if (steps && text && note) paint({ steps, text, note }, live.heard, live.note);
}

/**
 * @param {Record<"steps" | "text" | "note", Element>} places
 * @param {import("./heard.js").Heard} heard
 * @param {string} words for the note
 */
function paint({ steps, text, note }, heard, words) {
  for (const step of heard.steps.slice(steps.childElementCount)) steps.append(drawStep(step));
  patch(text, renderMarkdown(heard.text));
  if (note.textContent !== words) note.textContent = words;
}

/**
 * Put new nodes in the place of old ones. Those at the start that have not changed stay, with what is selected there.
 * @param {Element} place
 * @param {DocumentFragment} fragment
 */
function patch(place, fragment) {
  let old = place.firstChild;
  while (old && fragment.firstChild && old.isEqualNode(fragment.firstChild)) {
    fragment.firstChild.remove();
    old = old.nextSibling;
  }
  while (old) {
    const next = old.nextSibling;
    old.remove();
    old = next;
  }
  place.append(fragment);
}

/** @param {any} event a plugin's step */
function drawStep(event) {
  const { current_plugin_thought: thought, current_plugin_action_response: response } = event;
  return h("li", {}, response ? `${thought}: ${response}` : thought);
}

/** @param {any} used a message's `used_plugin` */
function drawPluginUse(used) {
  if (!used) return null;
  const { inner_monologue: thoughts = [], final_tool_output: output, error_message: failure } =
    used.execution_details ?? {};
  if (!thoughts.length) return h("p", { class: "note" }, `The plugin ${used.name} was on, and not needed.`);
  return h(
    "details",
    { class: "plugin" },
    h("summary", {}, `Used the plugin ${used.name}`),
    h("ul", { class: "steps" }, ...thoughts.map((/** @type {string} */ thought) => h("li", {}, thought))),
    output && h("p", {}, `It said: ${output}`),
    failure && h("p", {}, `It failed: ${failure}`),
  );
}

/**
 * @param {Message} message
 * @param {Shown} shown
 * @param {Actions} actions
 */
function drawPager(message, { tree }, actions) {
  const versions = tree.siblings(message);
  if (versions.length < 2) return null;
  const at = versions.indexOf(message);
  const what = message.role === "prompter" ? "question" : "answer";
  /** @type {(label: string, name: string, step: number) => HTMLElement} */
  const turn = (label, name, step) =>
    button(label, () => actions.show(versions[at + step]), {
      key: `${name}:${message.parent_id}`,
      off: !versions[at + step],
      name: `${name} ${what}`,
    });
  return h(
    "span",
    { class: "pager", role: "group", "aria-label": `Versions of this ${what}` },
    turn("‹", "Previous", -1),
    h("span", {}, `${at + 1} of ${versions.length}`),
    turn("›", "Next", 1),
  );
}

/**
 * @param {Message} message
 * @param {Shown} shown
 * @param {Actions} actions
 */
function promptActions(message, { tail, busy, editing }, actions) {
  const isUnanswered = message.id === tail;
  // NOTE: a chat has one first prompt, the server takes no second: it cannot be edited.
  const canEdit = message.parent_id !== null && editing !== message.id;
  return [
    isUnanswered && button("Get an answer", () => actions.answer(message.id), { off: busy, class: "main" }),
    canEdit && button("Edit", () => actions.edit(message), { key: `edit:${message.parent_id}`, off: busy }),
  ];
}

/**
 * @param {Message} message
 * @param {Shown} shown
 * @param {Actions} actions
 */
function answerActions(message, { live, busy }, actions) {
  if (live?.watching && live.message.id === message.id) return [];
  const isComplete = message.state === "complete";
  const promptId = message.parent_id ?? "";
  /** @type {(label: string, name: string, score: number) => HTMLElement} */
  const rate = (label, name, score) =>
    button(label, () => actions.vote(message, message.score === score ? 0 : score), {
      key: `${name}:${message.id}`,
      name,
      pressed: message.score === score,
    });
  return [
    !isFinal(message) && !live && button("Look again", () => actions.look(), { key: `look:${message.id}` }),
    isComplete && rate("Good", "Good answer", 1),
    isComplete && rate("Bad", "Bad answer", -1),
    isComplete && button("Copy", () => actions.copy(message), { key: `copy:${message.id}` }),
    button(isComplete ? "Regenerate" : "Try again", () => actions.answer(promptId), {
      key: `answer:${promptId}`,
      off: busy,
    }),
  ];
}
