// Elements, icons, and the shape of an interest. Titles are hostile: text enters the page as text nodes only.

const ICONS = { up: "M8 13V3M4 7l4-4 4 4", down: "M8 3v10M4 9l4 4 4-4", remove: "M4 4l8 8M12 4l-8 8", add: "M8 3v10M3 8h10" };
const SHAPES = [
  "M8 2a6 6 0 1 0 0 12A6 6 0 1 0 8 2Z", // circle, square, triangle, diamond, ring, cross
  "M3 3h10v10H3Z",
  "M8 1.5 15 14H1Z",
  "M8 1l7 7-7 7-7-7Z",
  "M8 1.5a6.5 6.5 0 1 0 0 13 6.5 6.5 0 1 0 0-13Zm0 3.5a3 3 0 1 1 0 6 3 3 0 1 1 0-6Z",
  "M6 1h4v5h5v4h-5v5H6v-5H1V6h5Z",
];

/** An element. Attributes that start with "on" are listeners; false, null and undefined leave an attribute out. */
export function element(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value !== false && value != null) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children);
  return node;
}

function drawing(path, className) {
  const [svg, shape] = ["svg", "path"].map((tag) => document.createElementNS("http://www.w3.org/2000/svg", tag));
  svg.setAttribute("viewBox", "0 0 16 16");
  svg.setAttribute("class", className);
  svg.setAttribute("aria-hidden", "true");
  shape.setAttribute("d", path);
  svg.append(shape);
  return svg;
}

/** The class that colours interest `number`, from 0. More than six repeat. */
export const codeOf = (number) => `code-${number % SHAPES.length}`;

/** The shape of interest `number`. */
export const interestShape = (number) => drawing(SHAPES[number % SHAPES.length], `shape ${codeOf(number)}`);

/** A button with an icon; `label` is its name for everybody else. */
export const iconButton = (icon, label, onclick, attributes = {}) =>
  element("button", { class: "icon", "aria-label": label, title: label, onclick, ...attributes }, drawing(ICONS[icon], "stroke"));

/** A title, isolated from the direction of the text around it; the id if there is none. */
export const itemName = ({ item_id: id, title }) =>
  title ? element("bdi", { class: "title", title }, title) : element("bdi", { class: "id" }, id);

/** The same as plain text, for labels and announcements. */
export const itemText = (item) => item.title || item.item_id;

/** `run`, `milliseconds` after the last call. */
export function debounced(run, milliseconds) {
  let timer = 0;
  return () => {
    clearTimeout(timer);
    timer = setTimeout(run, milliseconds);
  };
}
