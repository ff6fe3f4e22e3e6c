// The page: what a visitor chooses, and the answer of POST /recommend to it, live.

import * as api from "./api.js";
import { debounced, element, iconButton, itemName, itemText } from "./dom.js";
import { Grid } from "./grid.js";
import { Search } from "./search.js";
import { EMPTY, Store, toHash, toRequest } from "./state.js";
import { historyRows, interestsOf, legendEntries, menuRows, resultRows, spoken } from "./views.js";

const MENU = 24;
const FEW = 7;
const TRIES = 5;

const at = (id) => document.getElementById(id);
const on = (id, kind, run) => at(id).addEventListener(kind, run);
const text = (node, value) => (node.textContent = value);
const say = (sentence) => text(at("live"), sentence);

/** What the service has told: titles by id, the last answer, the bundle and its menu. */
const known = { titles: new Map(), items: null, unknown: new Set(), bundle: {}, menu: [] };
const request = () => toRequest(store.state, known.bundle.uses_timestamps);
const itemOf = (id) => ({ item_id: id, title: known.titles.get(id) ?? null });
const remember = (items) => items.forEach((item) => known.titles.set(item.item_id, item.title));

const store = new Store(() => {
  draw();
  refreshSoon();
});

let done = ""; // said together with the answer that follows
const change = (changes, sentence = "", gesture = null) => {
  done = sentence;
  store.change(changes, gesture);
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
  const moved = history.toSpliced(from, 1).toSpliced(to, 0, history[from]);
  change({ history: moved }, `${itemText(itemOf(history[from]))} is now number ${to + 1} of ${history.length}.`);
}

const historyGrid = new Grid(at("history"), ({ key, altKey }, row) => {
  const step = { ArrowUp: -1, ArrowDown: 1 }[key];
  if (altKey && step) move(row, row + step);
  else if (key === "Delete") remove(row);
  else return false;
  return true;
});

function drawHistory() {
  const { history } = store.state;
  const emptied = historyGrid.show(historyRows(history.map(itemOf), known.unknown, { move, remove }));
  if (emptied) at("query").focus();
  at("history-hint").hidden = history.length < 2;
  at("history-empty").hidden = history.length > 0;
  const names = [...known.unknown];
  at("unknown").hidden = !names.length;
  text(at("unknown").firstChild, `Not in this bundle, so skipped: ${names.slice(0, 5).join(", ")}${names.length > 5 ? ", …" : ""}.`);
}

/** Asks for the titles of ids that came by a link or were pasted. */
async function learnTitles() {
  const { history, deny } = store.state;
  const ids = [...history, ...deny].filter((id) => !known.titles.has(id)).slice(0, 50);
  if (!ids.length) return;
  ids.forEach((id) => known.titles.set(id, null));
  remember(await api.items(ids.map((id) => ["item_id", id])).catch(() => []));
  draw();
  drawAnswer();
  learnTitles();
}

async function example() {
  const some = known.menu.flatMap(({ items }) => items.slice(0, 1)).toSorted(() => Math.random() - 0.5);
  const items = some.length ? some.slice(0, 3) : await api.items({ count: 3 }).catch(() => []);
  remember(items);
  change({ history: items.map((item) => item.item_id) }, "Added an example.");
}

// Interests

function toggle(name) {
  const others = store.state.interests.filter((other) => other !== name);
  change({ interests: others.length < store.state.interests.length ? others : [...others, name] });
}

const menuGrid = new Grid(at("menu"));

function drawMenu() {
  const { interests } = store.state;
  const all = at("more").ariaExpanded === "true";
  const offered = known.menu.map(({ name }) => name);
  const others = interests.filter((name) => !offered.includes(name)).map((name) => ({ name, items: [] }));
  const shown = known.menu.filter(({ name }, index) => all || index < FEW || interests.includes(name));
  menuGrid.show(menuRows([...others, ...shown], interests, toggle));
  at("more").hidden = known.menu.length <= FEW;
  text(at("more"), all ? "Show fewer" : `Show all ${known.menu.length}`);
}

// Recommendations

const deny = ({ item_id: id, title }) => change({ deny: [...store.state.deny, id] }, `${title ?? id} is not shown any more.`);
const resultGrid = new Grid(at("results"));

function drawAnswer() {
  const { items } = known;
  if (!items) return;
  const { state } = store;
  const emptied = resultGrid.show(resultRows(items, state.interests, itemOf, { add, deny }));
  if (emptied) at("results-heading").focus();
  const interests = interestsOf(items);
  at("legend").replaceChildren(...legendEntries(interests));
  at("legend").hidden = interests.size < 2;
  at("results-empty").hidden = items.length > 0;
  const personal = [...state.history, ...state.interests].some((name) => !known.unknown.has(name));
  text(at("summary"), personal ? "" : "What everybody gets, until you add an item or pick an interest.");
}

