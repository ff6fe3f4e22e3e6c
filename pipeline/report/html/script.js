"use strict";
// Sorts tables, finds cards by their words, opens all before the page is printed, and nothing else. Without it everything can be read.

const live = document.querySelector("#live");

function sortKey(cell) {
  if (cell.dataset.sort !== undefined) return Number(cell.dataset.sort);
  const text = cell.textContent.trim();
  // A cell that begins with a number is sorted by it: "0.01 to 0.02", "12 %", "1e-5"; "< 0.1" comes before "0.1".
  const number = text.replace(/^< /, "").replaceAll(",", "");
  return cell.tagName === "TD" && /^[+-]?\.?\d/.test(number) ? parseFloat(number) - (number === text.replaceAll(",", "") ? 0 : 1e-9) : text;
}

function compare(left, right) {
  if (typeof left === "number" && typeof right === "number") return left - right;
  if (typeof left !== typeof right) return typeof left === "number" ? -1 : 1;
  return left.localeCompare(right, "en", { numeric: true });
}

function sort(table, head) {
  const column = [...head.parentElement.children].indexOf(head);
  const rows = [...table.tBodies[0].rows].map((row) => ({ row, key: sortKey(row.cells[column]) }));
  const numeric = rows.some(({ key }) => typeof key === "number");
  const before = head.getAttribute("aria-sort");
  // Numbers fall at the first click: the largest is what one looks for. Names rise.
  const order = before === null ? (numeric ? "descending" : "ascending") : before === "ascending" ? "descending" : "ascending";
  const sign = order === "ascending" ? 1 : -1;
  const empty = ({ key }) => key === "" || key === "-";
  rows.sort((a, b) => empty(a) - empty(b) || (empty(a) ? 0 : sign * compare(a.key, b.key)));
  for (const other of head.parentElement.children) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", order);
  table.tBodies[0].append(...rows.map(({ row }) => row));
  live.textContent = `${table.caption.textContent}: sorted by ${head.textContent || "name"}, ${order}`;
}

for (const table of document.querySelectorAll("table.sortable")) {
  for (const head of table.tHead.rows[0].cells) {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    if (!button.textContent) button.setAttribute("aria-label", "name");
    button.addEventListener("click", () => sort(table, head));
    head.append(button);
  }
}

for (const cards of document.querySelectorAll("[data-filter]")) {
  const input = document.createElement("input");
  input.type = "search";
  input.className = "filter";
  input.placeholder = cards.dataset.filter;
  input.setAttribute("aria-label", `${cards.dataset.filter}: ${cards.dataset.name}`);
  const texts = new Map([...cards.children].map((card) => [card, card.textContent.toLowerCase()]));
  input.addEventListener("input", () => {
    const words = input.value.toLowerCase().split(/\s+/);
    for (const [card, text] of texts) card.hidden = !words.every((word) => text.includes(word));
    live.textContent = `${[...cards.children].filter((card) => !card.hidden).length} of ${texts.size} shown`;
  });
  cards.before(input);
}

const opened = new Set();
addEventListener("beforeprint", () => {
  for (const card of document.querySelectorAll("details:not([open])")) opened.add(card), (card.open = true);
});
addEventListener("afterprint", () => {
  for (const card of opened) card.open = false;
  opened.clear();
});
