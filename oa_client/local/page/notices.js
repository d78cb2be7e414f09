/** Notices: what went wrong, and what a screen reader says. */

import { find, h } from "./dom.js";

/**
 * @param {import("./words.js").Words | null} words
 */
export function drawFault(words) {
  find("fault").replaceChildren(
    ...(words ? [h("p", {}, h("strong", {}, words.what), words.advice && ` ${words.advice}`)] : []),
  );
}

/**
 * Have a screen reader say something, after what it is saying.
 * @param {string} text
 */
export function announce(text) {
  find("status").textContent = text;
}
