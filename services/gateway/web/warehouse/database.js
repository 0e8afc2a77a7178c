// The tables of the warehouse app in the browser: actions, and the shipments of the last visit. The
// sign-out is here because of them: another app loads this module for it only.

import { userId } from '../shared/api.js';
import { button, h, openDialog } from '../shared/dom.js';
import { KNOWN_USER } from '../shared/store.js';

let opened;

function open() {
  opened ??= new Promise((resolve, reject) => {
    const request = indexedDB.open('dm-warehouse', 1);
    request.onupgradeneeded = () => {
      request.result.createObjectStore('actions', { keyPath: 'sequence', autoIncrement: true });
      request.result.createObjectStore('shipments', { keyPath: 'shipmentId' });
    };
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
  return opened;
}

/** Calls `change(store)` in one transaction and returns the result of its last request. */
export async function withStore(name, mode, change) {
  const transaction = (await open()).transaction(name, mode);
  const request = change(transaction.objectStore(name));
  return new Promise((resolve, reject) => {
    transaction.oncomplete = () => resolve(request?.result);
    transaction.onabort = () => reject(transaction.error);
  });
}

export const readAll = (name) => withStore(name, 'readonly', (store) => store.getAll());

/** Returns the actions of a user. */
export const actionsOf = async (userId) => (await readAll('actions')).filter(({ user }) => user === userId);

/** Returns the number of actions of the user that wait, or that were refused. */
const countUnsent = async () => (await actionsOf(userId)).filter(({ state }) => state !== 'done').length;

/**
 * Ends the session, or all sessions of the user, and removes the shipments of the last visit. Asks
 * before all sessions end, and if there are unsent actions, which stay.
 */
export async function signOut(everywhere, isReachable) {
  const title = everywhere ? 'Sign out everywhere' : 'Sign out';
  // A sign-out does not depend on the browser's storage.
  const unsent = await countUnsent().catch(() => 0);
  const leave = async () => {
    if (!(await isReachable())) return;
    localStorage.removeItem(KNOWN_USER);
    await withStore('shipments', 'readwrite', (store) => store.clear()).catch(() => {});
    location.assign(everywhere ? '/logout/everywhere' : '/logout');
  };
  if (!everywhere && !unsent) return leave();
  const close = openDialog({
    title: `${title}?`,
    content: [
      everywhere && h('p', 'All your sessions end. The next sign-in asks for your password.'),
      unsent > 0 && h('p.alert', `Unsent actions in Warehouse: ${unsent}. They stay on this device until you sign in again.`),
      h('div.actions', button(title, leave, '.primary'), button('Cancel', () => close())),
    ],
  });
}
