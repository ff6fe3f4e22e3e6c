// The page: choices on the left, the answer of POST /recommend on the right, live.

import * as api from "./api.js";
import { debounced, element, iconButton, itemName, itemText, setText } from "./dom.js";
import { Grid } from "./grid.js";
import { Search } from "./search.js";
import { EMPTY, Store, moved, toHash, toRequest } from "./state.js";
import { historyRows, interestsOf, legendEntries, menuButtons, resultRows, spoken } from "./views.js";

const MENU = 24;
const FEW = 8;
const WAIT = 100;
const TRIES = 5;

const at = (id) => document.getElementById(id);
const items = new Map(); // by id: what the service has told of each
const seen = { answer: null, bundle: null, menu: [], unknown: new Set(), allMenu: false, keepsSeen: false };
const itemOf = (id) => items.get(id) ?? { item_id: id, title: null };
const remember = (list) => list.forEach((item) => items.set(item.item_id, { item_id: item.item_id, title: item.title }));
const say = (text) => setText(at("live"), text);

const store = new Store(() => {
  draw();
  refreshSoon();
});

const change = (changes, text, gesture) => {
  store.change(changes, gesture);
  if (text) say(text);
};

// History

function add(item) {
  remember([item]);
  change({ history: [...store.state.history, item.item_id] }, `Added ${itemText(item)}.`);
}

function remove(index) {
  const { history } = store.state;
  change({ history: history.toSpliced(index, 1) }, `Removed ${itemText(itemOf(history[index]))}.`);
}

function move(from, to) {
  const { history } = store.state;
  if (to < 0 || to >= history.length) return;
  change({ history: moved(history, from, to) }, `${itemText(itemOf(history[from]))} is now number ${to + 1} of ${history.length}.`);
}

function historyKey(event, row) {
  const step = { ArrowUp: -1, ArrowDown: 1 }[event.key];
  if (event.altKey && step) move(row, row + step);
  else if (event.key === "Delete") remove(row);
  else return false;
  return true;
}

const historyGrid = new Grid(at("history"), historyKey);

function drawHistory() {
  const { history } = store.state;
  const emptied = historyGrid.show(historyRows(history.map(itemOf), seen.unknown, { move, remove }));
  if (emptied) at("query").focus();
  at("history-hint").hidden = history.length < 2;
  at("history-empty").hidden = history.length > 0;
  const lost = [...seen.unknown];
  at("unknown").hidden = lost.length === 0;
  const some = lost.slice(0, 5).join(", ") + (lost.length > 5 ? ", …" : "");
  setText(at("unknown").firstElementChild, lost.length ? `Not in this bundle, so skipped: ${some}.` : "");
}

/** Asks for the titles of ids that came by a link or by pasting. */
async function learnTitles() {
  const ids = [...new Set([...store.state.history, ...store.state.deny])].filter((id) => !items.has(id)).slice(0, 100);
  if (!ids.length) return;
  ids.forEach((id) => items.set(id, { item_id: id, title: null }));
  remember(await api.byIds(ids).catch(() => []));
  draw();
}

async function example() {
  const [first, second] = seen.menu.toSorted(() => Math.random() - 0.5).filter((entry) => entry.items.length);
  const shown = second ? [...first.items.slice(0, 2), second.items[0]] : await api.search("", 3).catch(() => []);
  remember(shown);
  change({ history: [...new Set(shown.map((item) => item.item_id))] }, `Added ${shown.length} items as an example.`);
}

// Interests

const toggle = (name) => {
  const { interests } = store.state;
  const picked = interests.includes(name);
  change({ interests: picked ? interests.filter((other) => other !== name) : [...interests, name] });
};

