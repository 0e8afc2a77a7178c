// The warehouse: pending shipments, scans, dispatches; works without a connection.

import { ApiError, isInUse, signIn } from '../shared/api.js';
import { ICONS, button, facts, fill, h, icon, toast } from '../shared/dom.js';
import { Field, Form, errorAlert, loadInto } from '../shared/form.js';
import { badge, day, number, statusLabel, time } from '../shared/format.js';
import { go, onRoute } from '../shared/router.js';
import { showPage, showViews, start } from '../shared/shell.js';
import { hasCamera, scanWithCamera } from './camera.js';
import { Queue } from './queue.js';
import { findShipment, readShipments } from './shipments.js';

const REFRESH_MS = 15_000;
/** A shipment is searched in the list: the API has no route for a single one. */
const SHIPMENT_REFRESH_MS = 60_000;

Object.assign(ICONS, {
  camera: 'M4 8h3l2-3h6l2 3h3v11H4zM12 17a4 4 0 1 0 0-8 4 4 0 0 0 0 8',
  check: 'M5 12l5 5 9-10',
  truck: 'M2 6h12v10H2zM14 10h4l4 3v3h-8M7 19a2 2 0 1 0 0-4 2 2 0 0 0 0 4M17 19a2 2 0 1 0 0-4 2 2 0 0 0 0 4',
});

// The queue also runs by itself. Nothing else reports that the browser's storage has failed.
addEventListener('unhandledrejection', ({ reason }) => toast(reason.message, { error: true }));
navigator.serviceWorker?.register('/apps/warehouse/sw.js').catch(() => {});

start({
  app: 'warehouse-mobile',
  offline: true,
  async run(_me, settings) {
    const queue = await Queue.open();
    const notice = document.getElementById('notice');
    let render = () => {};
    const update = () => {
      const next = connectionNotice(queue);
      // Screen readers announce each replacement.
      if (notice.textContent !== (next?.textContent ?? '')) fill(notice, next);
      render();
    };
    queue.addEventListener('change', update);
    // The service worker knows the app under the address of this page only.
    for (const link of document.querySelectorAll('a[href="/warehouse"]')) link.href = '?';
    addEventListener('offline', update);

    onRoute((parameters) => {
      const shipment = parameters.get('shipmentId');
      const view = parameters.get('view') === 'actions' ? '?view=actions' : '?';
      const label = () => (queue.waiting.length ? `Actions (${queue.waiting.length})` : 'Actions');
      const show = shipment ? shipmentPage(shipment, queue) : view === '?' ? listPage(queue, settings) : actionsPage(queue);
      render = () => {
        showViews([['?', 'Shipments'], ['?view=actions', label()]], view);
        show();
      };
      update();
    });
  },
});

function connectionNotice(queue) {
  const count = queue.waiting.length;
  const actions = count === 1 ? '1 action' : `${number(count)} actions`;
  const show = (text, more) => h('div.alert.info', h('p', text), more);
  if (queue.needsSignIn && count) return show(`Sign in to send ${actions}.`, button('Sign in', signIn, '.primary'));
  if (!navigator.onLine) return show(count ? `Offline. ${actions} will be sent later.` : 'Offline. Scans and dispatches are kept and sent later.');
  if (queue.problem && count) return show(`${queue.problem} ${actions} will be sent later.`, button('Send now', () => queue.run()));
  return null;
}

