// The state of an app is in the query of its address, so that links, the back button and the
// return from the login lead to the same view.

let handler = () => {};
let current;

function show() {
  if (location.search === current) return;
  current = location.search;
  handler(new URLSearchParams(current));
}

/** Calls `route` with the query of the address, now and after each change. */
export function onRoute(route) {
  handler = route;
  show();
}

/** Goes to a query such as `?view=leads`, in place of the current one if `replace` is set. */
export function go(query, replace = false) {
  history[replace ? 'replaceState' : 'pushState'](null, '', query || location.pathname);
  show();
}

addEventListener('popstate', show);

document.addEventListener('click', (event) => {
  const link = event.target.closest?.('a[href^="?"]');
  if (!link || event.defaultPrevented || event.button || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
  event.preventDefault();
  go(link.getAttribute('href'));
});
