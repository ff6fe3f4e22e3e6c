// A layout grid (ARIA Authoring Practices): one tab stop for all rows, arrows move between the rows and the controls of each.
// With a single row it is a toolbar.

const STILL = matchMedia("(prefers-reduced-motion: reduce)");

export class Grid {
  #row = 0;
  #column = 0;
  #key = null;

  /** `onkey(event, row)` sees a key first, and returns whether it used it. */
  constructor(root, onkey = () => false) {
    this.root = root;
    root.addEventListener("focusin", (event) => this.#arrive(event.target));
    root.addEventListener("keydown", (event) => {
      if (onkey(event, this.#row) || this.#move(event)) event.preventDefault();
    });
  }

  /**
   * Shows rows, each with a `data-key`, in place of those before. The focus stays at its row or, if that is gone, at its
   * place; returns whether there is none for it any more.
   */
  show(rows) {
    const hadFocus = this.root.contains(document.activeElement);
    const tops = new Map([...this.root.children].map((row) => [row.dataset.key, row.getBoundingClientRect().top]));
    this.root.replaceChildren(...rows);
    this.root.hidden = !rows.length;
    const kept = rows.findIndex((row) => row.dataset.key === this.#key);
    this.#row = kept >= 0 ? kept : Math.max(0, Math.min(this.#row, rows.length - 1));
    this.#mark();
    if (hadFocus) this.#cell()?.focus({ preventScroll: true });
    if (!STILL.matches && tops.size) for (const row of rows) glide(row, tops.get(row.dataset.key));
    return hadFocus && !rows.length;
  }

  #cells(row = this.#row) {
    return [...(this.root.children[row]?.querySelectorAll("[data-cell]") ?? [])];
  }

  #cell() {
    return this.#cells()[this.#column];
  }

  /** Makes the present cell the only tab stop. */
  #mark() {
    for (const cell of this.root.querySelectorAll("[data-cell]")) cell.tabIndex = -1;
    const cell = this.#cell();
    if (cell) cell.tabIndex = 0;
    this.#key = this.root.children[this.#row]?.dataset.key;
  }

  #arrive(target) {
    this.#row = [...this.root.children].findIndex((row) => row.contains(target));
    this.#column = this.#cells().indexOf(target);
    this.#mark();
  }

  #move({ key, altKey, ctrlKey }) {
    const last = this.root.children.length - 1;
    const end = this.#cells().length - 1;
    const to = {
      ArrowDown: [this.#row + 1, this.#column],
      ArrowUp: [this.#row - 1, this.#column],
      ArrowRight: [this.#row, this.#column + 1],
      ArrowLeft: [this.#row, this.#column - 1],
      Home: [ctrlKey ? 0 : this.#row, 0],
      End: [ctrlKey ? last : this.#row, end],
    }[key];
    if (!to || altKey) return false;
    this.#cells(to[0])[to[1]]?.focus();
    return true;
  }
}

/** Lets a row that was at `top` move to where it is now, and a new one appear. */
function glide(row, top) {
  const distance = top - row.getBoundingClientRect().top;
  const from = top === undefined ? { opacity: 0 } : { transform: `translateY(${distance}px)` };
  if (distance !== 0) row.animate([from, {}], { duration: 220, easing: "cubic-bezier(0.2, 0, 0, 1)" });
}