/** The pending shipments as cards. Returns the function that shows them again. */
function listPage(queue, settings) {
  const cards = h('ul.cards');
  const below = h('div.below');
  const count = h('p.count', { role: 'status' });
  const order = new Field({ name: 'order', label: 'Sort', type: 'select', options: [['oldest', 'Oldest first'], ['newest', 'Newest first']], value: settings.get('order', 'oldest') });
  const search = new Field({ name: 'id', label: 'Shipment or order', plain: true, placeholder: 'ship_… or ord_…', autocapitalize: 'none', enterkeyhint: 'go' });
  const find = h('form.toolbar', { autocomplete: 'off' }, search.node, h('button', 'Open'), order.node, h('span.spacer'), count);
  let items = [];
  let cursor;
  let total = 0;
  let isStale;

  const read = async (more = false, request = {}) => {
    const wanted = order.value;
    try {
      const page = await readShipments(wanted, more ? cursor : undefined, request);
      if (wanted !== order.value) return;
      // The items that were loaded after this page stay. New items move the others.
      const fresh = new Set(page.items.map(({ shipmentId }) => shipmentId));
      const last = items.findLastIndex(({ shipmentId }) => fresh.has(shipmentId));
      const later = !more && page.nextCursor && last >= 0 ? items.slice(last + 1) : [];
      const shown = more ? [...items, ...page.items] : [...page.items, ...later];
      items = [...new Map(shown.map((item) => [item.shipmentId, item])).values()];
      if (!later.length) cursor = page.nextCursor;
      ({ total, isStale } = page);
      show();
    } catch (error) {
      if (!items.length) fill(cards);
      fill(below, errorAlert(error, () => read(more)));
    }
  };
  const show = () => {
    const pending = items.filter(({ shipmentId }) => !isDispatched(queue, shipmentId));
    fill(cards, pending.map((item) => card(item, queue)));
    count.textContent = `${number(pending.length)} of ${number(Math.max(total, pending.length))}`;
    const nothing = h('div.empty', h('h2', 'Nothing to load'), h('p', 'A shipment appears here when the stock of an order is reserved.'));
    fill(below, isStale && h('p.empty', 'Shipments of your last visit.'), pending.length ? cursor && button('Load more', () => read(true)) : nothing);
  };
  find.addEventListener('submit', (event) => {
    event.preventDefault();
    const id = search.value.trim();
    if (id) return go(`?shipmentId=${encodeURIComponent(id)}`);
    search.issue = 'required';
    search.focus();
  });
  order.input.addEventListener('change', () => {
    settings.set('order', order.value);
    items = [];
    read();
  });
  showPage({ title: 'Shipments', content: h('section.list', { 'aria-label': 'Shipments' }, find, cards, below) });
  fill(cards, Array.from({ length: 4 }, () => h('li', { 'aria-hidden': 'true' }, h('span.skeleton'))));
  read();
  const timer = setInterval(() => {
    if (!cards.isConnected) clearInterval(timer);
    else if (isInUse()) read(false, { stay: true });
  }, REFRESH_MS);
  return () => items.length && show();
}

const isDispatched = (queue, id) => queue.actions.some(({ shipmentId, kind, state }) => shipmentId === id && kind === 'dispatch' && state === 'done');

const isWaiting = (queue, id, kind) => queue.waiting.some((action) => action.shipmentId === id && action.kind === kind);

/** Returns the status as the user sees it on this device: waiting actions count. */
function localStatus({ shipmentId, status }, queue) {
  if (isWaiting(queue, shipmentId, 'dispatch')) return h('span.badge.warn', 'Dispatch waiting');
  const scanned = queue.actions.some((action) => action.shipmentId === shipmentId && action.kind === 'scan' && action.state !== 'failed');
  return badge(status === 'PENDING' && scanned ? 'LOADING' : status);
}

function card(item, queue) {
  const lines = item.items.map(({ sku, quantity }) => `${number(quantity)} × ${sku}`).join(', ');
  const link = h('a.row-link', { href: `?shipmentId=${encodeURIComponent(item.shipmentId)}` }, item.shipmentId);
  return h('li', h('div.live', link, localStatus(item, queue)), h('p', lines), h('p.muted', `${item.orderId} · ${item.clientId} · ships `, day(item.requestedShipDate)));
}

