// What a visitor has chosen. The URL's hash holds all of it, so that a link can be shared, and every change can be undone.

const COUNTS = [5, 10, 20, 50];

/** `excludeSeen` null: as the bundle was evaluated. */
export const EMPTY = { history: [], interests: [], deny: [], count: 10, diversity: 0, excludeSeen: null };

/** The hash of a state, without "#" and without what is as in EMPTY. */
export function toHash(state) {
  const pairs = new URLSearchParams();
  for (const id of state.history) pairs.append("history", id);
  for (const name of state.interests) pairs.append("interest", name);
  for (const id of state.deny) pairs.append("deny", id);
  if (state.count !== EMPTY.count) pairs.set("count", state.count);
  if (state.diversity) pairs.set("diversity", state.diversity);
  if (state.excludeSeen !== null) pairs.set("exclude_seen", state.excludeSeen);
  return pairs.toString();
}

/** The state of a hash. What cannot be used is as in EMPTY. */
export function fromHash(hash) {
  const pairs = new URLSearchParams(hash.slice(1));
  const count = Number(pairs.get("count"));
  const diversity = Number(pairs.get("diversity"));
  return {
    history: pairs.getAll("history"),
    interests: [...new Set(pairs.getAll("interest"))],
    deny: [...new Set(pairs.getAll("deny"))],
    count: COUNTS.includes(count) ? count : EMPTY.count,
    diversity: diversity > 0 && diversity <= 1 ? Math.round(diversity * 10) / 10 : 0,
    excludeSeen: { true: true, false: false }[pairs.get("exclude_seen")] ?? null,
  };
}

/** The body of POST /recommend. For a backbone that uses times, the events are a day apart, the last one now. */
export function toRequest({ excludeSeen, ...request }, usesTimes) {
  if (excludeSeen !== null) request.exclude_seen = excludeSeen;
  const now = Math.floor(Date.now() / 1000);
  if (usesTimes) request.times = request.history.map((_, index) => now - 86400 * (request.history.length - 1 - index));
  return Object.fromEntries(Object.entries(request).filter(([, value]) => value.length !== 0));
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

  /** Applies a change. Changes of one `gesture` in a row, such as the drag of a slider, are undone together. */
  change(changes, gesture = null) {
    const next = { ...this.state, ...changes };
    if (toHash(next) === toHash(this.state)) return;
    if (!gesture || this.#past.at(-1)?.gesture !== gesture) this.#past.push({ state: this.state, gesture });
    this.#set(next);
  }

  undo() {
    const last = this.#past.pop();
    if (last) this.#set(last.state);
  }

  #set(state) {
    this.state = state;
    history.replaceState(null, "", `#${toHash(state)}`);
    this.changed();
  }
}
