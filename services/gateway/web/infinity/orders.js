// Orders: list, creation, detail with the live timeline, cancellation.

import { get, post, query } from '../shared/api.js';
import { avatar, button, facts, fill, h, icon, openDialog, toast } from '../shared/dom.js';
import { Field, Form, loadInto } from '../shared/form.js';
import { badge, day, number, statusLabel, time } from '../shared/format.js';
import { List, statusFilter } from '../shared/list.js';
import { go } from '../shared/router.js';
import { openDrawer, showPage } from '../shared/shell.js';
import { openStream } from '../shared/stream.js';
import { clientNames } from './clients.js';
import { OrderLines, products } from './lines.js';

/** Statuses in which an order can be cancelled. */
const OPEN = ['CREATED', 'RESERVED', 'PICKING', 'FAILED_INSUFFICIENT_STOCK'];
const STATUSES = [...OPEN, 'SHIPPED', 'CANCELLED'];
const DAY_MS = 86_400_000;

const listHref = (clientId) => (clientId ? query({ clientId }) : '?view=orders');

/** Returns a client with the company's name, as soon as it is known. */
function clientCell(id) {
  const node = h('span', id);
  clientNames().then((names) => names.has(id) && fill(node, names.get(id), ' ', h('span.id.muted', id)));
  return node;
}

/** Returns the suggestions for the client fields of the list and of a new order. */
function clientSuggestions() {
  const node = h('datalist', { id: 'clients' });
  clientNames().then((names) => fill(node, [...names].map(([value, name]) => h('option', { value }, name))));
  return node;
}

export function showOrders(settings, client) {
  const list = new List({
    label: 'Orders',
    settings,
    path: '/orders',
    key: 'orderId',
    filters: [
      statusFilter(STATUSES),
      { name: 'clientId', label: 'Client', value: client ?? '', list: 'clients', placeholder: 'All', onchange: ({ target }) => go(listHref(target.value.trim())) },
    ],
    columns: [
      { label: 'Order', fixed: true, cell: (order) => order.orderId },
      { label: 'Client', fixed: true, cell: (order) => clientCell(order.clientId) },
      { label: 'Status', fixed: true, cell: (order) => badge(order.status) },
      { label: 'Ship date', cell: (order) => day(order.requestedShipDate) },
      { label: 'Created', cell: (order) => time(order.createdAt) },
    ],
    empty: ['No orders yet', 'Orders appear here as soon as they are placed.'],
  });
  const actions = h('a.button.primary', { href: `${listHref(client)}&new` }, icon('plus'), 'New order');
  showPage({ title: 'Orders', actions, content: [list.node, clientSuggestions()] });
  return list;
}

export function openNewOrder(client) {
  const back = listHref(client);
  const tomorrow = new Date(Date.now() + DAY_MS).toISOString().slice(0, 10);
  const lines = new OrderLines(() => form.node.dispatchEvent(new Event('input')));
  const head = [
    new Field({ name: 'clientId', label: 'Client', required: true, value: client ?? '', list: 'clients' }),
    new Field({ name: 'requestedShipDate', label: 'Ship date', type: 'date', required: true, value: tomorrow }),
  ];
  const notes = new Field({ name: 'notes', label: 'Notes', type: 'textarea' });
  const form = new Form({
    id: 'order',
    fields: () => [...head, lines, ...lines.fields, notes],
    restore: (draft) => lines.resize(draft.items),
    content: [h('div.pair', head.map((field) => field.node)), lines.node, notes.node],
    submit: 'Place order',
    cancel: () => go(back, true),
    send: ({ clientId, requestedShipDate, notes: text }) => post('/orders', { clientId, requestedShipDate, items: lines.items, notes: text }),
    done: ({ orderId }) => {
      toast(`Order ${orderId} was placed.`);
      go(query({ orderId }), true);
    },
  });
  return openDrawer({ title: 'New order', back, content: form.node });
}

/** Shows an order and returns a function that ends its stream. */
export function showOrder(id) {
  const path = `/orders/${encodeURIComponent(id)}`;
  const status = h('span', { role: 'status' });
  const actions = h('span.actions');
  const detail = h('section.card', { 'aria-label': 'Order' });
  const state = h('span.badge', { role: 'status' }, 'Connecting…');
  const timeline = h('ol.timeline');
  const events = h('section.card', { 'aria-label': 'Timeline' }, h('div.live', h('h2', 'Timeline'), state), timeline);
  const back = { href: '?view=orders', label: 'Orders' };
  showPage({ title: `Order ${id}`, beside: status, back, actions, content: h('div.columns', detail, events) });

  const load = () => loadInto(detail, () => Promise.all([get(path), products()]), show);
  const show = ([order, catalogue]) => {
    fill(status, badge(order.status));
    fill(actions, OPEN.includes(order.status) && button('Cancel order', () => openCancel(id, path, load), '.danger'));
    return [
      facts([
        ['Client', h('a', { href: listHref(order.clientId) }, clientCell(order.clientId))],
        ['Ship date', day(order.requestedShipDate)],
        ['Placed', [time(order.createdAt), ' by ', h('span.who', avatar(order.createdBy), order.createdBy)]],
        ['Shipment', order.shipmentId],
        ['Notes', order.notes],
        order.cancelledAt && ['Cancelled', [time(order.cancelledAt), ` by ${order.cancelledBy}`]],
        order.cancelReason && ['Reason', order.cancelReason],
      ]),
      lineTable(order.items, catalogue),
    ];
  };
  const entry = ({ status: name, at, source }) => h('li', h('strong', statusLabel(name)), h('p', time(at), ` · ${source}`));
  const onTimeline = (data) => {
    fill(timeline, data.events.map(entry));
    load();
  };
  const onState = (name, message) => {
    state.className = `badge ${{ live: 'good', waiting: 'warn' }[name] ?? ''}`;
    if (state.textContent !== message) state.textContent = message;
  };
  load();
  return openStream(`${path}/timeline/stream`, 'timeline', onTimeline, onState);
}

function lineTable(items, catalogue) {
  const row = ({ sku, quantity }) => h('tr', h('td', h('span.id', sku), ' ', catalogue.get(sku)?.name), h('td.numeric', { 'data-label': 'Quantity' }, number(quantity)));
  const head = h('tr', h('th', { scope: 'col' }, 'Product'), h('th.numeric', { scope: 'col' }, 'Quantity'));
  return h('table', { 'aria-label': 'Lines' }, h('thead', head), h('tbody', items.map(row)));
}

function openCancel(id, path, changed) {
  const reason = new Field({ name: 'reason', label: 'Reason', type: 'textarea' });
  const form = new Form({
    id: `cancel-${id}`,
    fields: () => [reason],
    content: [h('p', 'The stock is released and the shipment is withdrawn. A cancelled order cannot be reopened.'), reason.node],
    submit: [h('button.primary', 'Cancel this order'), button('Keep the order', () => close())],
    send: (values) => post(`${path}/cancel`, values.reason.trim() ? values : {}),
    done: () => {
      close();
      toast(`Order ${id} was cancelled.`);
      changed();
    },
    failed: changed,
  });
  const close = openDialog({ title: `Cancel order ${id}?`, content: form.node });
}
