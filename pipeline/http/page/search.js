// Search by typing: an editable combobox with a list (ARIA Authoring Practices). The focus stays in the text.

import { debounced, element, itemName } from "./dom.js";

/** `find({ query, count }, signal)` gives items, `choose(item)` takes one, `had(item)` tells whether the history has it. */
export class Search {
  #items = [];
  #active = -1;
  #abort = new AbortController();

  constructor({ input, list, note, find, choose, had }) {
    Object.assign(this, { input, list, note, find, choose, had });
    const look = debounced(() => this.#look(), 120);
    input.addEventListener("input", look);
    input.addEventListener("focus", look);
    input.addEventListener("blur", () => this.#close());
    input.addEventListener("keydown", (event) => this.#key(event) && event.preventDefault());
    input.form.addEventListener("submit", (event) => event.preventDefault());
    list.addEventListener("pointerdown", (event) => event.preventDefault()); // so that the text keeps the focus
    list.addEventListener("click", ({ target }) => this.#take([...list.children].indexOf(target.closest("[role=option]"))));
  }

  async #look() {
    const query = this.input.value.trim();
    const signal = this.#renew();
    if (!query || document.activeElement !== this.input) return this.#show([], "");
    try {
      const items = await this.find({ query, count: 20 }, signal);
      this.#show(items, items.length ? "" : `No item matches “${query.slice(0, 60)}”. Try fewer letters.`);
    } catch (error) {
      if (!signal.aborted) this.#show([], `${error.message}.`);
    }
  }

  /** The signal of the next request; the one before is given up. */
  #renew() {
    this.#abort.abort();
    this.#abort = new AbortController();
    return this.#abort.signal;
  }

  #close() {
    this.#renew();
    this.#show([], "");
  }

  #show(items, note) {
    this.#items = items;
    this.list.replaceChildren(...items.map((item, index) => this.#option(item, index)));
    this.list.hidden = !items.length;
    this.input.setAttribute("aria-expanded", !!items.length);
    this.note.hidden = !note;
    this.note.textContent = note;
    this.#activate(-1);
  }

  #option(item, index) {
    const aside = this.had(item) ? "in the history" : item.title ? item.item_id : "";
    const attributes = { role: "option", id: `found-${index}`, "aria-selected": "false" };
    return element("li", attributes, itemName(item), element("span", { class: "id" }, aside));
  }

  #activate(index) {
    this.list.children[this.#active]?.setAttribute("aria-selected", "false");
    const option = this.list.children[index];
    option?.setAttribute("aria-selected", "true");
    option?.scrollIntoView({ block: "nearest" });
    this.input.setAttribute("aria-activedescendant", option?.id ?? "");
    this.#active = index;
  }

  #take(index) {
    const item = this.#items[index];
    if (!item) return;
    this.input.value = "";
    this.#close();
    this.choose(item);
  }

  /** Whether a key was used. */
  #key({ key }) {
    const count = this.#items.length;
    if (key === "Escape") {
      if (!count) this.input.value = "";
      this.#close();
    } else if (key === "ArrowDown") {
      if (count) this.#activate((this.#active + 1) % count);
      else this.#look();
    } else if (key === "ArrowUp" && count) {
      this.#activate(this.#active > 0 ? this.#active - 1 : count - 1);
    } else if (key === "Enter" && count) {
      this.#take(Math.max(this.#active, 0));
    } else {
      return false;
    }
    return true;
  }
}
