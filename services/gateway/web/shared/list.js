// A list that is read by cursor: a table with filters and optional columns, cards on a phone.

import { get, isInUse, query } from './api.js';
import { button, fill, h, icon } from './dom.js';
import { Field, errorAlert } from './form.js';
import { number, statusOptions } from './format.js';

const PAGE = 50;
const REFRESH_MS = 15_000;
const STEPS = { ArrowDown: 1, ArrowUp: -1, Home: -Infinity, End: Infinity };

/** Returns the filter of a list by status. */
export const statusFilter = (statuses) => ({ name: 'status', label: 'Status', type: 'select', options: [['', 'All'], ...statusOptions(statuses)] });

/**
 * Options: `label` (what the items are, in plural), `path` (of the route), `key` (the name of their
 * ids, also in the addresses of the items), `columns` (`label`, `cell(item)`, `numeric`, `fixed`),
 * `empty` (heading and text), `filters` (fields; the settings keep those with `options`), `settings`,
 * `fetch(path, request)`.
 */
export class List {
  #options;
  #items = [];
  #total = 0;
  #cursor;
  /** Increases with each load of the first page: late responses of older ones are dropped. */
  #load = 0;
  #filters;
  #status = h('p.count', { role: 'status' });
  #head = h('tr', { role: 'row' });
  #body = h('tbody', { role: 'rowgroup' });
  #table;
  #below = h('div.below');
  #id = (item) => item[this.#options.key];
  /** The lists of an app have filters of the same name. */
  #filterKey = (name) => `${this.#options.label}.${name}`;

