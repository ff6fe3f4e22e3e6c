// A layout grid (ARIA Authoring Practices): one tab stop for all rows. Arrows move between rows and between the controls of
// a row. Rows that stay glide to their new places, unless the visitor prefers less motion.

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

  get rows() {
    return [...this.root.children];
  }

  /** Shows these rows, each with a `data-key`, in place of those before. The focus stays with its row or, if that is gone, its place. */
  show(rows) {
    const hadFocus = this.root.contains(document.activeElement);
    const before = new Map(this.rows.map((row) => [row.dataset.key, row.getBoundingClientRect().top]));
    this.root.replaceChildren(...rows);
    this.root.hidden = rows.length === 0;
    const kept = rows.findIndex((row) => row.dataset.key === this.#key);
    this.#row = kept >= 0 ? kept : Math.max(0, Math.min(this.#row, rows.length - 1));
    this.#mark();
    if (hadFocus) this.#cell()?.focus({ preventScroll: true });
    if (!STILL.matches) for (const row of rows) glide(row, before.get(row.dataset.key), before.size > 0);
    return hadFocus && rows.length === 0;
  }

  #cells(row = this.#row) {
    return [...(this.root.children[row]?.querySelectorAll("[data-cell]") ?? [])];
  }

  #cell() {
    const cells = this.#cells();
    return cells[Math.min(this.#column, cells.length - 1)];
  }

  /** Makes the present cell the only tab stop. */
  #mark() {
    for (const cell of this.root.querySelectorAll("[data-cell]")) cell.tabIndex = -1;
    const cell = this.#cell();
    if (cell) cell.tabIndex = 0;
    this.#key = this.root.children[this.#row]?.dataset.key ?? null;
  }

  #arrive(target) {
    const row = this.rows.findIndex((candidate) => candidate.contains(target));
    const column = this.#cells(row).indexOf(target.closest("[data-cell]"));
    if (row < 0 || column < 0) return;
    this.#row = row;
    this.#column = column;
    this.#mark();
  }

  #move(event) {
    if (event.altKey || event.metaKey || event.shiftKey) return false;
    const last = this.rows.length - 1;
    const end = this.#cells().length - 1;
    const [row, column] = {
      ArrowDown: [this.#row + 1, this.#column],
      ArrowUp: [this.#row - 1, this.#column],
      ArrowRight: [this.#row, this.#column + 1],
      ArrowLeft: [this.#row, this.#column - 1],
      Home: [event.ctrlKey ? 0 : this.#row, 0],
      End: [event.ctrlKey ? last : this.#row, end],
    }[event.key] ?? [-1, -1];
    if (row < 0 || row > last || column < 0 || column > end) return event.key.startsWith("Arrow");
    this.#cells(row)[column].focus();
    return true;
  }
}

function glide(row, before, hadRows) {
  const options = { duration: 220, easing: "cubic-bezier(0.2, 0, 0, 1)" };
  if (before === undefined) {
    if (hadRows) row.animate([{ opacity: 0 }, { opacity: 1 }], options);
    return;
  }
  const distance = before - row.getBoundingClientRect().top;
  if (distance) row.animate([{ transform: `translateY(${distance}px)` }, { transform: "none" }], options);
}
