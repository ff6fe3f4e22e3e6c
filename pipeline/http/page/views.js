// The parts of the page that are drawn from data. Every function returns new elements.

import { codeOf, element, iconButton, interestShape, itemName, itemText } from "./dom.js";

const CELL = { "data-cell": true };
const span = (className, ...children) => element("span", { class: className }, ...children);
const row = (key, ...cells) => element("div", { role: "row", "data-key": key }, ...cells);
const cell = (...children) => element("div", { role: "gridcell" }, ...children);
const nameCell = (...children) => element("div", { role: "gridcell", class: "name", ...CELL }, ...children);

/** Rows of the history. `unknown` has the ids that the bundle lacks. */
export function historyRows(items, unknown, { move, remove }) {
  const times = {};
  return items.map((item, index) => {
    const { item_id: id } = item;
    times[id] = (times[id] ?? 0) + 1; // an item may be there twice
    const mover = (icon, to) => {
      const attributes = { ...CELL, "aria-disabled": to < 0 || to === items.length ? "true" : null };
      return cell(iconButton(icon, `Move ${itemText(item)} ${icon}`, () => move(index, to), attributes));
    };
    return row(
      `${times[id]} ${id}`,
      nameCell(span("rank", index + 1), span("clamp", itemName(item)), unknown.has(id) ? span("note", "not in this bundle") : ""),
      mover("up", index - 1),
      mover("down", index + 1),
      cell(iconButton("remove", `Remove ${itemText(item)}`, () => remove(index), CELL)),
    );
  });
}

/** A toggle button for each interest of the menu, in one row. */
export const menuRows = (entries, picked, toggle) => {
  const buttons = entries.map(({ name, items }) => {
    const title = items.slice(0, 3).map(itemText).join("; ") || null;
    const attributes = { class: "chip", "aria-pressed": String(picked.includes(name)), title, ...CELL };
    return element("button", { ...attributes, onclick: () => toggle(name) }, element("bdi", {}, name));
  });
  return buttons.length ? [element("div", { "data-key": "menu" }, ...buttons)] : [];
};

const keyOf = ({ interest, label }) => `${interest} ${label}`;
const nameOf = ({ interest, label }) => label ?? (interest < 0 ? "Popular now" : `Interest ${interest + 1}`);

/** The interests behind an answer in the order of their first item, by key: name, number among them, count of items. */
export function interestsOf(items) {
  const interests = new Map();
  for (const { reason } of items) {
    const key = keyOf(reason);
    if (!interests.has(key)) interests.set(key, { name: nameOf(reason), number: interests.size, count: 0 });
    interests.get(key).count += 1;
  }
  return interests;
}

export const legendEntries = (interests) =>
  [...interests.values()].map(({ name, number, count }) =>
    element("li", {}, interestShape(number), element("bdi", {}, name), span("note", count)),
  );

/** Rows of the recommendations. `picked` has names of interests, `itemOf` knows the items of the history. */
export function resultRows(items, picked, itemOf, { add, deny }) {
  const interests = interestsOf(items);
  const scores = items.map(({ score }) => score);
  const [low, high] = [Math.min(...scores), Math.max(...scores)];
  return items.map((item, index) => {
    const { item_id: id, reason, score } = item;
    const { name, number } = interests.get(keyOf(reason));
    const isAlone = !reason.label && reason.because && interests.size === 1; // not "Interest 1" all the way down
    const parts = isAlone ? ["Since"] : [element("bdi", { class: "interest" }, name), reason.because ? " · since" : ""];
    if (reason.because) parts.push(" you had ", itemName(itemOf(reason.because)));
    else if (picked.includes(reason.label)) parts.push(" · you picked this");
    else if (picked.length) parts.push(" · among people who pick this");
    const level = span("");
    // Scores compare within one answer only: the bar tells where one lies between the least and the best.
    level.style.width = `${high > low ? 12 + (88 * (score - low)) / (high - low) : 100}%`;
    return row(
      id,
      nameCell(
        span("rank", index + 1),
        span("clamp", itemName(item), span("id", item.title ? ` ${id}` : "")),
        span("reason", interestShape(number), span("clamp", ...parts)),
        span("score", span(`bar ${codeOf(number)}`, level), span("hidden", " Score "), score.toFixed(2)),
      ),
      cell(iconButton("add", `Add ${itemText(item)} to the history`, () => add(item), CELL)),
      cell(iconButton("remove", `Not this: ${itemText(item)}`, () => deny(item), CELL)),
    );
  });
}

/** An answer in a sentence or two, for a screen reader. */
export function spoken(items, itemOf) {
  if (!items.length) return "No recommendations.";
  const [{ reason }] = items;
  const because = reason.because ? `, since you had ${itemText(itemOf(reason.because))}` : "";
  return `${items.length} recommendations. First: ${itemText(items[0])}. ${nameOf(reason)}${because}.`;
}
