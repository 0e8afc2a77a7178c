// Leads: list, creation, status and notes, conversion to a client.

import { get, post, query } from '../shared/api.js';
import { facts, fill, h, icon, toast } from '../shared/dom.js';
import { Field, Form, loadInto } from '../shared/form.js';
import { badge, statusOptions, time } from '../shared/format.js';
import { List, statusFilter } from '../shared/list.js';
import { go } from '../shared/router.js';
import { openDrawer, showPage } from '../shared/shell.js';

const STATUSES = ['NEW', 'CONTACTED', 'QUALIFIED', 'DISQUALIFIED', 'CONVERTED'];
const HOME = '?view=leads';

export function showLeads(settings) {
  const list = new List({
    label: 'Leads',
    settings,
    path: '/sales/leads',
    key: 'leadId',
    filters: [statusFilter(STATUSES)],
    columns: [
      { label: 'Company', fixed: true, cell: (lead) => lead.companyName },
      { label: 'Contact', cell: (lead) => lead.contactName },
      { label: 'E-mail', cell: (lead) => lead.contactEmail },
      { label: 'Status', fixed: true, cell: (lead) => badge(lead.status) },
      { label: 'Created', cell: (lead) => time(lead.createdAt) },
    ],
    empty: ['No leads yet', 'A lead is a company that may become a client.'],
  });
  const actions = h('a.button.primary', { href: `${HOME}&new` }, icon('plus'), 'New lead');
  showPage({ title: 'Leads', actions, content: list.node });
  return list;
}

export function openNewLead(list) {
  const fields = [
    new Field({ name: 'companyName', label: 'Company', required: true }),
    new Field({ name: 'contactName', label: 'Contact', required: true }),
    new Field({ name: 'contactEmail', label: 'E-mail', type: 'email', required: true }),
    new Field({ name: 'phone', label: 'Phone', type: 'tel', required: true }),
    new Field({ name: 'notes', label: 'Notes', type: 'textarea' }),
  ];
  const form = new Form({
    id: 'lead',
    fields: () => fields,
    submit: 'Create lead',
    cancel: () => go(HOME, true),
    send: (values) => post('/sales/leads', values),
    done: (lead) => {
      toast(`Lead ${lead.leadId} was created.`);
      list.put(lead);
      go(HOME, true);
    },
  });
  return openDrawer({ title: 'New lead', back: HOME, content: form.node });
}

export function openLead(id, list) {
  const path = `/sales/leads/${encodeURIComponent(id)}`;
  const content = h('div.stack');

  const show = (lead) => [
    h('h3.who', lead.companyName, badge(lead.status)),
    facts([
      ['Contact', lead.contactName],
      ['E-mail', lead.contactEmail],
      ['Phone', lead.phone],
      ['Created', [time(lead.createdAt), ` by ${lead.createdBy}`]],
      lead.convertedClientId && ['Client', h('a', { href: query({ clientId: lead.convertedClientId }) }, lead.convertedClientId)],
    ]),
    !lead.convertedClientId && conversion(lead),
    change(lead),
  ];
  const saved = (lead) => {
    list.put(lead);
    fill(content, show(lead));
  };
  const conversion = (lead) => {
    const ready = lead.status === 'QUALIFIED';
    return new Form({
      id: `convert-${id}`,
      fields: () => [],
      content: h('p', ready ? 'This lead is qualified.' : 'A lead can be converted once it is qualified.'),
      submit: h(ready ? 'button.primary' : 'button', 'Convert to client'),
      send: () => post(`${path}/convert`),
      done: async ({ clientId }) => {
        toast(`Client ${clientId} was created.`, { action: h('a', { href: `${query({ clientId })}&new` }, 'New order') });
        saved(await get(path));
      },
    }).node;
  };
  const change = (lead) => {
    // A status that is merely set to converted creates no client.
    const choices = STATUSES.filter((status) => status !== 'CONVERTED' || lead.status === status);
    const fields = [
      new Field({ name: 'status', label: 'Status', type: 'select', options: statusOptions(choices), value: lead.status }),
      new Field({ name: 'notes', label: 'Notes', type: 'textarea', rows: 5, value: lead.notes }),
    ];
    return new Form({
      id: `lead-${id}`,
      fields: () => fields,
      submit: 'Save',
      // The API takes no part of a lead, and a colleague may have changed the other one.
      send: async (_values, _button, changes) => {
        const { status, notes } = await get(path);
        return post(path, { status, notes, ...changes });
      },
      done: (changed) => {
        toast(`Lead ${id} was saved.`);
        saved(changed);
      },
    }).node;
  };

  loadInto(content, () => get(path), show);
  return openDrawer({ title: `Lead ${id}`, back: HOME, content });
}
