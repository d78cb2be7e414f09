/** The settings: the dialog in which choices are made, and the line that shows them. */

import { ask } from "./dialogs.js";
import { find, h } from "./dom.js";

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

const FIELDS = /** @type {const} */ ({
  model: "model",
  preset: "preset",
  plugin: "plugin",
  systemPrompt: "system-prompt",
  userProfile: "user-profile",
  instructions: "instructions",
});

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
