// Clients: the list, and the names of their companies for the orders.

import { get, query } from '../shared/api.js';
import { h } from '../shared/dom.js';
import { time } from '../shared/format.js';
import { List } from '../shared/list.js';
import { showPage } from '../shared/shell.js';

const NAMES_MAX_AGE_MS = 30_000;

let names;
let readAt = 0;

/** Returns the companies of the newest clients by their ids. */
export function clientNames() {
  if (Date.now() - readAt > NAMES_MAX_AGE_MS) {
    readAt = Date.now();
    names = get('/sales/clients?limit=500').then(
      ({ items }) => new Map(items.map((client) => [client.clientId, client.companyName])),
      () => new Map(),
    );
  }
  return names;
}

export function showClients(settings) {
  const order = ({ clientId, companyName }) => h('a', { href: `${query({ clientId })}&new`, 'aria-label': `New order for ${companyName}` }, 'New order');
  const list = new List({
    label: 'Clients',
    settings,
    path: '/sales/clients',
    key: 'clientId',
    columns: [
      { label: 'Company', fixed: true, cell: (client) => client.companyName },
      { label: 'Client', cell: (client) => h('span.id', client.clientId) },
      { label: 'Contact', cell: (client) => client.contactName },
      { label: 'E-mail', cell: (client) => client.contactEmail },
      { label: 'Since', cell: (client) => time(client.createdAt) },
      { label: 'Action', fixed: true, cell: order },
    ],
    empty: ['No clients yet', 'Convert a qualified lead to get the first client.'],
  });
  showPage({ title: 'Clients', content: list.node });
  return list;
}
