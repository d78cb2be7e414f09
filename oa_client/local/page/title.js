/** The title of the chat that is open, and the buttons beside it. */

import { ask } from "./dialogs.js";
import { button, find, redraw } from "./dom.js";

/** @typedef {import("./api.js").Chat} Chat */

const SHOWN_CHARACTERS = 200; // of a title
const TITLE_CHARACTERS = 100; // that a title may have when it is changed; the first prompt is one of any length

/** @param {Chat | null} chat */
export function titleOf(chat) {
  if (!chat) return "New chat";
  const title = chat.title?.trim() || "Untitled chat";
  return title.length > SHOWN_CHARACTERS ? `${title.slice(0, SHOWN_CHARACTERS)}…` : title;
}

/**
 * @param {Chat | null} chat
 * @param {{rename: () => void, hide: () => void, remove: () => void}} actions
 */
export function drawTitle(chat, { rename, hide, remove }) {
  document.title = chat ? `${titleOf(chat).slice(0, TITLE_CHARACTERS)} – Chat` : "Chat";
  find("title").textContent = titleOf(chat);
  const place = find("chat-actions");
  const state = chat ? `hidden: ${chat.hidden}` : "";
  // Drawn only when they change: a dialog gives the focus back to the very button that it was opened from.
  if (place.dataset.state === state) return;
  place.dataset.state = state;
  const actions = [
    button("Rename", rename, { key: "rename" }),
    button(chat?.hidden ? "Show" : "Hide", hide, {
      key: "hide",
      name: chat?.hidden ? "Show in the list" : "Hide from the list",
    }),
    button("Delete", remove, { key: "delete" }),
  ];
  redraw(place, chat ? actions : []);
}

/**
 * @param {Chat} chat
 * @returns {Promise<string | null>} the new title, null if it stays
 */
export async function askTitle(chat) {
  const field = find("new-title");
  field.value = (chat.title ?? "").slice(0, TITLE_CHARACTERS);
  const dialog = ask(find("rename"));
  field.select();
  return (await dialog) ? field.value : null;
}
