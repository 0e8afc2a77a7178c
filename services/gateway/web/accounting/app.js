// Accounting: expenses and the decisions on them.

import { get, post, query } from '../shared/api.js';
import { avatar, facts, fill, h, icon, toast } from '../shared/dom.js';
import { Field, Form, loadInto } from '../shared/form.js';
import { LOCALE, badge, statusLabel, time } from '../shared/format.js';
import { List, statusFilter } from '../shared/list.js';
import { go, onRoute } from '../shared/router.js';
import { openDrawer, showPage, start } from '../shared/shell.js';

const STATUSES = ['PENDING', 'APPROVED', 'REJECTED'];
const CATEGORIES = ['OFFICE_SUPPLIES', 'TRAVEL', 'MEALS', 'CLIENT_ENTERTAINMENT', 'POSTAGE', 'UTILITIES', 'OTHER'];
const CURRENCIES = ['USD', 'EUR', 'GBP', 'CAD'];
/** The number of pages of 500 expenses that are searched for one of them. */
const MAX_PAGES = 20;

const categoryLabel = (category) => statusLabel(category).replaceAll('_', ' ');
const person = (userId) => h('span.who', avatar(userId), userId);

/** Formats an amount. Any three letters are a currency; other codes stand behind the number. */
function money(amount, currency) {
  const isCode = /^[A-Za-z]{3}$/.test(currency);
  const text = amount.toLocaleString(LOCALE, isCode ? { style: 'currency', currency } : { minimumFractionDigits: 2 });
  return isCode ? text : `${text} ${currency}`;
}

start({
  app: 'accounting',
  run(me, settings) {
    /** The expenses that were shown, by id: the API has no route for a single one. */
    const known = new Map();
    const list = showExpenses(settings, known);
    let closeDialog;
    onRoute((parameters) => {
      closeDialog?.();
      const id = parameters.get('expenseId');
      if (id) closeDialog = openExpense(id, list, known);
      else closeDialog = parameters.has('new') ? openNewExpense(me, list, known) : undefined;
    });
  },
});

async function fetchPage(path, known, request) {
  const page = await get(path, request);
  for (const expense of page.items) known.set(expense.expenseId, expense);
  return page;
}

function showExpenses(settings, known) {
  const list = new List({
    label: 'Expenses',
    settings,
    path: '/expenses',
    key: 'expenseId',
    fetch: (path, request) => fetchPage(path, known, request),
    filters: [statusFilter(STATUSES)],
    columns: [
      { label: 'Expense', fixed: true, cell: (expense) => expense.expenseId },
      { label: 'Submitter', fixed: true, cell: (expense) => person(expense.submitterUserId) },
      { label: 'Category', cell: (expense) => categoryLabel(expense.category) },
      { label: 'Description', cell: (expense) => h('span.clip', expense.description) },
      { label: 'Amount', fixed: true, numeric: true, cell: (expense) => money(expense.amount, expense.currency) },
      { label: 'Status', fixed: true, cell: (expense) => badge(expense.status) },
      { label: 'Submitted', cell: (expense) => time(expense.createdAt) },
    ],
    empty: ['No expenses yet', 'Submitted expenses wait here for a decision.'],
  });
  const actions = h('a.button.primary', { href: '?new' }, icon('plus'), 'New expense');
  showPage({ title: 'Expenses', actions, content: list.node });
  return list;
}

/** Returns an expense. One that was not shown yet, e.g. of a notification, is searched. */
async function find(id, known) {
  let cursor;
  for (let page = 0; page < MAX_PAGES && !known.has(id) && cursor !== null; page += 1) {
    cursor = (await fetchPage(`/expenses${query({ limit: 500, order: 'newest', cursor })}`, known)).nextCursor ?? null;
  }
  if (known.has(id)) return known.get(id);
  throw new Error(`Expense ${id} was not found`);
}

function openExpense(id, list, known) {
  const content = h('div.stack');
  const show = (expense) => [
    h('h3.who', money(expense.amount, expense.currency), badge(expense.status)),
    facts([
      ['Submitter', person(expense.submitterUserId)],
      ['Category', categoryLabel(expense.category)],
      ['Description', expense.description],
      ['Receipt', expense.receiptUrl && h('a', { href: expense.receiptUrl, target: '_blank', rel: 'noopener noreferrer' }, expense.receiptUrl)],
      ['Submitted', time(expense.createdAt)],
      expense.decidedBy && ['Decided', [time(expense.decidedAt), ' by ', person(expense.decidedBy)]],
      expense.decidedBy && ['Comment', expense.decisionComment],
    ]),
    expense.status === 'PENDING' && decision(),
  ];
  const decision = () => {
    const comment = new Field({ name: 'comment', label: 'Comment', type: 'textarea', plain: true, hint: 'Required for a rejection.' });
    const choice = (value, label, kind) => h(`button${kind}`, { name: 'decision', value }, label);
    return new Form({
      id: `decision-${id}`,
      fields: () => [comment],
      submit: [choice('APPROVED', 'Approve', '.primary'), choice('REJECTED', 'Reject', '.danger')],
      send: (values, chosen) => post(`/expenses/${encodeURIComponent(id)}/decision`, { decision: chosen?.value, ...values }),
      done: (expense) => {
        toast(`Expense ${id} was ${statusLabel(expense.status).toLowerCase()}.`);
        update(expense);
      },
      failed: (error) => error.code === 'INVALID_STATE' && list.refresh(),
    }).node;
  };
  const update = (expense) => {
    known.set(id, expense);
    list.put(expense);
    fill(content, show(expense));
  };
  loadInto(content, () => find(id, known), show);
  return openDrawer({ title: `Expense ${id}`, back: '', content });
}

function openNewExpense(me, list, known) {
  const suggest = (id, values) => h('datalist', { id }, values.map((value) => h('option', { value })));
  const fields = [
    new Field({ name: 'category', label: 'Category', required: true, list: 'categories' }),
    new Field({ name: 'amount', label: 'Amount', required: true, type: 'number', min: '0.01', step: '0.01', inputmode: 'decimal' }),
    new Field({ name: 'currency', label: 'Currency', required: true, value: 'USD', list: 'currencies' }),
    new Field({ name: 'description', label: 'Description', required: true, type: 'textarea' }),
    new Field({ name: 'receiptUrl', label: 'Receipt', type: 'url', placeholder: 'https://' }),
    new Field({ name: 'submitterUserId', label: 'Submitter', hint: `User name. You (${me.userId}) if empty.` }),
  ];
  const [category, amount, currency, ...rest] = fields.map(({ node }) => node);
  const form = new Form({
    id: 'expense',
    fields: () => fields,
    content: [category, h('div.pair', amount, currency), rest, suggest('categories', CATEGORIES), suggest('currencies', CURRENCIES)],
    submit: 'Submit expense',
    cancel: () => go('', true),
    send: (values) => post('/expenses', { ...values, amount: values.amount === '' ? null : Number(values.amount) }),
    done: (expense) => {
      toast(`Expense ${expense.expenseId} was submitted.`);
      known.set(expense.expenseId, expense);
      list.put(expense);
      go('', true);
    },
  });
  return openDrawer({ title: 'New expense', back: '', content: form.node });
}
