import { h } from "./dom.js";

/** Distance from the end in pixels up to which new messages scroll the log. */
const NEAR_END = 80;

/** The place of the guest in the log: its end, which is followed, or the earlier messages. */
class Scroller {
  /** The button that leads to the end. */
  jump;
  #log;
  #list;
  #isAtEnd = true;
  // width and height of the log and of its content
  #size = "";

  /** `onStart()` is called when the guest reaches the start of the log. */
  constructor(log, list, label, onStart) {
    this.#log = log;
    this.#list = list;
    this.jump = h("button", { type: "button", class: "jump", hidden: true, onclick: () => this.toEnd() }, label);
    log.addEventListener("scroll", () => {
      // a new size scrolls it too, as when a hidden chat is shown or a picture is loaded; the observer follows
      const size = this.#currentSize();
      if (this.#size !== size) {
        this.#size = size;
        return;
      }
      this.#isAtEnd = log.scrollHeight - log.scrollTop - log.clientHeight < NEAR_END;
      if (this.#isAtEnd) this.jump.hidden = true;
      if (log.scrollTop < NEAR_END && log.scrollHeight > log.clientHeight) onStart();
    });
    // the end stays in view when a banner, a picture or the keyboard takes room
    const resized = new ResizeObserver(() => {
      this.#size = this.#currentSize();
      if (this.#isAtEnd) this.toEnd();
    });
    resized.observe(log);
    resized.observe(list);
  }

  toEnd() {
    this.#log.scrollTop = this.#log.scrollHeight;
    this.#isAtEnd = true;
    this.jump.hidden = true;
  }

  /** Applies a change at the end of the log, and follows it if the guest reads the end. */
  keep(change) {
    const before = this.#list.childElementCount;
    change();
    if (this.#isAtEnd) this.toEnd();
    else if (this.#list.childElementCount > before) this.jump.hidden = false;
  }

  #currentSize() {
    const { clientWidth, clientHeight, scrollHeight } = this.#log;
    return `${clientWidth} ${clientHeight} ${scrollHeight}`;
  }
}

export { Scroller };
