// Elements: found, made, drawn and filled. What people wrote is only ever put into text nodes.

export const $ = (id) => document.getElementById(id);

function put(element, properties, children) {
  for (const [name, value] of Object.entries(properties)) {
    if (name in element && name !== "role") element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

export const make = (tag, properties = {}, ...children) => put(document.createElement(tag), properties, children);

export function draw(tag, attributes = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

export function say(element, text) {
  if (element.textContent !== text) element.textContent = text; // said again, a live region would be read again
}
