/** Following one answer from the question to its end, whatever becomes of the connection. */

import { events, getMessage, RefusedError, UnreachableError } from "./api.js";
import { isFinal } from "./tree.js";

/** @typedef {import("./tree.js").Message} Message */

/**
 * @typedef {object} Outcome
 * @property {Message} message in a state that is final
 * @property {string} error in the server's words; they come with the events alone, so that they may be missing
 */

const DOUBT = 10_000; // milliseconds without a word, after which the message is asked for
const SILENCE = 45_000; // milliseconds without a byte, three pings missing, after which nobody listens any more
const FIRST_WAIT = 500; // milliseconds between two looks at a message
const LONGEST_WAIT = 5_000;
const MOST_FAILURES = 5; // in a row, after which looking is given up

/**
 * Read the events of an answer, and ask for the message wherever they may be incomplete.
 *
 * A cancelled or lost answer is told of by no event: there are pings and "pending" for ever. So while no word comes,
 * the message is asked for now and then. A stream that broke is never opened again.
 * @param {string} chatId
 * @param {string} messageId
 * @param {AbortSignal} signal
 * @param {(event: any) => void} tell what has come: an event, or {event_type: "lost"} once the connection is
 * @returns {Promise<Outcome>}
 */
export async function watch(chatId, messageId, signal, tell) {
  const over = new AbortController();
  const both = AbortSignal.any([signal, over.signal]);
  let lastWord = Date.now();
  let lastByte = Date.now();

  /** @returns {Promise<Outcome | null>} null if the stream ended without saying how */
  async function read() {
    try {
      for await (const event of events(chatId, messageId, both, () => (lastByte = Date.now()))) {
        if (both.aborted) return null;
        if (event.event_type === "message") return { message: event.message, error: "" };
        if (event.event_type === "error" && event.message) return { message: event.message, error: event.error };
        if (event.event_type !== "pending") lastWord = Date.now();
        tell(event);
      }
    } catch (error) {
      if (both.aborted || isRefusal(error)) throw error;
      tell({ event_type: "lost" });
    }
    return null;
  }

  /** @returns {Promise<Outcome | null>} null if the connection is dead */
  async function doubt() {
    for (;;) {
      await pause(DOUBT, both);
      if (Date.now() - lastByte > SILENCE) return null;
      if (Date.now() - lastWord < DOUBT) continue;
      const message = await getMessage(chatId, messageId).catch(() => null);
      if (message && isFinal(message)) return { message, error: "" };
    }
  }

  const reading = read();
  const doubting = doubt();
  doubting.catch(() => {}); // it ends with the reading
  reading.catch(() => {});
  try {
    const outcome = await Promise.race([reading, doubting]);
    if (outcome) return outcome;
  } finally {
    over.abort();
  }
  signal.throwIfAborted();
  return await poll(chatId, messageId, signal, tell);
}

/**
 * Ask for a message until it is final. What was written of it until then is not to be had.
 * @param {string} chatId
 * @param {string} messageId
 * @param {AbortSignal} signal
 * @param {(event: any) => void} tell {event_type: "lost"} while the server cannot be reached
 * @returns {Promise<Outcome>}
 */
export async function poll(chatId, messageId, signal, tell) {
  let failures = 0;
  for (let wait = FIRST_WAIT; ; wait = Math.min(wait * 1.5, LONGEST_WAIT)) {
    try {
      const message = await getMessage(chatId, messageId);
      signal.throwIfAborted();
      if (isFinal(message)) return { message, error: "" };
      failures = 0;
    } catch (error) {
      failures += 1;
      if (signal.aborted || isRefusal(error) || failures === MOST_FAILURES) throw error;
      if (error instanceof UnreachableError) tell({ event_type: "lost" });
    }
    await pause(wait, signal);
  }
}

/**
 * Whether asking again is of no use. A 500 says nothing on this surface, not even that.
 * @param {unknown} error
 */
function isRefusal(error) {
  return error instanceof RefusedError && error.status < 500;
}

/**
 * @param {number} milliseconds
 * @param {AbortSignal} signal that ends the pause with its reason
 * @returns {Promise<void>}
 */
function pause(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(signal.reason);
    const leave = () => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    const timer = setTimeout(() => {
      signal.removeEventListener("abort", leave);
      resolve();
    }, milliseconds);
    signal.addEventListener("abort", leave, { once: true });
    return undefined;
  });
}
