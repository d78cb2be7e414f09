/** The website surface of the server, call by call: the same that any client of it uses, and one call beside it. */

/** @typedef {import("./tree.js").Message} Message */

/**
 * @typedef {object} Chat
 * @property {string} id
 * @property {string | null} title
 * @property {boolean} hidden
 * @property {string | null} active_thread_tail_message_id known only of a chat that was got by itself
 * @property {Message[]} [messages]
 */

/**
 * @typedef {object} Model
 * @property {string} name
 * @property {string} description
 * @property {{name: string, description: string, sampling_parameters: Record<string, number | null>}[]} parameter_configs
 */

/**
 * @typedef {object} Plugin
 * @property {string} url
 * @property {{name_for_human: string, description_for_human: string} | null} plugin_config
 */

const PATIENCE = 30_000; // milliseconds for anything but an answer

/** The server said no. Its `detail` is a text, a list of what is wrong with the fields, or "". */
export class RefusedError extends Error {
  /**
   * @param {number} status
   * @param {any} detail
   * @param {string} path
   */
  constructor(status, detail, path) {
    super(`${path}: ${status}`);
    this.status = status;
    this.detail = detail;
    this.path = path;
  }
}

/** The server could not be reached, or stopped in the middle. Whether it did what it was asked is not known. */
export class UnreachableError extends Error {}

/**
 * @param {string} path below /api, or from the root if it begins with a slash
 * @param {Record<string, string | null>} query what is null is left out
 * @param {RequestInit} options
 */
async function ask(path, query, options) {
  const given = Object.entries(query).filter(([, value]) => value !== null);
  const text = new URLSearchParams(/** @type {[string, string][]} */ (given)).toString();
  const root = path.startsWith("/") ? "" : "/api/";
  let response;
  try {
    response = await fetch(`${root}${path}${text && "?"}${text}`, { cache: "no-store", ...options });
    if (response.ok) return response;
    throw new RefusedError(response.status, detailOf(await response.text()), path);
  } catch (error) {
    throw translated(error, options.signal);
  }
}

/**
 * What the page tells of a failure: a refusal, and the error of a caller who has left, go on as they are.
 * @param {any} error
 * @param {AbortSignal | null} [signal]
 */
function translated(error, signal) {
  const hasLeft = signal?.aborted && error.name !== "TimeoutError";
  if (error instanceof RefusedError || hasLeft) return error;
  return new UnreachableError(String(error), { cause: error });
}

/** @param {string} body of a refusal: JSON, plain text or nothing */
function detailOf(body) {
  try {
    return JSON.parse(body).message ?? "";
  } catch {
    return body;
  }
}

/**
 * @param {string} method
 * @param {string} path
 * @param {Record<string, string | null>} query
 * @param {any} [body]
 */
async function call(method, path, query, body) {
  const options = { method, signal: AbortSignal.timeout(PATIENCE) };
  const content = { headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
  const response = await ask(path, query, body === undefined ? options : { ...options, ...content });
  try {
    const text = await response.text();
    return text ? JSON.parse(text) : null;
  } catch (error) {
    throw translated(error);
  }
}

/**
 * @param {string | null} after the cursor that came with the page before, null for the newest chats
 * @param {boolean} withHidden
 * @returns {Promise<{chats: Chat[], next: string | null}>}
 */
export const listChats = (after, withHidden) =>
  call("GET", "chat", { after, include_hidden: withHidden ? "true" : null });

/** @returns {Promise<Chat>} */
export const createChat = () => call("POST", "chat", {}, {});

/** @type {(chatId: string) => Promise<Chat>} */
export const getChat = (chatId) => call("GET", "chat", { chat_id: chatId });

/** @type {(chatId: string, changes: Partial<Chat>) => Promise<void>} */
export const updateChat = (chatId, changes) => call("PUT", "chat", {}, { chat_id: chatId, ...changes });

/** @type {(chatId: string) => Promise<void>} */
export const deleteChat = (chatId) => call("DELETE", "chat", { chat_id: chatId });

/** @type {(chatId: string, parentId: string | null, content: string) => Promise<Message>} */
export const postPrompt = (chatId, parentId, content) =>
  call("POST", "chat/prompter_message", {}, { chat_id: chatId, parent_id: parentId, content });

/** @type {(chatId: string, parentId: string, wishes: Record<string, any>) => Promise<Message>} */
export const postAnswer = (chatId, parentId, wishes) =>
  call("POST", "chat/assistant_message", {}, { chat_id: chatId, parent_id: parentId, ...wishes });

/** @type {(chatId: string, messageId: string) => Promise<Message>} */
export const getMessage = (chatId, messageId) =>
  call("GET", "chat/message", { chat_id: chatId, message_id: messageId });

/** @type {(chatId: string, messageId: string, score: number) => Promise<void>} */
export const vote = (chatId, messageId, score) =>
  call("POST", "chat/vote", {}, { chat_id: chatId, message_id: messageId, score });

/**
 * Stop an answer, and get it as it stands then. A real website has no such call: there it can only be left.
 * @type {(messageId: string) => Promise<Message>}
 */
export const stopAnswer = (messageId) => call("POST", "/chat/stop", { message_id: messageId });

/** @returns {Promise<Model[]>} */
export const listModels = () => call("GET", "chat/models", {});

/** @returns {Promise<Plugin[]>} */
export const listPlugins = () => call("GET", "chat/plugins", {});

/**
 * Yield the events of an answer until the server ends them, which need not mean that the answer is finished.
 *
 * To be called once for an answer: on the website a reader that was left goes on to take tokens, and the next one
 * gets only every second.
 * @param {string} chatId
 * @param {string} messageId
 * @param {AbortSignal} signal
 * @param {() => void} alive called at every sign of life
 * @returns {AsyncGenerator<any, void>}
 */
export async function* events(chatId, messageId, signal, alive) {
  const response = await ask("chat/events", { chat_id: chatId, message_id: messageId }, { signal });
  if (!response.body) return;
  const decoder = new TextDecoder();
  let rest = "";
  try {
    for (const reader = response.body.getReader(); ; ) {
      const { done, value } = await reader.read();
      if (done) return; // an event that was not ended by a line is none
      alive();
      const lines = (rest + decoder.decode(value, { stream: true })).split(/\r\n|\n|\r(?!$)/);
      rest = lines.pop() ?? "";
      for (const line of lines) {
        const event = eventIn(line);
        if (event) yield event;
      }
    }
  } catch (error) {
    throw translated(error, signal);
  }
}

/**
 * The event in a line of a stream, null if there is none: one is a single line, and a ping's data is no JSON.
 * @param {string} line
 */
function eventIn(line) {
  if (!line.startsWith("data:")) return null;
  try {
    return JSON.parse(line.slice("data:".length));
  } catch {
    return null;
  }
}
