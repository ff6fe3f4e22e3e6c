// Search by typing: an editable combobox with a list (ARIA Authoring Practices). The focus stays in the text.

import { debounced, element, itemName } from "./dom.js";

const COUNT = 20;
const WAIT = 120;

/** `find(query, count, signal)` gives items, `choose(item)` takes one, `had(item)` tells whether the history has it. */
export class Search {
  #items = [];
  #active = -1;
  #abort = null;

  constructor({ input, list, note, find, choose, had }) {
    Object.assign(this, { input, list, note, find, choose, had });
    const look = debounced(() => this.#look(), WAIT);
    input.addEventListener("input", look);
    input.addEventListener("focus", () => input.value.trim() && look());
    input.addEventListener("blur", () => this.#close());
    input.addEventListener("keydown", (event) => this.#key(event));
    input.form.addEventListener("submit", (event) => event.preventDefault());
    list.addEventListener("pointerdown", (event) => event.preventDefault()); // so that the text keeps the focus
    list.addEventListener("click", (event) => {
      const option = event.target.closest("[role=option]");
      if (option) this.#take([...list.children].indexOf(option));
    });
  }

  async #look() {
    const query = this.input.value.trim();
    this.#abort?.abort();
    if (!query || document.activeElement !== this.input) return this.#close();
    this.#abort = new AbortController();
    try {
      this.#show(await this.find(query, COUNT, this.#abort.signal), query);
    } catch (error) {
      if (error.name !== "AbortError") this.#show([], query, `${error.message}.`);
    }
  }

  #show(items, query, problem = "") {
    this.#items = items;
    this.list.replaceChildren(
      ...items.map((item, index) =>
        element(
          "li",
          { role: "option", id: `found-${index}`, "aria-selected": "false" },
          itemName(item),
          element("span", { class: "id" }, this.had(item) ? "in the history" : item.title ? item.item_id : ""),
        ),
      ),
    );
    this.list.hidden = items.length === 0;
    this.list.scrollTop = 0;
    this.input.setAttribute("aria-expanded", String(items.length > 0));
    this.note.hidden = items.length > 0;
    this.note.textContent = problem || (items.length ? "" : `No item matches “${query.slice(0, 60)}”. Try fewer letters.`);
    this.#activate(-1);
  }

  #close() {
    this.#abort?.abort();
    this.#show([], "");
    this.note.hidden = true;
  }

  #activate(index) {
    this.list.children[this.#active]?.setAttribute("aria-selected", "false");
    this.#active = index;
    const option = this.list.children[index];
    if (option) {
      option.setAttribute("aria-selected", "true");
      option.scrollIntoView({ block: "nearest" });
      this.input.setAttribute("aria-activedescendant", option.id);
    } else {
      this.input.removeAttribute("aria-activedescendant");
    }
  }

  #take(index) {
    const item = this.#items[index];
    if (!item) return;
    this.input.value = "";
    this.#close();
    this.choose(item);
  }

  #key(event) {
    const open = !this.list.hidden;
    const count = this.#items.length;
    if (event.key === "Escape") {
      if (!open) this.input.value = "";
      this.#close();
    } else if (event.key === "ArrowDown" && !open) {
      this.#look();
    } else if (event.key === "ArrowDown") {
      this.#activate((this.#active + 1) % count);
    } else if (event.key === "ArrowUp" && open) {
      this.#activate(this.#active <= 0 ? count - 1 : this.#active - 1);
    } else if (event.key === "Enter" && open) {
      this.#take(Math.max(this.#active, 0));
    } else {
      return;
    }
    event.preventDefault();
  }
}
