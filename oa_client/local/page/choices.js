/** How answers are to be written: what the server offers, and what was chosen of it. */

import { listModels, listPlugins } from "./api.js";
import { askChoice } from "./settings.js";
import { PageError } from "./words.js";

const MEMORY = "oa-client chat"; // the choices made, for as long as the tab is open

export class Choices {
  constructor() {
    /** @type {import("./api.js").Model[]} */
    this.models = [];
    /** @type {import("./api.js").Plugin[]} */
    this.plugins = [];
    /** @type {import("./settings.js").Choice} */
    this.made = { model: "", preset: "", plugin: "", systemPrompt: "", userProfile: "", instructions: "" };
  }

  async load() {
    [this.models, this.plugins] = await Promise.all([listModels(), listPlugins()]);
    try {
      Object.assign(this.made, JSON.parse(sessionStorage.getItem(MEMORY) ?? "{}"));
    } catch {
      // Kept by an older page, or not to be had: the choices begin anew.
    }
    const model = this.models.find(({ name }) => name === this.made.model) ?? this.models[0];
    if (!model) throw new PageError("The server lists no model.", "Without one it cannot answer.");
    this.made.model = model.name;
    if (!model.parameter_configs.some(({ name }) => name === this.made.preset)) this.made.preset = "";
    if (!this.plugins.some(({ url }) => url === this.made.plugin)) this.made.plugin = "";
  }

  /** Have them made anew, in a dialog. */
  async ask() {
    const made = await askChoice(this.made, this.models, this.plugins);
    if (!made) return;
    this.made = made;
    try {
      sessionStorage.setItem(MEMORY, JSON.stringify(made));
    } catch {
      // Some browsers keep nothing for anybody; then it holds until the page is left.
    }
  }

  /** What is asked for beside the prompt. The server fills in nothing of a preset, and takes no null. */
  wishes() {
    const { made } = this;
    const model = this.models.find(({ name }) => name === made.model);
    const preset = model?.parameter_configs.find(({ name }) => name === made.preset);
    const values = Object.entries(preset?.sampling_parameters ?? {}).filter(([, value]) => value !== null);
    const plugin = this.plugins.find(({ url }) => url === made.plugin);
    return {
      model_config_name: made.model,
      sampling_parameters: Object.fromEntries(values),
      plugins: plugin ? [plugin] : [],
      ...(made.systemPrompt && { system_prompt: made.systemPrompt }),
      ...(made.userProfile && { user_profile: made.userProfile }),
      ...(made.instructions && { user_response_instructions: made.instructions }),
    };
  }
}