/** One shipment: its lines, scan, dispatch, and its actions on this device. */
function shipmentPage(id, queue) {
  const status = h('span', { role: 'status' });
  const lines = h('ul.cards');
  const actions = h('ul.cards');
  const body = h('div.stack');
  let shipment;

  const scan = async (barcode, quantity) => {
    const action = await queue.add('scan', shipment.shipmentId, { barcode, quantity });
    toast(action.state === 'done' ? `Scan of ${barcode} was recorded.` : `Scan of ${barcode} is kept and will be sent later.`);
  };
  const show = () => {
    if (!shipment) return fill(status);
    fill(status, isDispatched(queue, shipment.shipmentId) ? badge('DISPATCHED') : localStatus(shipment, queue));
    fill(lines, shipment.items.map(line));
    fill(actions, queue.actions.filter((action) => action.shipmentId === shipment.shipmentId).reverse().map((action) => actionItem(action, queue)));
    actions.parentElement.hidden = !actions.childElementCount;
  };
  const line = ({ sku, quantity }) => {
    const scanned = scannedHere(queue, shipment.shipmentId, sku);
    const rest = Math.max(1, quantity - scanned);
    let isSent = false;
    const send = async () => {
      // The second click of a double click precedes the new progress.
      if (isSent) return;
      isSent = true;
      await scan(`SKU:${sku}`, rest).catch((error) => failed(error) || toast(error.message, { error: true }));
      isSent = false;
    };
    const record = button(`Scan ${number(rest)}`, send, '', { 'aria-label': `Scan ${rest} of ${sku}` });
    const progress = h('p.muted', `${number(scanned)} of ${number(quantity)} scanned on this device`);
    return h('li.live', h('div', h('strong', `${number(quantity)} × `), h('span.id', sku), progress), scanned >= quantity ? icon('check') : record);
  };
  const load = () => loadInto(body, () => findShipment(id), content).then(show);
  /** Leaves the forms as they are, as long as the shipment is open. */
  const refresh = async () => {
    const found = await findShipment(id, { stay: true }).catch(() => shipment);
    if (shipment && !found) fill(body, content());
    shipment = found;
    show();
  };
  /** The shipment is not what this page shows: the reason outlives the page. */
  const failed = (error) => {
    if (![404, 409].includes(error.status)) return false;
    toast(error.message, { error: true });
    load();
    return true;
  };
  const content = (found) => {
    shipment = found;
    if (!found) return h('div.card', h('p', 'This shipment is no longer open, or does not exist.'), h('a.button', { href: '?' }, 'All shipments'));
    const about = facts([['Order', found.orderId], ['Client', found.clientId], ['Ship date', day(found.requestedShipDate)], ['Ordered', time(found.createdAt)]]);
    const side = h('div.stack', scanForm(found.shipmentId, scan, failed), dispatchForm(found.shipmentId, queue, failed));
    const main = h('section.card', { 'aria-label': 'Lines' }, about, lines);
    return [h('div.columns', main, side), h('section.card', { 'aria-label': 'Actions' }, h('h2', 'Actions'), actions)];
  };

  showPage({ title: `Shipment ${id}`, beside: status, back: { href: '?', label: 'Shipments' }, content: body });
  load();
  const timer = setInterval(() => {
    if (!body.isConnected) clearInterval(timer);
    else if (isInUse()) refresh();
  }, SHIPMENT_REFRESH_MS);
  return show;
}

/** Returns the quantity of a SKU in the scans of this device. */
function scannedHere(queue, id, sku) {
  return queue.actions
    .filter(({ shipmentId, kind, state, body }) => shipmentId === id && kind === 'scan' && state !== 'failed' && [sku, `SKU:${sku}`].includes(body.barcode))
    .reduce((sum, { body }) => sum + body.quantity, 0);
}

/** The service names no field, and checks nothing without a connection: blank fields are found here. */
function requireText(values, message) {
  const details = Object.entries(values).filter(([, value]) => !value).map(([field]) => ({ field, issue: 'required' }));
  if (details.length) throw new ApiError(400, { message, details });
}

