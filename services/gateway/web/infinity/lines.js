// The lines of a new order, with products as suggestions.

import { get } from '../shared/api.js';
import { button, fill, h, icon, iconButton } from '../shared/dom.js';
import { Field } from '../shared/form.js';

let known;

/** Returns the products by SKU. An order can be placed without them: the SKU is typed. */
export function products() {
  known ??= get('/products').then(
    ({ items }) => new Map(items.map((product) => [product.sku, product])),
    () => new Map(),
  );
  return known;
}

/** A group of lines. For the form it is one more field, called `items`. */
export class OrderLines {
  name = 'items';
  #lines = [];
  #rows = h('div.stack');
  #issue = h('p.issue', { hidden: true });
  #changed;

  constructor(changed) {
    this.#changed = changed;
    const suggestions = h('datalist', { id: 'skus' });
    const add = button([icon('plus'), 'Add line'], () => this.#add().sku.focus());
    this.node = h('fieldset.stack', h('legend', 'Lines'), this.#rows, this.#issue, h('div', add), suggestions);
    products().then((catalogue) => fill(suggestions, [...catalogue.values()].map(({ sku, name }) => h('option', { value: sku }, name))));
    this.#add();
  }

  get fields() {
    return this.#lines.flatMap(({ sku, quantity }) => [sku, quantity]);
  }

  /** Returns the lines as the API takes them. A quantity that is no number is missing. */
  get items() {
    return this.#lines.map(({ sku, quantity }) => ({ sku: sku.value, quantity: quantity.value === '' ? null : Number(quantity.value) }));
  }

  get value() {
    return this.#lines.length;
  }

  /** The number of lines is set by `resize`. */
  set value(_count) {}

  get initial() {
    return 1;
  }

  set issue(text) {
    this.#issue.textContent = text && (text === 'min:1' ? 'At least one line is needed.' : 'There are too many lines.');
    this.#issue.hidden = !text;
  }

  focus() {
    this.node.querySelector('button').focus();
  }

  resize(count = 1) {
    while (this.#lines.length < count) this.#add();
    while (this.#lines.length > count) this.#remove(this.#lines.at(-1));
  }

  #add() {
    const sku = new Field({ label: 'SKU', required: true, list: 'skus', autocapitalize: 'characters', spellcheck: 'false' });
    const quantity = new Field({ label: 'Quantity', type: 'number', min: 1, max: 2147483647, value: 1, required: true, inputmode: 'numeric' });
    const remove = iconButton('close', '', () => this.#remove(line, true));
    const line = { sku, quantity, remove, node: h('div.line', sku.node, quantity.node, remove) };
    this.#lines.push(line);
    this.#rows.append(line.node);
    this.#number();
    return line;
  }

  #remove(line, byUser = false) {
    this.#lines.splice(this.#lines.indexOf(line), 1);
    line.node.remove();
    this.#number();
    if (!byUser) return;
    this.#changed();
    this.focus();
  }

  /** The names of the fields are those of the error responses. */
  #number() {
    this.#lines.forEach(({ sku, quantity, remove }, index) => {
      sku.name = `items[${index}].sku`;
      quantity.name = `items[${index}].quantity`;
      remove.setAttribute('aria-label', `Remove line ${index + 1}`);
    });
  }
}