function drawMenu() {
  const { interests } = store.state;
  const offered = new Set(seen.menu.map((entry) => entry.name));
  const others = interests.filter((name) => !offered.has(name)).map((name) => ({ name, items: [] }));
  const shown = seen.menu.filter((entry, index) => seen.allMenu || index < FEW || interests.includes(entry.name));
  const before = [...at("menu").children].indexOf(document.activeElement);
  at("menu").replaceChildren(...menuButtons([...others, ...shown], interests, toggle));
  const buttons = at("menu").children;
  const now = Math.min(Math.max(before, 0), buttons.length - 1);
  if (buttons.length) buttons[now].tabIndex = 0;
  if (before >= 0) buttons[now]?.focus({ preventScroll: true });
  at("menu").hidden = buttons.length === 0;
  at("more").hidden = seen.menu.length <= FEW;
  at("more").setAttribute("aria-expanded", String(seen.allMenu));
  setText(at("more"), seen.allMenu ? "Show fewer" : `Show all ${seen.menu.length}`);
}

function menuKey(event) {
  const buttons = [...at("menu").children];
  const now = buttons.indexOf(document.activeElement);
  const to = { ArrowRight: now + 1, ArrowDown: now + 1, ArrowLeft: now - 1, ArrowUp: now - 1, Home: 0, End: buttons.length - 1 };
  if (now < 0 || !(event.key in to)) return;
  event.preventDefault();
  const next = (to[event.key] + buttons.length) % buttons.length;
  buttons.forEach((button, index) => (button.tabIndex = index === next ? 0 : -1));
  buttons[next].focus();
}

// The answer

const deny = (item) => change({ deny: [...new Set([...store.state.deny, item.item_id])] }, `${itemText(item)} is not shown any more.`);
const resultGrid = new Grid(at("results"));

function drawAnswer() {
  const { state } = store;
  const found = seen.answer?.items ?? [];
  const interests = interestsOf(found);
  const emptied = resultGrid.show(resultRows(found, interests, state.interests, itemOf, { add, deny }));
  if (emptied) at("results-heading").focus();
  at("legend").replaceChildren(...legendEntries(interests));
  at("legend").hidden = interests.size < 2;
  at("results-empty").hidden = !seen.answer || found.length > 0;
  setText(at("results-empty"), "Nothing is left to recommend. Show an item again, or remove one from the history.");
  const personal = [...state.history, ...state.interests].some((name) => !seen.unknown.has(name));
  setText(at("summary"), personal ? "" : "What everybody gets, until you add an item or pick an interest.");
}

function drawDenied() {
  const { deny: denied } = store.state;
  at("denied").hidden = denied.length === 0;
  const back = (id) => () => change({ deny: denied.filter((other) => other !== id) }, `${itemText(itemOf(id))} may be shown again.`);
  at("denied").lastElementChild.replaceChildren(
    ...denied.map((id) => element("li", {}, itemName(itemOf(id)), iconButton("remove", `Show ${itemText(itemOf(id))} again`, back(id)))),
  );
}

function draw() {
  const { state } = store;
  drawHistory();
  drawMenu();
  drawDenied();
  at("undo").disabled = !store.canUndo;
  at("restart").disabled = toHash(state) === "";
  document.querySelector(`[name=count][value="${state.count}"]`).checked = true;
  at("diversity").value = state.diversity;
  setText(at("diversity-value"), String(state.diversity));
  at("exclude-seen").checked = state.excludeSeen ?? !seen.keepsSeen;
  const body = JSON.stringify(toRequest(state)).replaceAll("'", "'\\''");
  const url = new URL("recommend", location.href);
  setText(at("request").querySelector("code"), `curl ${url.origin}${url.pathname} \\\n  -H 'Content-Type: application/json' \\\n  -d '${body}'`);
}

// Requests

let abort = null;
let tries = 0;
let retryTimer = 0;

async function refresh() {
  clearTimeout(retryTimer);
  abort?.abort();
  abort = new AbortController();
  const { signal } = abort;
  at("results").setAttribute("aria-busy", "true");
  try {
    const { answer, milliseconds } = await api.recommend(toRequest(store.state), signal);
    succeeded(answer, milliseconds);
  } catch (error) {
    if (signal.aborted) return;
    failed(error);
  }
  at("results").removeAttribute("aria-busy");
}

const refreshSoon = debounced(() => {
  tries = 0;
  refresh();
}, WAIT);

