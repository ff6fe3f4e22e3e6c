// What a visitor has chosen. It lives in the URL's hash, so that a link holds all of it, and every change can be undone.

const COUNTS = [5, 10, 20, 50];

/** `excludeSeen` null: as the bundle was evaluated. */
export const EMPTY = Object.freeze({ history: [], interests: [], deny: [], count: 10, diversity: 0, excludeSeen: null });

/** The hash of a state, without "#". Defaults are left out. */
export function toHash(state) {
  const pairs = new URLSearchParams();
  for (const id of state.history) pairs.append("history", id);
  for (const name of state.interests) pairs.append("interest", name);
  for (const id of state.deny) pairs.append("deny", id);
  if (state.count !== EMPTY.count) pairs.set("count", state.count);
  if (state.diversity !== EMPTY.diversity) pairs.set("diversity", state.diversity);
  if (state.excludeSeen !== null) pairs.set("exclude_seen", state.excludeSeen);
  return pairs.toString();
}

/** The state of a hash. Whatever is not understood is as in EMPTY. */
export function fromHash(hash) {
  const pairs = new URLSearchParams(hash.replace(/^#/, ""));
  const count = Number(pairs.get("count"));
  const diversity = Number(pairs.get("diversity"));
  return {
    history: pairs.getAll("history"),
    interests: [...new Set(pairs.getAll("interest"))],
    deny: [...new Set(pairs.getAll("deny"))],
    count: COUNTS.includes(count) ? count : EMPTY.count,
    diversity: diversity >= 0 && diversity <= 1 ? Math.round(diversity * 10) / 10 : EMPTY.diversity,
    excludeSeen: { true: true, false: false }[pairs.get("exclude_seen")] ?? null,
  };
}

/** The body of POST /recommend. */
export function toRequest(state) {
  const request = { history: state.history, interests: state.interests, count: state.count, diversity: state.diversity };
  if (state.deny.length) request.deny = state.deny;
  if (state.excludeSeen !== null) request.exclude_seen = state.excludeSeen;
  return request;
}

/** `list` with the element at `from` moved to `to`. */
export function moved(list, from, to) {
  const rest = list.toSpliced(from, 1);
  return rest.toSpliced(to, 0, list[from]);
}

/** The present state, and those before it. `changed` is called after every change. */
export class Store {
  #past = [];

  constructor(changed) {
    this.changed = changed;
    this.state = fromHash(location.hash);
    addEventListener("hashchange", () => this.change(fromHash(location.hash)));
  }

  get canUndo() {
    return this.#past.length > 0;
  }

  /** Applies a change. Several changes of one `gesture`, such as the drag of a slider, are undone together. */
  change(changes, gesture = null) {
    const next = { ...this.state, ...changes };
    if (toHash(next) === toHash(this.state)) return;
    const last = this.#past.at(-1);
    if (!gesture || last?.gesture !== gesture) this.#past.push({ state: this.state, gesture });
    this.#set(next);
  }

  undo() {
    const last = this.#past.pop();
    if (last) this.#set(last.state);
  }

  #set(state) {
    this.state = state;
    history.replaceState(null, "", `#${toHash(state)}`);
    this.changed(state);
  }
}
