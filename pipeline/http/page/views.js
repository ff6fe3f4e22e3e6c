// The parts of the page that are drawn from data: history, menu, recommendations, legend.

import { element, iconButton, interestShape, itemName, itemText } from "./dom.js";

const cell = (...children) => element("div", { role: "gridcell" }, ...children);

/** Keys of a list in which a value may be there twice. */
function uniqueKeys(values) {
  const seen = new Map();
  return values.map((value) => {
    seen.set(value, (seen.get(value) ?? 0) + 1);
    return `${value} ${seen.get(value)}`;
  });
}

/** Rows of the history. `unknown` has ids that the bundle lacks. */
export function historyRows(items, unknown, { move, remove }) {
  const keys = uniqueKeys(items.map((item) => item.item_id));
  return items.map((item, index) => {
    const name = itemText(item);
    const to = (place) => () => move(index, place);
    const off = (blocked) => (blocked ? { "aria-disabled": "true", "data-cell": "" } : { "data-cell": "" });
    return element(
      "div",
      { role: "row", "data-key": keys[index] },
      element(
        "div",
        { role: "gridcell", class: "name", "data-cell": "" },
        element("span", { class: "clamp" }, itemName(item)),
        unknown.has(item.item_id) ? element("span", { class: "note" }, "not in this bundle") : "",
      ),
      cell(iconButton("up", `Move ${name} up`, to(index - 1), off(index === 0))),
      cell(iconButton("down", `Move ${name} down`, to(index + 1), off(index === items.length - 1))),
      cell(iconButton("remove", `Remove ${name}`, () => remove(index), { "data-cell": "" })),
    );
  });
}

/** Toggle buttons of interests. */
export function menuButtons(entries, picked, toggle) {
  return entries.map(({ name, items }) =>
    element(
      "button",
      {
        type: "button",
        class: "chip",
        "aria-pressed": String(picked.includes(name)),
        tabindex: "-1",
        title: items.length ? `Such as: ${items.map(itemText).join("; ")}`.slice(0, 300) : null,
        onclick: () => toggle(name),
      },
      element("bdi", {}, name),
    ),
  );
}

/** The interests behind an answer, in the order of their first item: a Map from key to its name, number of items and code. */
export function interestsOf(items) {
  const interests = new Map();
  for (const { reason } of items) {
    const key = interestKey(reason);
    if (!interests.has(key)) interests.set(key, { name: interestName(reason), count: 0, code: interests.size });
    interests.get(key).count += 1;
  }
  return interests;
}

const interestKey = (reason) => JSON.stringify([reason.interest, reason.label]);

function interestName({ interest, label }) {
  if (label) return label;
  return interest < 0 ? "Popular now" : `Unnamed interest ${interest + 1}`;
}

/** Entries of the legend. */
export const legendEntries = (interests) =>
  [...interests.values()].map(({ name, count, code }) =>
    element("li", {}, interestShape(code), element("bdi", {}, name), element("span", { class: "note" }, ` ${count}`)),
  );

/** Why an item is there, as parts to show and as text to say. */
function why(reason, picked, titleOf) {
  if (reason.because !== null && reason.because !== undefined) {
    return [" · since you had ", titleOf(reason.because)];
  }
  if (picked.includes(reason.label)) return [" · you picked this", null];
  return ["", null];
}

/** Rows of the recommendations, best first. */
export function resultRows(items, interests, picked, titleOf, { add, deny }) {
  const scores = items.map((item) => item.score);
  const [low, high] = [Math.min(...scores), Math.max(...scores)];
  return items.map((item, index) => {
    const interest = interests.get(interestKey(item.reason));
    const [since, cause] = why(item.reason, picked, titleOf);
    const bar = element("span", { class: `bar code-${interest.code % 8}`, "aria-hidden": "true" }, element("span"));
    // Scores compare within one answer only: the bar shows where an item lies between the last and the best of them.
    bar.firstChild.style.width = `${high > low ? 12 + (88 * (item.score - low)) / (high - low) : 100}%`;
    return element(
      "div",
      { role: "row", "data-key": item.item_id },
      element(
        "div",
        { role: "gridcell", class: "name", "data-cell": "" },
        element("span", { class: "rank" }, `${index + 1}`),
        element("span", { class: "clamp" }, itemName(item), item.title ? element("span", { class: "id" }, ` ${item.item_id}`) : ""),
        element(
          "span",
          { class: "reason" },
          interestShape(interest.code),
          element("span", { class: "clamp" }, element("bdi", { class: "interest" }, interest.name), since, cause ? itemName(cause) : ""),
        ),
        element("span", { class: "score" }, bar, element("span", { class: "hidden" }, " Score "), item.score.toFixed(2)),
      ),
      cell(iconButton("add", `Add ${itemText(item)} to the history`, () => add(item), { "data-cell": "" })),
      cell(iconButton("remove", `Not this: ${itemText(item)}`, () => deny(item), { "data-cell": "" })),
    );
  });
}

/** One sentence about an answer, for a screen reader. */
export function spoken(items, interests, titleOf) {
  if (!items.length) return "No recommendations.";
  const [{ reason }] = items;
  const because = reason.because ? `, since you had ${itemText(titleOf(reason.because))}` : "";
  const name = interests.get(interestKey(reason)).name;
  return `${items.length} recommendations. First: ${itemText(items[0])}. ${name}${because}.`;
}
