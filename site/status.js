/** The state of the connection in an element, with a countdown to the next attempt. */

import { textsOf } from "./language.js";

const text = textsOf({ countdown: ["（% 秒后）", "（% 秒後）", " in %\u00a0s"] });

export class Status {
  #element; #timer;
  #countdown = document.createElement("span");

  constructor(element) {
    this.#element = element;
    // Screen readers would announce it every second.
    this.#countdown.ariaHidden = "true";
  }

  get state() { return this.#element.dataset.state; }

  /** Show one of `none`, `connecting`, `open`, `waiting` and `closed`, and end a countdown. */
  show(state, label) {
    clearTimeout(this.#timer);
    this.#countdown.textContent = "";
    this.#element.dataset.state = state;
    const shown = document.createElement("span");
    shown.textContent = label;
    this.#element.replaceChildren(shown, this.#countdown);
  }

  /** Count down `delay` ms, then call `onEnd`. */
  countDown(delay, onEnd) {
    const due = performance.now() + delay;
    const tick = () => {
      const left = due - performance.now();
      if (left <= 0) return onEnd();
      this.#countdown.textContent = text("countdown", Math.ceil(left / 1000));
      this.#timer = setTimeout(tick, left % 1000 + 1);
    };
    tick();
  }
}
