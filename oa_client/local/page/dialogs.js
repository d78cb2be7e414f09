/** Dialogs: something is asked before it is done. */

import { find } from "./dom.js";

/**
 * Show a dialog and wait for its end.
 * @param {HTMLDialogElement} dialog with one form
 * @returns {Promise<boolean>} whether it was not cancelled
 */
export function ask(dialog) {
  const form = /** @type {HTMLFormElement} */ (dialog.querySelector("form"));
  return new Promise((resolve) => {
    const over = new AbortController();
    const { signal } = over;
    let agreed = false;
    const submit = (/** @type {Event} */ event) => {
      event.preventDefault(); // the policy of the page lets no form be sent
      agreed = true;
      dialog.close();
    };
    form.addEventListener("submit", submit, { signal });
    dialog.querySelector("[data-cancel]")?.addEventListener("click", () => dialog.close(), { signal });
    dialog.addEventListener(
      "close",
      () => {
        over.abort();
        resolve(agreed);
      },
      { signal },
    );
    dialog.showModal();
  });
}

/**
 * @param {string} title
 * @param {string} text
 * @param {string} yes
 */
export function confirm(title, text, yes) {
  find("confirm-title").textContent = title;
  find("confirm-text").textContent = text;
  find("confirm-yes").textContent = yes;
  return ask(find("confirm"));
}
