/** What stands around the thread: the list of chats, the choices made, dialogs, faults. */

import { button, find, h, redraw } from "./dom.js";

/** @typedef {import("./api.js").Chat} Chat */
/** @typedef {import("./api.js").Model} Model */
/** @typedef {import("./api.js").Plugin} Plugin */

/**
 * @typedef {object} Choice How answers are to be written. What is "" is not sent.
 * @property {string} model
 * @property {string} preset
 * @property {string} plugin its URL
 * @property {string} systemPrompt
 * @property {string} userProfile
 * @property {string} instructions
 */

const SHOWN_CHARACTERS = 200; // of a title
const TITLE_CHARACTERS = 100; // that a title may have when it is changed; the first prompt is one of any length
const FIELDS = /** @type {const} */ ({
  model: "model",
  preset: "preset",
  plugin: "plugin",
  systemPrompt: "system-prompt",
  userProfile: "user-profile",
  instructions: "instructions",
});

/** @param {Chat | null} chat */
export function titleOf(chat) {
  if (!chat) return "New chat";
  const title = chat.title?.trim() || "Untitled chat";
  return title.length > SHOWN_CHARACTERS ? `${title.slice(0, SHOWN_CHARACTERS)}…` : title;
}

/**
 * @param {Chat[]} chats
 * @param {string | null} openId
 */
export function drawList(chats, openId) {
  const items = chats.map((chat) =>
    h(
      "li",
      {},
      h(
        "a",
        {
          href: `#${chat.id}`,
          "data-key": chat.id,
          "aria-current": chat.id === openId ? "page" : null,
          class: chat.hidden && "faint",
        },
        titleOf(chat),
        chat.hidden && " (hidden)",
      ),
    ),
  );
  redraw(find("list"), items.length ? items : [h("li", { class: "faint" }, "No chats yet")]);
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

/**
 * @param {Choice} choice
 * @param {Plugin[]} plugins
 */
export function drawChoice(choice, plugins) {
  const plugin = plugins.find(({ url }) => url === choice.plugin);
  const extras = [plugin && `with ${pluginName(plugin)}`, choice.systemPrompt && "with a system prompt"];
  find("choice").textContent = [choice.model, choice.preset || "no preset", ...extras].filter(Boolean).join(" · ");
}

/** @param {Plugin} plugin */
function pluginName({ url, plugin_config: config }) {
  return config?.name_for_human ?? url;
}

/**
 * Show a dialog and wait for its end.
 * @param {HTMLDialogElement} dialog with one form
 * @returns {Promise<boolean>} whether it was not cancelled
 */
function ask(dialog) {
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

/**
 * @param {Choice} choice
 * @param {Model[]} models
 * @param {Plugin[]} plugins
 * @returns {Promise<Choice | null>} null if it stays
 */
export async function askChoice(choice, models, plugins) {
  fill(find("model"), models.map(({ name }) => [name, name]));
  fill(find("plugin"), [["", "None"], ...plugins.map((plugin) => [plugin.url, pluginName(plugin)])]);
  find("plugin-choice").hidden = !plugins.length;
  const describe = () => {
    const model = models.find(({ name }) => name === find("model").value);
    const presets = model?.parameter_configs ?? [];
    const { value } = find("preset");
    fill(find("preset"), [["", "None"], ...presets.map(({ name }) => [name, name])]);
    find("preset").value = presets.some(({ name }) => name === value) ? value : "";
    describeChoice(model, plugins);
  };
  for (const [name, id] of Object.entries(FIELDS)) find(id).value = choice[/** @type {keyof Choice} */ (name)];
  describe();
  find("preset").value = choice.preset;
  describe();
  const dialog = find("settings");
  dialog.addEventListener("change", describe);
  const agreed = await ask(dialog);
  dialog.removeEventListener("change", describe);
  const entries = Object.entries(FIELDS).map(([name, id]) => [name, find(id).value]);
  return agreed ? Object.fromEntries(entries) : null;
}

/**
 * @param {HTMLSelectElement} select
 * @param {string[][]} options value and label of each
 */
function fill(select, options) {
  select.replaceChildren(...options.map(([value, label]) => h("option", { value }, label)));
}

/**
 * @param {Model | undefined} model
 * @param {Plugin[]} plugins
 */
function describeChoice(model, plugins) {
  const preset = model?.parameter_configs.find(({ name }) => name === find("preset").value);
  const plugin = plugins.find(({ url }) => url === find("plugin").value);
  find("model-description").textContent = model?.description ?? "";
  find("preset-description").textContent = preset ? preset.description : "The server's own values.";
  find("plugin-description").textContent = plugin?.plugin_config?.description_for_human ?? "";
  const values = Object.entries(preset?.sampling_parameters ?? {}).filter(([, value]) => value !== null);
  const rows = values.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, String(value))));
  find("sampling").replaceChildren(...rows);
}
