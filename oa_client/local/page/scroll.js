/** The part of the page that is in view: it follows an answer that is being written. */

const NEAR = 80; // pixels to the end of the page that count as being there

export function isAtEnd() {
  const page = document.documentElement;
  return page.scrollHeight - page.scrollTop - page.clientHeight < NEAR;
}

export function goToEnd() {
  window.scrollTo({ top: document.documentElement.scrollHeight });
}