function drawDenied() {
  const { deny: denied } = store.state;
  at("denied").hidden = !denied.length;
  const entry = (id) => {
    const allow = () => change({ deny: denied.filter((other) => other !== id) }, `${itemText(itemOf(id))} may be shown again.`);
    return element("li", {}, itemName(itemOf(id)), iconButton("remove", `Show ${itemText(itemOf(id))} again`, allow));
  };
  at("denied").lastChild.replaceChildren(...denied.map(entry));
}

function draw() {
  const { state } = store;
  drawHistory();
  drawMenu();
  drawDenied();
  at("undo").disabled = !store.canUndo;
  at("restart").disabled = !toHash(state);
  at("count").value = state.count;
  at("diversity").value = state.diversity;
  text(at("diversity").nextSibling, state.diversity);
  at("exclude-seen").checked = state.excludeSeen ?? !known.bundle.keep_seen;
  const body = JSON.stringify(request()).replaceAll("'", "'\\''");
  text(at("curl"), `curl ${new URL("recommend", location)} \\\n  -H 'Content-Type: application/json' \\\n  -d '${body}'`);
}

// Requests

let abort = new AbortController();
let tries = 0;
let timer = 0;

async function refresh() {
  clearTimeout(timer);
  abort.abort();
  abort = new AbortController();
  const { signal } = abort;
  const start = performance.now();
  at("results").ariaBusy = "true";
  try {
    succeeded(await api.recommend(request(), signal), performance.now() - start);
  } catch (error) {
    if (signal.aborted) return;
    failed(error);
  }
  at("results").ariaBusy = null;
}

const refreshSoon = debounced(() => {
  tries = 0;
  refresh();
}, 100);

function succeeded({ items, unknown, bundle }, milliseconds) {
  tries = 0;
  at("problem").hidden = true;
  remember(items);
  Object.assign(known, { items, unknown: new Set(unknown) });
  drawHistory();
  drawAnswer();
  text(at("timing"), `Answered in ${milliseconds.toFixed(milliseconds < 10 ? 1 : 0)} ms`);
  say(`${done} ${spoken(items, itemOf)}`);
  done = "";
  if (bundle !== known.bundle.bundle) learnBundle();
  else learnTitles();
}

function failed(error) {
  if (!(error instanceof api.Problem)) throw error;
  tries += 1;
  const again = error.retry && tries < TRIES;
  const sentence = `${error.message}.${again ? ` Next try in ${error.retry} s.` : ""}`;
  const [line, button] = at("problem").children;
  text(line, sentence);
  say(sentence);
  button.hidden = !error.retry;
  at("problem").hidden = false;
  if (again) timer = setTimeout(refresh, error.retry * 1000);
}

/** What is served, and its menu: at the start, and if another bundle answers. */
async function learnBundle() {
  known.titles.clear();
  const [menu, bundle] = await Promise.all([api.menu(MENU), api.bundle()].map((answer) => answer.catch(() => ({}))));
  Object.assign(known, { bundle, menu: menu.interests ?? [] });
  known.menu.forEach(({ items }) => remember(items));
  if (menu.interests?.length === 0) text(at("interests-note"), "This bundle has no named interests.");
  const { num_items: count, backbone } = bundle;
  if (backbone) text(at("bundle"), `Bundle ${bundle.bundle} · ${backbone} · ${count.toLocaleString("en")} items`);
  draw();
  learnTitles();
}

// Controls

new Search({
  input: at("query"),
  list: at("found"),
  note: at("search-note"),
  find: api.items,
  choose: add,
  had: (item) => store.state.history.includes(item.item_id),
});
on("more", "click", ({ target }) => {
  target.ariaExpanded = String(target.ariaExpanded !== "true");
  drawMenu();
});
on("example", "click", example);
on("undo", "click", () => store.undo());
on("restart", "click", () => change(EMPTY, "Everything is as at the start."));
at("problem").lastChild.addEventListener("click", refresh);
at("unknown").lastChild.addEventListener("click", () => {
  const isKnown = (name) => !known.unknown.has(name);
  const { history, interests, deny: denied } = store.state;
  change({ history: history.filter(isKnown), interests: interests.filter(isKnown), deny: denied.filter(isKnown) }, "Removed.");
});
on("controls", "input", ({ target }) => {
  if (target.id === "count") change({ count: Number(target.value) });
  if (target.id === "diversity") change({ diversity: Number(target.value) }, "", "diversity");
  if (target.id === "exclude-seen") change({ excludeSeen: target.checked });
});
at("paste").lastElementChild.addEventListener("submit", (event) => {
  event.preventDefault();
  const ids = at("ids").value.split(/[\s,;]+/).filter(Boolean);
  at("ids").value = "";
  change({ history: [...store.state.history, ...ids] }, `Added ${ids.length} ids.`);
});
on("skip", "click", (event) => {
  event.preventDefault(); // the hash is taken
  at("results-heading").focus();
});
addEventListener("keydown", (event) => {
  if (event.key !== "z" || !(event.ctrlKey || event.metaKey) || event.target.matches("[type=text], textarea")) return;
  event.preventDefault();
  store.undo();
});
new IntersectionObserver(([{ isIntersecting }]) => at("skip").classList.toggle("near", isIntersecting)).observe(at("answer"));

draw();
learnBundle().finally(refresh);