function succeeded(answer, milliseconds) {
  tries = 0;
  at("problem").hidden = true;
  seen.answer = answer;
  seen.unknown = new Set(answer.unknown);
  remember(answer.items);
  drawHistory();
  drawAnswer();
  setText(at("timing"), `Answered in ${milliseconds < 10 ? milliseconds.toFixed(1) : Math.round(milliseconds)} ms`);
  say(spoken(answer.items, interestsOf(answer.items), itemOf));
  if (answer.bundle !== seen.bundle) learnBundle(answer.bundle);
  learnTitles();
}

function failed(error) {
  if (!(error instanceof api.Problem)) throw error;
  tries += 1;
  const again = error.retry !== null && tries < TRIES;
  const text = again ? `${error.message}. Next try in ${error.retry} s.` : `${error.message}.`;
  at("problem").hidden = false;
  at("problem").lastElementChild.hidden = error.retry === null;
  setText(at("problem").firstElementChild, text);
  say(text);
  if (again) retryTimer = setTimeout(refresh, error.retry * 1000);
}

/** Another bundle answers: its name, its menu. */
async function learnBundle(bundle) {
  seen.bundle = bundle;
  setText(at("bundle"), `Bundle ${bundle}`);
  const [menu, about] = await Promise.all([api.menu(MENU).catch(() => null), api.ready().catch(() => null)]);
  seen.menu = menu?.interests ?? [];
  seen.menu.forEach((entry) => remember(entry.items));
  const none = "This bundle has no named interests. Export one with labels to pick from them here.";
  setText(at("interests-note"), seen.menu.length ? at("interests-note").dataset.text : none);
  setText(at("bundle"), ["Bundle", about?.name, about?.model, bundle].filter(Boolean).join(" · ").replace(" · ", " "));
  draw();
}

// Controls

new Search({
  input: at("query"),
  list: at("found"),
  note: at("search-note"),
  find: api.search,
  choose: add,
  had: (item) => store.state.history.includes(item.item_id),
});

at("menu").addEventListener("keydown", menuKey);
at("more").addEventListener("click", () => {
  seen.allMenu = !seen.allMenu;
  drawMenu();
});
at("example").addEventListener("click", example);
at("undo").addEventListener("click", () => store.undo());
at("restart").addEventListener("click", () => change(EMPTY, "Everything is as at the start."));
at("problem").lastElementChild.addEventListener("click", refresh);
at("unknown").lastElementChild.addEventListener("click", () => {
  const known = (name) => !seen.unknown.has(name);
  change({ history: store.state.history.filter(known), interests: store.state.interests.filter(known) }, "Removed.");
});
at("controls").addEventListener("input", ({ target }) => {
  if (target.name === "count") change({ count: Number(target.value) });
  if (target.name === "diversity") change({ diversity: Number(target.value) }, null, "diversity");
  if (target.id === "exclude-seen") change({ excludeSeen: target.checked });
});
at("paste").querySelector("form").addEventListener("submit", (event) => {
  event.preventDefault();
  const ids = at("ids").value.split(/[\s,;]+/).filter(Boolean);
  at("ids").value = "";
  if (ids.length) change({ history: [...store.state.history, ...ids] }, `Added ${ids.length} ids.`);
});
at("share").addEventListener("click", async () => {
  const copied = await navigator.clipboard?.writeText(location.href).then(() => true, () => false);
  const text = copied ? "Copied" : "The address bar has it";
  setText(at("share"), text);
  say(text);
  setTimeout(() => setText(at("share"), "Copy link"), 2000);
});
document.querySelector("[data-skip]").addEventListener("click", (event) => {
  event.preventDefault(); // the hash is taken
  at("results-heading").focus();
});
addEventListener("keydown", (event) => {
  const typing = event.target.matches?.("input[type=text], textarea");
  if (event.key === "z" && (event.ctrlKey || event.metaKey) && !event.shiftKey && !typing) {
    event.preventDefault();
    store.undo();
  }
});

at("interests-note").dataset.text = at("interests-note").textContent;
draw();
refresh();
