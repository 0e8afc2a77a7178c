// Infinity, the sales app: leads become clients, clients order.

import { onRoute } from '../shared/router.js';
import { showViews, start } from '../shared/shell.js';
import { showClients } from './clients.js';
import { openLead, openNewLead, showLeads } from './leads.js';
import { openNewOrder, showOrder, showOrders } from './orders.js';

const VIEWS = [
  ['?view=leads', 'Leads'],
  ['?view=clients', 'Clients'],
  ['?view=orders', 'Orders'],
];

start({
  app: 'infinity',
  run(me, settings) {
    let shown;
    let list;
    let leave;
    let closeDialog;

    onRoute((parameters) => {
      const [order, client, lead] = ['orderId', 'clientId', 'leadId'].map((name) => parameters.get(name));
      const asked = parameters.get('view');
      const view = order || client ? 'orders' : lead || !['clients', 'orders'].includes(asked) ? 'leads' : asked;
      const key = [view, order, client].join();
      closeDialog?.();
      closeDialog = undefined;
      // A drawer opens over its list, which stays as it is.
      if (key !== shown) {
        leave?.();
        leave = undefined;
        shown = key;
        showViews(VIEWS, `?view=${view}`);
        if (order) leave = showOrder(order);
        else if (view === 'orders') list = showOrders(settings, client);
        else list = view === 'clients' ? showClients(settings) : showLeads(settings);
      }
      if (lead) closeDialog = openLead(lead, list);
      else if (parameters.has('new')) closeDialog = view === 'orders' ? openNewOrder(client) : openNewLead(list);
    });
  },
});
