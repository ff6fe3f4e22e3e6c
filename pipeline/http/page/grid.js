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

  /** Shows rows, each with a `data-key`. The focus stays at its row or its place; returns whether there is none any more. */
  show(rows) {
    const hadFocus = this.root.contains(document.activeElement);
    const tops = new Map([...this.root.children].map((row) => [row.dataset.key, row.getBoundingClientRect().top]));
    this.root.replaceChildren(...rows);
    this.root.hidden = !rows.length;
    const kept = rows.findIndex((row) => row.dataset.key === this.#key);
    this.#row = kept >= 0 ? kept : Math.max(0, Math.min(this.#row, rows.length - 1));
    this.#mark();
    if (hadFocus) this.#cells()[this.#column]?.focus({ preventScroll: true });
    if (!STILL.matches && tops.size) for (const row of rows) glide(row, tops.get(row.dataset.key));
    return hadFocus && !rows.length;
  }

  #cells(row = this.#row) {
    return [...(this.root.children[row]?.querySelectorAll("[data-cell]") ?? [])];
  }

  /** Makes the present cell the only tab stop. */
  #mark() {
    const stop = this.#cells()[this.#column] ?? this.#cells()[0];
    for (const cell of this.root.querySelectorAll("[data-cell]")) cell.tabIndex = cell === stop ? 0 : -1;
    this.#key = this.root.children[this.#row]?.dataset.key;
  }

  #arrive(target) {
    this.#row = [...this.root.children].findIndex((row) => row.contains(target));
    this.#column = this.#cells().indexOf(target);
    this.#mark();
  }

  #move({ key, altKey }) {
    const to = {
      ArrowDown: [this.#row + 1, this.#column],
      ArrowUp: [this.#row - 1, this.#column],
      ArrowRight: [this.#row, this.#column + 1],
      ArrowLeft: [this.#row, this.#column - 1],
      Home: [this.#row, 0],
      End: [this.#row, this.#cells().length - 1],
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
  if (distance !== 0) row.animate([from, {}], { duration: 220, easing: "ease-out" });
}
