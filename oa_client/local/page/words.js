/** What went wrong, in words, and what to do about it. */

import { RefusedError, UnreachableError } from "./api.js";

/**
 * @typedef {object} Words
 * @property {string} what
 * @property {string} advice "" if there is none
 */

/** Something that the page itself does not do, and why. */
export class PageError extends Error {
  /**
   * @param {string} what
   * @param {string} advice
   */
  constructor(what, advice) {
    super(what);
    this.advice = advice;
  }
}

/**
 * @param {unknown} error
 * @returns {Words}
 */
export function wordsFor(error) {
  if (error instanceof PageError) return { what: error.message, advice: error.advice };
  if (error instanceof UnreachableError) {
    return {
      what: "The server cannot be reached.",
      advice: "See whether it still runs. If it was started again, open the new address that it prints.",
    };
  }
  if (error instanceof RefusedError) return wordsForRefusal(error);
  console.error(error);
  return { what: "The page made a mistake.", advice: "Reload it. The browser's console has the details." };
}

/**
 * @param {RefusedError} error
 * @returns {Words}
 */
function wordsForRefusal({ status, detail, path }) {
  const said = sentence(detail);
  switch (status) {
    case 403:
      return {
        what: "You are not signed in any more.",
        advice: "Press Enter where the server runs: it prints an address that signs you in.",
      };
    case 404:
      return { what: "This chat is not there.", advice: "It may have been deleted. Pick another one, or a new chat." };
    case 413:
      return { what: `This is too long: ${said}`, advice: "Shorten it, or go on in a new chat." };
    case 503:
      return { what: "The server is busy: its queue is full.", advice: "Wait a moment, then try again." };
    case 500:
      if (path === "chat/assistant_message") {
        // NOTE: how the rate limit looks: the real server stumbles over its own refusal.
        return {
          what: "The server failed without a reason.",
          advice:
            "You have probably asked too much in a short time: twenty answers in ten minutes are usual. " +
            "Wait some minutes, then try again.",
        };
      }
      return {
        what: "The server failed without a reason.",
        advice: "Try again. If it goes on, what you asked for may have been deleted: reload the page.",
      };
    default:
      return { what: `The server refused: ${said}`, advice: status === 400 ? "Reload the page, then try again." : "" };
  }
}

/** @param {any} detail a text, or the list of fields that are wrong */
function sentence(detail) {
  if (!Array.isArray(detail)) return `${detail || "it gave no reason"}.`.replace(/\.\.$/, ".");
  return `${detail.map(({ loc, msg }) => `${loc?.at(-1)}: ${msg}`).join("; ")}.`;
}

/**
 * What an answer came to that is not complete.
 * @param {string} state of the message
 * @param {string} error the server's words, if it sent any
 * @returns {Words}
 */
export function wordsForState(state, error) {
  switch (state) {
    case "cancelled":
      return {
        what: "This answer was cancelled.",
        advice: "The server does that when another question is asked while one waits in the queue.",
      };
    case "timeout":
      return { what: "This answer waited too long in the queue.", advice: "The server is busy; wait a while first." };
    default:
      return {
        what: error ? `The model failed: ${sentence(error)}` : "The answer was broken off. The server keeps no reason.",
        advice: "",
      };
  }
}