function scanForm(id, scan, failed) {
  const barcode = new Field({ name: 'barcode', label: 'Barcode', required: true, autocapitalize: 'characters', spellcheck: 'false', enterkeyhint: 'done' });
  const quantity = new Field({ name: 'quantity', label: 'Quantity', type: 'number', min: 1, max: 2147483647, value: 1, required: true, inputmode: 'numeric' });
  const read = (text) => {
    barcode.value = text;
    quantity.focus();
  };
  const camera = hasCamera && button([icon('camera'), 'Camera'], () => scanWithCamera(read).catch(({ message }) => toast(message, { error: true })));
  const form = new Form({
    id: `scan-${id}`,
    fields: () => [barcode, quantity],
    submit: [h('button.primary', 'Record scan'), camera],
    send: async ({ barcode: text, quantity: count }) => {
      requireText({ barcode: text.trim(), quantity: count }, 'Scan payload validation failed');
      await scan(text.trim(), Number(count));
    },
    done: () => {
      barcode.value = '';
      quantity.value = 1;
      barcode.focus();
    },
    failed,
  });
  return h('section.card', { 'aria-label': 'Scan' }, h('h2', 'Scan'), form.node);
}

function dispatchForm(id, queue, failed) {
  const truck = new Field({ name: 'truckId', label: 'Truck', required: true, autocapitalize: 'characters', spellcheck: 'false' });
  const form = new Form({
    id: `dispatch-${id}`,
    fields: () => [truck],
    submit: h('button.primary', icon('truck'), 'Dispatch shipment'),
    send: ({ truckId }) => {
      requireText({ truckId: truckId.trim() }, 'Dispatch payload validation failed');
      return queue.add('dispatch', id, { truckId: truckId.trim(), dispatchedAt: new Date().toISOString() });
    },
    done: ({ state, result }) => {
      const said = result?.alreadyDispatched ? 'had been dispatched before' : 'was dispatched';
      toast(state === 'done' ? `Shipment ${id} ${said}.` : `The dispatch of ${id} is kept and will be sent later.`);
      go('?', true);
    },
    failed,
  });
  return h('section.card', { 'aria-label': 'Dispatch' }, h('h2', 'Dispatch'), form.node);
}

/** All actions of the user on this device, newest first. */
function actionsPage(queue) {
  const list = h('ul.cards');
  const below = h('div.below');
  showPage({ title: 'Actions on this device', content: h('section.list', { 'aria-label': 'Actions' }, list, below) });
  return () => {
    fill(list, [...queue.actions].reverse().map((action) => actionItem(action, queue)));
    fill(below, !queue.actions.length && h('p.empty', 'No scans or dispatches yet.'));
  };
}

function actionItem(action, queue) {
  const { kind, shipmentId, body, state, createdAt, message, traceId, sequence } = action;
  const what = kind === 'scan' ? `Scan ${number(body.quantity)} × ${body.barcode}` : `Dispatch on truck ${body.truckId}`;
  const held = queue.isHeld(action);
  const label = queue.sending === sequence ? h('span.badge.info', 'Sending') : h(`span.badge.${{ waiting: 'warn', done: 'good', failed: 'bad' }[state]}`, held ? 'Held back' : statusLabel(state.toUpperCase()));
  const error = state === 'failed' && [h('p.issue', message), traceId && h('p.trace', 'Trace ', h('code', traceId)), h('div.actions', button('Try again', () => queue.retry(action)), button('Discard', () => queue.discard(action)))];
  return h('li', h('div.live', h('strong', what), label), h('p.muted', h('a', { href: `?shipmentId=${encodeURIComponent(shipmentId)}` }, shipmentId), ' · ', time(createdAt)), held && h('p.muted', 'An earlier action of this shipment failed.'), error);
}