  constructor(options) {
    this.#options = options;
    const { label, filters = [] } = options;
    // The roles survive the layout as cards.
    this.#table = h('table', { role: 'table', 'aria-label': label }, h('thead', { role: 'rowgroup' }, this.#head), this.#body);
    this.#filters = filters.map((filter) => new Field({ plain: true, ...filter, value: this.#initial(filter) }));
    for (const field of this.#filters) field.input.addEventListener('change', () => this.#filter(field));
    const toolbar = h('div.toolbar', this.#filters.map(({ node }) => node), h('span.spacer'), this.#status, this.#chooser());
    this.node = h('section.list', { 'aria-label': label }, toolbar, h('div.scroll', this.#table), this.#below);
    this.#body.addEventListener('keydown', (event) => this.#onKey(event));
    this.#body.addEventListener('click', (event) => this.#onClick(event));
    this.reload();
    const timer = setInterval(() => {
      if (!this.node.isConnected) clearInterval(timer);
      else if (isInUse()) this.refresh();
    }, REFRESH_MS);
  }

  /** Reads the first page. */
  async reload() {
    const load = (this.#load += 1);
    this.#renderHead();
    this.#table.ariaBusy = 'true';
    fill(this.#below);
    this.#table.parentElement.hidden = false;
    const skeleton = () => h('tr', { 'aria-hidden': 'true' }, this.#columns().map(() => h('td', h('span.skeleton'))));
    if (!this.#items.length) fill(this.#body, Array.from({ length: 6 }, skeleton));
    try {
      const page = await this.#fetch();
      if (load !== this.#load) return;
      this.#items = [];
      this.#add(page);
    } catch (error) {
      if (load === this.#load) this.#fail(error, () => this.reload());
    } finally {
      if (load === this.#load) this.#table.ariaBusy = 'false';
    }
  }

  /** Reads the first page again and keeps the later ones, without a visible change of state. */
  async refresh() {
    const load = this.#load;
    const page = await this.#fetch(undefined, { stay: true }).catch(() => null);
    if (!page || load !== this.#load || this.#table.ariaBusy === 'true') return;
    const fresh = new Set(page.items.map(this.#id));
    const last = this.#items.findLastIndex((item) => fresh.has(this.#id(item)));
    // Without a common item there could be a gap between both.
    const later = page.nextCursor && last >= 0 ? this.#items.slice(last + 1) : [];
    const cursor = later.length ? this.#cursor : page.nextCursor;
    this.#items = [];
    this.#add({ ...page, items: [...page.items, ...later], nextCursor: cursor });
  }

  /** Shows a new or changed item at once. */
  put(item) {
    this.#items = this.#items.map((other) => (this.#id(other) === this.#id(item) ? { ...other, ...item } : other));
    this.#render();
    this.refresh();
  }

  #initial({ name, value, options }) {
    return value || (options && this.#options.settings.get('filters', {})[this.#filterKey(name)]) || '';
  }

  #filter({ name, value, input }) {
    const { settings } = this.#options;
    if (input.options) settings.set('filters', { ...settings.get('filters'), [this.#filterKey(name)]: value });
    this.#items = [];
    this.reload();
  }

  #fetch(cursor, request) {
    const filters = Object.fromEntries(this.#filters.map(({ name, value }) => [name, value.trim()]));
    const { path, fetch = get } = this.#options;
    return fetch(path + query({ limit: PAGE, order: 'newest', ...filters, cursor }), request);
  }

  #add({ items, total, nextCursor }) {
    const known = new Set(this.#items.map(this.#id));
    this.#items.push(...items.filter((item) => !known.has(this.#id(item))));
    this.#total = total;
    this.#cursor = nextCursor;
    this.#render();
  }

  async #more() {
    const load = this.#load;
    const first = this.#items.length;
    fill(this.#below, h('p.empty', { role: 'status' }, 'Loading…'));
    try {
      const page = await this.#fetch(this.#cursor);
      if (load !== this.#load) return;
      this.#add(page);
      this.#body.rows[first]?.querySelector('a')?.focus();
    } catch (error) {
      if (load === this.#load) this.#fail(error, () => this.#more());
    }
  }

  #fail(error, retry) {
    if (!this.#items.length) fill(this.#body);
    fill(this.#below, errorAlert(error, retry));
  }

  #hidden() {
    return this.#options.settings.get('hidden', {})[this.#options.label] ?? [];
  }

  #columns() {
    return this.#options.columns.filter(({ label, fixed }) => fixed || !this.#hidden().includes(label));
  }

  #renderHead() {
    fill(this.#head, this.#columns().map(({ label, numeric }) => h(`th${numeric ? '.numeric' : ''}`, { role: 'columnheader', scope: 'col' }, label)));
  }

  #render() {
    const shown = this.#items.length;
    this.#renderHead();
    fill(this.#body, this.#items.map((item) => this.#row(item)));
    this.#table.parentElement.hidden = !shown;
    const text = `${number(shown)} of ${number(Math.max(this.#total, shown))}`;
    if (this.#status.textContent !== text) this.#status.textContent = text;
    const filtered = this.#filters.some(({ value }) => value);
    const [heading, about] = this.#options.empty;
    const nothing = h('div.empty', filtered ? h('p', 'Nothing matches these filters.') : [h('h2', heading), h('p', about)]);
    fill(this.#below, shown ? this.#cursor && button('Load more', () => this.#more()) : nothing);
  }

  #row(item) {
    const href = query({ [this.#options.key]: this.#id(item) });
    const cells = this.#columns().map(({ label, numeric, cell }, index) => {
      const content = cell(item);
      return h(`td${numeric ? '.numeric' : ''}`, { role: 'cell', 'data-label': label }, index ? content : h('a.row-link', { href }, content));
    });
    return h('tr.linked', { role: 'row' }, cells);
  }

  #chooser() {
    const { columns, settings, label: list } = this.#options;
    const show = (label, isShown) => {
      const others = this.#hidden().filter((name) => name !== label);
      settings.set('hidden', { ...settings.get('hidden'), [list]: isShown ? others : [...others, label] });
      this.#render();
    };
    const choice = ({ label }) => {
      const onchange = (event) => show(label, event.target.checked);
      return h('label', h('input', { type: 'checkbox', checked: !this.#hidden().includes(label), onchange }), label);
    };
    const opener = button([icon('columns'), 'Columns'], null, '.quiet', { popovertarget: 'columns' });
    const place = ({ target }) => (target.style.top = `${opener.getBoundingClientRect().bottom}px`);
    return [opener, h('div.menu', { popover: true, id: 'columns', onbeforetoggle: place }, columns.filter(({ fixed }) => !fixed).map(choice))];
  }

  #onKey(event) {
    const links = [...this.#body.querySelectorAll('a.row-link')];
    const index = links.indexOf(document.activeElement);
    if (!STEPS[event.key] || index < 0) return;
    event.preventDefault();
    links[Math.max(0, Math.min(links.length - 1, index + STEPS[event.key]))].focus();
  }

  /** A click anywhere in a row opens it, unless it selects text or hits a control. */
  #onClick(event) {
    if (event.target.closest('a, button') || String(getSelection())) return;
    event.target.closest('tr')?.querySelector('a.row-link')?.click();
  }
}
