/** Building the page out of nodes: whatever comes from a person or a model gets in as text, and never as HTML. */

/** @typedef {Node | string | null | undefined | false} Child */

/**
 * Make an element. Names that begin with "on" are listeners, true sets an attribute, false and null leave it out.
 * @param {string} tag
 * @param {Record<string, any>} [attributes]
 * @param {...Child} children
 * @returns {HTMLElement}
 */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/**
 * A button. One that is off can still be focused: whoever uses the keyboard is not thrown out of it.
 * @param {string} label
 * @param {() => void} run
 * @param {{key?: string, off?: boolean, name?: string, pressed?: boolean, class?: string}} [options]
 *   `key` finds the button again after it was drawn anew; `name` is said in place of the label.
 */
export function button(label, run, { key, off = false, name, pressed, class: style } = {}) {
  return h(
    "button",
    {
      type: "button",
      class: style,
      "data-key": key,
      "aria-disabled": off ? "true" : null,
      "aria-label": name,
      "aria-pressed": pressed === undefined ? null : String(pressed),
      title: name,
      onclick: () => off || run(),
    },
    label,
  );
}

/**
 * The element of the page with this id.
 * @param {string} id
 * @returns {any} of whatever kind it has in index.html
 */
export function find(id) {
  return document.getElementById(id);
}

/**
 * Draw a part of the page anew, and put the focus back on the control that had it.
 * @param {HTMLElement} place
 * @param {Child[]} children
 */
export function redraw(place, children) {
  const focused = place.contains(document.activeElement) ? document.activeElement : null;
  const key = focused instanceof HTMLElement ? focused.dataset.key : undefined;
  place.replaceChildren(...children.filter((child) => child instanceof Node));
  if (!key) return;
  const again = place.querySelector(`[data-key="${CSS.escape(key)}"]`);
  if (again instanceof HTMLElement) again.focus({ preventScroll: true });
}
