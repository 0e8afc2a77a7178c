// The body of a function that returns the visible elements with a selector and a name: the label or
// the text. A name that ends in "…" stands for every name with this beginning. A user cannot reach
// elements behind an open dialog, so that these are not returned.
const [selector, name] = arguments;
const root = [...document.querySelectorAll('dialog:modal')].at(-1) ?? document;

const text = (element) => element.innerText.replace(/\s+/g, ' ').trim();

const nameOf = (element) => {
  const title = document.getElementById(element.getAttribute('aria-labelledby'));
  return element.ariaLabel ?? text(title ?? element.labels?.[0] ?? element);
};

const matches = (found) => (name.endsWith('…') ? found.startsWith(name.slice(0, -1)) : found === name);

return [root, ...root.querySelectorAll('*')].filter(
  (element) => element.matches?.(selector) && element.checkVisibility() && matches(nameOf(element)),
);
