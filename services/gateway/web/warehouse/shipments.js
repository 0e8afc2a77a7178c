// The pending shipments: from the gateway, and from the last visit while it cannot be reached.

import { get, query, userId } from '../shared/api.js';
import { KNOWN_USER } from '../shared/store.js';
import { readAll, withStore } from './database.js';

const PAGE = 50;
/** The number of pages of 500 shipments that are searched for one of them. */
const MAX_PAGES = 20;

const fetchPage = (parameters, request) => get(`/warehouse/shipments${query({ status: 'PENDING', ...parameters })}`, request);

/** Reads a page. The first page is kept for the time without a connection. */
export async function readShipments(order, cursor, request) {
  try {
    const page = await fetchPage({ limit: PAGE, order, cursor }, request);
    // They are shown whether or not there is space to keep them.
    if (!cursor) await keep(page.items, true).catch(() => {});
    return page;
  } catch (error) {
    if (!error.isTemporary || cursor) throw error;
    const items = (await readKept()).sort((a, b) => Date.parse(a.createdAt) - Date.parse(b.createdAt));
    return { items: order === 'newest' ? items.reverse() : items, total: items.length, isStale: true };
  }
}

/** Keeps shipments for this user, unless the user has signed out, maybe in another tab. */
async function keep(items, clear) {
  if (!localStorage.getItem(KNOWN_USER)) return;
  await withStore('shipments', 'readwrite', (store) => {
    if (clear) store.clear();
    for (const item of items) store.put({ ...item, user: userId });
  });
}

/** Returns what was kept for this user: the last visit may be that of another one. */
const readKept = async () => (await readAll('shipments')).filter(({ user }) => user === userId);

/**
 * Returns an open shipment as the gateway has it, or `undefined` if there is none with this id or
 * order. The kept copy is for the time without the gateway.
 */
export async function findShipment(id, request) {
  const matches = ({ shipmentId, orderId }) => shipmentId === id || orderId === id;
  const kept = (await readKept()).find(matches);
  try {
    let cursor;
    for (let page = 0; page < MAX_PAGES && cursor !== null; page += 1) {
      const { items, nextCursor } = await fetchPage({ limit: 500, order: 'newest', cursor }, request);
      const found = items.find(matches);
      if (found) await keep([found], false).catch(() => {});
      if (found) return found;
      cursor = nextCursor ?? null;
    }
  } catch (error) {
    if (!error.isTemporary || !kept) throw error;
    return kept;
  }
  if (kept) await withStore('shipments', 'readwrite', (store) => store.delete(kept.shipmentId));
  return undefined;
}
