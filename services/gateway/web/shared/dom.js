// Elements, icons and dialogs. Data becomes text or an attribute, never markup.

const SVG = 'http://www.w3.org/2000/svg';

/** The shapes of the icons. An app adds its own. */
export const ICONS = {
  bell: 'M6 9a6 6 0 0 1 12 0c0 6 2 7 2 7H4s2-1 2-7M10 20h4',
  close: 'M6 6l12 12M18 6L6 18',
  columns: 'M4 5h16v14H4zM10 5v14M15 5v14',
  next: 'M9 5l7 7-7 7',
  plus: 'M12 5v14M5 12h14',
};

const isShown = (child) => child !== undefined && child !== null && child !== false;

/** Creates an element: `h('a.button', { href, onclick }, 'text', node)`. The properties are optional. */
export function h(name, ...content) {
  const [tag, ...classes] = name.split('.');
  const element = document.createElement(tag);
  const properties = content[0]?.constructor === Object ? content.shift() : {};
  if (classes.length) element.className = classes.join(' ');
  for (const [key, value] of Object.entries(properties)) {
    if (!isShown(value) || key === 'value') continue;
    if (key.startsWith('on')) element.addEventListener(key.slice(2), value);
    else if (key === 'href') element.setAttribute(key, safeUrl(String(value)));
    else element.setAttribute(key, value === true ? '' : value);
  }
  fill(element, content);
  // After the options of a select are there.
  if (isShown(properties.value)) element.value = properties.value;
  return element;
}

/** Replaces the content of an element. The focus moves to the copy of its control, or stays near. */
export function fill(element, ...content) {
  const focused = document.activeElement;
  const isInside = focused !== element && element.contains(focused);
  element.replaceChildren(...content.flat(Infinity).filter(isShown));
  if (!isInside || focused.isConnected) return;
  const name = (node) => [node.textContent, node.ariaLabel, node.href].join();
  const copy = [...element.querySelectorAll(focused.localName)].find((other) => name(other) === name(focused));
  (copy ?? element.closest('[tabindex]') ?? document.getElementById('main')).focus({ preventScroll: true });
}

/** Returns the URL if it is a web address or a path of this host, otherwise `#`. */
function safeUrl(url) {
  return /^(https?:\/\/|[?#]|\/(?![/\\]))/i.test(url) ? url : '#';
}

/** Returns a button. `kind` are classes, such as `.primary`. */
export function button(label, onclick, kind = '', properties = {}) {
  return h(`button${kind}`, { type: 'button', onclick, ...properties }, label);
}

/** Returns a button that shows an icon; its label is for screen readers. */
export function iconButton(name, label, onclick) {
  return button(icon(name), onclick, '.quiet.square', { 'aria-label': label });
}

/** Returns an icon that screen readers ignore. */
export function icon(name) {
  const svg = document.createElementNS(SVG, 'svg');
  const path = document.createElementNS(SVG, 'path');
  svg.setAttribute('viewBox', '0 0 24 24');
  svg.setAttribute('class', 'icon');
  svg.setAttribute('aria-hidden', 'true');
  path.setAttribute('d', ICONS[name]);
  svg.append(path);
  return svg;
}

/** Returns names with their values: `facts([['Phone', '555']])`. A missing value is a dash. */
export function facts(rows) {
  return h('dl.facts', rows.filter(Boolean).map(([name, value]) => [h('dt', name), h('dd', value || '–')]));
}

/** Returns the picture of a user. The name beside it is text, so the picture has none. */
export function avatar(userId, size = '') {
  return h(`img.avatar${size}`, { src: `/api/v1/profile/${encodeURIComponent(userId)}/avatar`, alt: '', 'data-user': userId });
}

/**
 * Opens a modal dialog and returns a function that closes it. `kind` is `modal` or `drawer`.
 * `closed` is called once, however the dialog is closed.
 */
export function openDialog({ title, kind = 'modal', content, closed }) {
  const heading = h('h2', { id: 'dialog-title', tabindex: -1 }, title);
  const close = () => dialog.close();
  const body = h('div.dialog-body', { tabindex: -1 }, content);
  const messages = h('div.toasts', { role: 'status' });
  const dialog = h(`dialog.${kind}`, { 'aria-labelledby': heading.id }, h('header', heading, iconButton('close', 'Close', close)), body, messages);
  dialog.addEventListener('close', () => {
    document.getElementById('toasts').append(...messages.childNodes);
    dialog.remove();
    closed?.();
    // The control that opened it may have been removed, e.g. with the rows of a list.
    if (document.activeElement === document.body) document.getElementById('main').focus({ preventScroll: true });
  });
  document.body.append(dialog);
  dialog.showModal();
  (body.querySelector('input, select, textarea') ?? heading).focus();
  return close;
}

/** Shows a short message, which screen readers announce, with an action. An error stays until it is closed. */
export function toast(text, { error = false, action } = {}) {
  const close = () => node.remove();
  const node = h(`div.toast${error ? '.bad' : ''}`, { role: error && 'alert' }, h('p', text), action, iconButton('close', 'Dismiss', close));
  // Elements outside an open dialog cannot be reached.
  [...document.querySelectorAll('.toasts')].at(-1).append(node);
  if (!error) setTimeout(close, 8000);
}
