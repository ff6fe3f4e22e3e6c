// Elements, icons, and the shape and colour of an interest. Titles are hostile: text enters the page as text nodes only.

const SVG = "http://www.w3.org/2000/svg";

const ICONS = {
  up: "M8 13V3M4 7l4-4 4 4",
  down: "M8 3v10M4 9l4 4 4-4",
  remove: "M4 4l8 8M12 4l-8 8",
  add: "M8 3v10M3 8h10",
};

const SHAPES = [
  "M8 2a6 6 0 1 0 0 12A6 6 0 1 0 8 2Z",
  "M3 3h10v10H3Z",
  "M8 1.5 15 14H1Z",
  "M8 1l7 7-7 7-7-7Z",
  "M8 1.5a6.5 6.5 0 1 0 0 13 6.5 6.5 0 1 0 0-13Zm0 3.5a3 3 0 1 1 0 6 3 3 0 1 1 0-6Z",
  "M6 1h4v5h5v4h-5v5H6v-5H1V6h5Z",
  "M1 2h14L8 14.5Z",
  "M4.5 2h7L15 8l-3.5 6h-7L1 8Z",
];

/** An element. Attributes that start with "on" are listeners; false and null leave an attribute out. */
export function element(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value !== false && value !== null && value !== undefined) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children);
  return node;
}

function drawing(path, className) {
  const svg = document.createElementNS(SVG, "svg");
  const shape = document.createElementNS(SVG, "path");
  svg.setAttribute("viewBox", "0 0 16 16");
  svg.setAttribute("class", className);
  svg.setAttribute("aria-hidden", "true");
  shape.setAttribute("d", path);
  svg.append(shape);
  return svg;
}

/** The shape of interest code `code`, from 0; more than eight repeat. */
export const interestShape = (code) => drawing(SHAPES[code % SHAPES.length], `shape code-${code % SHAPES.length}`);

/** A button that shows an icon; `label` is its name for everybody else. */
export function iconButton(icon, label, onclick, attributes = {}) {
  const node = element("button", { type: "button", class: "icon", "aria-label": label, title: label, onclick, ...attributes });
  node.append(drawing(ICONS[icon], "stroke"));
  return node;
}

/** A title, isolated from the direction of the text around it; the id if there is no title. */
export function itemName(item) {
  return item.title
    ? element("bdi", { class: "title", title: item.title }, item.title)
    : element("bdi", { class: "id" }, item.item_id);
}

/** The same as plain text, for labels and announcements. */
export const itemText = (item) => item.title || item.item_id;

/** Sets text if it differs, so that a live region does not speak twice. */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** `run`, `milliseconds` after the last call. */
export function debounced(run, milliseconds) {
  let timer = 0;
  return (...values) => {
    clearTimeout(timer);
    timer = setTimeout(run, milliseconds, ...values);
  };
}
