/** The painter, which draws the answer that is being written, but not more often than the browser keeps up with. */

import { goToEnd, isAtEnd } from "./scroll.js";

const SHARE = 4; // times as long as drawing took is waited before it is done again
const LEAST_PAUSE = 16; // milliseconds, about one picture of a screen

export class Painter {
  /** @param {() => void} draw */
  constructor(draw) {
    this.draw = draw;
    this.isPainting = false;
    this.isStale = false; // whether something came after the last drawing
  }

  /** Something has come. */
  paint() {
    this.isStale = true;
    if (!this.isPainting) this.paintNow();
  }

  paintNow() {
    this.isPainting = true;
    this.isStale = false;
    const started = performance.now();
    const wasAtEnd = isAtEnd();
    this.draw();
    if (wasAtEnd) goToEnd();
    const pause = Math.max(LEAST_PAUSE, (performance.now() - started) * SHARE);
    setTimeout(() => {
      this.isPainting = false;
      if (this.isStale) this.paintNow();
    }, pause);
  }
}
