// Nodes. Text goes into text nodes and attributes only, never through a parser of HTML: what is
// stored in a registry was written by whoever may push.

const SVG = 'http://www.w3.org/2000/svg';

/** Builds an element. `on` has event listeners, `style` properties; children are nodes, texts or lists of them. */
export function h(name, attributes = {}, ...children) {
  return fill(document.createElement(name), attributes, children);
}

function fill(element, attributes, children) {
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (key === 'on') for (const [event, act] of Object.entries(value)) element.addEventListener(event, act);
    // By the object model: a style attribute would be refused by the page's policy.
    else if (key === 'style') for (const [property, set] of Object.entries(value)) element.style.setProperty(property, set);
    else element.setAttribute(key, value === true ? '' : String(value));
  }
  append(element, children);
  return element;
}

export function append(element, children) {
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    element.append(child instanceof Node ? child : String(child));
  }
}

const ICONS = {
  group: 'M2 4.5h4.2l1.5 1.7H14v6.3H2z',
  repository: 'M2.5 5.5 8 2.8l5.5 2.7v5L8 13.2l-5.5-2.7zM2.5 5.5 8 8.2l5.5-2.7M8 8.2v5',
  copy: 'M5.5 5.5h7v8h-7zM3.5 10.5v-8h7',
  check: 'm3 8.5 3.2 3.2L13 5',
  lock: 'M4 7.5h8v5.5H4zM5.8 7.5V5.2a2.2 2.2 0 0 1 4.4 0v2.3',
  bin: 'M3 4.5h10M6.5 4.5V3h3v1.5M4.5 4.5l.5 8.5h6l.5-8.5M7 7v4M9 7v4',
  light: 'M8 5.2a2.8 2.8 0 1 0 0 5.6 2.8 2.8 0 0 0 0-5.6M8 1.5v1.4M8 13.1v1.4M1.5 8h1.4M13.1 8h1.4M3.4 3.4l1 1M11.6 11.6l1 1M3.4 12.6l1-1M11.6 4.4l1-1',
  dark: 'M12.8 9.6A5.3 5.3 0 0 1 6.4 3.2a5.3 5.3 0 1 0 6.4 6.4z',
  up: 'M8 12.5v-9M4.5 7 8 3.5 11.5 7',
  down: 'M8 3.5v9M4.5 9 8 12.5 11.5 9',
};

/** An icon that says nothing to screen readers: the text beside it, or a label, does. */
export function icon(name) {
  const svg = document.createElementNS(SVG, 'svg');
  fill(svg, { viewBox: '0 0 16 16', class: 'icon', 'aria-hidden': 'true', focusable: 'false' }, []);
  const path = document.createElementNS(SVG, 'path');
  path.setAttribute('d', ICONS[name]);
  svg.append(path);
  return svg;
}

/** Says something to screen readers. */
export function announce(text) {
  document.getElementById('live').textContent = text;
}
