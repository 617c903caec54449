/** A log that follows its end, unless the reader has scrolled up. An event that repeats is one entry with a count. */

export function create(name, content = "", className = "") {
  const created = document.createElement(name);
  created.append(...[content].flat());
  if (className) created.className = className;
  return created;
}

export class Log {
  #element; #maxEntries; #repeated; #isAtEnd = true;

  constructor(element, maxEntries) {
    this.#element = element;
    this.#maxEntries = maxEntries;
    // A phone's keyboard, or another window, changes the height: stay at the end. In a frame, scroll events come before the
    // observer (https://html.spec.whatwg.org/#update-the-rendering): with another height, it was not the reader who scrolled.
    let height = element.clientHeight;
    element.addEventListener("scroll", () => {
      const { scrollHeight, scrollTop, clientHeight } = element;
      if (clientHeight === height) this.#isAtEnd = scrollHeight - scrollTop - clientHeight < 30;
    });
    new ResizeObserver(() => {
      height = element.clientHeight;
      if (this.#isAtEnd) this.#scrollToEnd();
    }).observe(element);
  }

  add(entry) {
    this.#repeated = undefined;
    this.#keepAtEnd(() => {
      this.#element.append(entry);
      if (this.#element.children.length > this.#maxEntries) this.#element.firstChild.remove();
    });
  }

  /** Add an entry; if the last one is of an event with the same text, replace it, and show how often it happened. */
  addEvent(entry, text) {
    const last = this.#repeated;
    if (last?.text !== text) {
      this.add(entry);
      this.#repeated = { text, entry, count: 1 };
      return;
    }
    last.count += 1;
    entry.append(" ", create("span", `×${last.count}`, "count"));
    // Screen readers have announced it already.
    entry.setAttribute("aria-live", "off");
    this.#keepAtEnd(() => last.entry.replaceWith(entry));
    last.entry = entry;
  }

  clear() {
    this.#repeated = undefined;
    this.#element.replaceChildren();
  }

  #keepAtEnd(change) {
    change();
    if (this.#isAtEnd) this.#scrollToEnd();
  }

  #scrollToEnd() { this.#element.scrollTop = this.#element.scrollHeight; }
}
