// Forms that show the server's messages next to the fields and never lose the user's input.

import { button, fill, h } from './dom.js';
import { readDraft, saveDraft } from './store.js';

const CODES = { max: 'At most # characters', min: 'At least #', format: 'Write it as #' };

let serial = 0;

/** Returns the text of an issue. The services of orders and expenses send short codes. */
function issueText(issue) {
  const [code, value] = issue.split(':');
  return value && CODES[code] ? CODES[code].replace('#', value) : issue;
}

/** A labelled control with a hint and a message. `name` is the field's name in error responses. */
export class Field {
  #issue;
  #label;

  constructor({ name, label, type = 'text', value = '', hint, options, required, plain, ...attributes }) {
    const id = `field-${(serial += 1)}`;
    const isCheck = type === 'checkbox';
    Object.assign(this, { name, isCheck });
    this.#label = label;
    this.#issue = h('p.issue', { id: `${id}-issue`, hidden: true });
    const common = {
      id,
      name,
      'aria-describedby': `${hint ? `${id}-hint ` : ''}${id}-issue`,
      'aria-required': required && 'true',
      ...attributes,
      value: isCheck ? undefined : value,
    };
    if (type === 'select') this.input = h('select', common, options.map(([key, text]) => h('option', { value: key }, text)));
    else if (type === 'textarea') this.input = h('textarea', { rows: 3, ...common });
    else this.input = h('input', { ...common, type, checked: isCheck && value });
    const optional = !required && !plain && !isCheck && type !== 'select';
    const text = h('label', { for: id }, label, optional && h('span.optional', ' optional'));
    const about = hint && h('p.hint', { id: `${id}-hint` }, hint);
    this.node = h(`div.field${isCheck ? '.check' : ''}`, isCheck ? [this.input, text] : [text, this.input], about, this.#issue);
    this.input.addEventListener('input', () => (this.issue = ''));
    this.initial = this.value;
  }

  get value() {
    return this.isCheck ? this.input.checked : this.input.value;
  }

  set value(value) {
    this.input[this.isCheck ? 'checked' : 'value'] = value;
    this.issue = '';
  }

  /** The server names the field as its JSON does, or not at all. */
  set issue(text) {
    const label = this.#label;
    const named = text === 'required' ? `${label} is required` : text.replace(this.name?.split('.').at(-1), label);
    this.#issue.textContent = issueText(named);
    this.#issue.hidden = !text;
    this.input.setAttribute('aria-invalid', String(Boolean(text)));
  }

  focus() {
    this.input.focus();
  }
}

/** Returns an alert for an error without a field: what failed, and under which trace. */
export function errorAlert({ message, details = [], traceId }, retry) {
  const issues = details.map(({ field, issue }) => h('li', field ? `${field}: ` : '', issueText(issue)));
  return h(
    'div.alert',
    { role: 'alert', tabindex: -1 },
    h('p', message),
    issues.length > 0 && h('ul', issues),
    traceId && h('p.trace', 'Trace ', h('code', traceId)),
    retry && button('Try again', retry),
  );
}

const loads = new WeakMap();

/** Loads data into a node: a placeholder at first, then what `show` returns, or the error. */
export async function loadInto(node, load, show) {
  const current = load();
  loads.set(node, current);
  // The response of an earlier load may arrive later.
  const isCurrent = () => loads.get(node) === current;
  try {
    if (!node.childElementCount) fill(node, h('p.skeleton'));
    const data = await current;
    if (isCurrent()) fill(node, show(data));
  } catch (error) {
    if (isCurrent()) fill(node, errorAlert(error, () => loadInto(node, load, show)));
  }
}

/**
 * A form. `id` names its draft in this tab. `fields()` returns the current fields, `content` the
 * nodes in which they are placed. `send(values, button, changes)` sends the request, `changes` are the
 * values that the user has changed; `done(result)` or `failed(error)` is called after it. `submit` is the label of the button, or the buttons.
 */
export class Form {
  #alert = h('div.alerts');
  #options;

  constructor(options) {
    this.#options = options;
    const { id, submit, cancel, content, fields } = options;
    // A browser that is driven by a program changes a choice without an input event.
    const keep = () => saveDraft(id, this.changes);
    this.node = h(
      'form',
      { novalidate: true, autocomplete: 'off', onsubmit: (event) => this.#submit(event), oninput: keep, onchange: keep },
      this.#alert,
      content ?? fields().map(({ node }) => node),
      h('div.actions', typeof submit === 'string' ? h('button.primary', submit) : submit, cancel && button('Cancel', cancel)),
    );
    const draft = readDraft(id);
    if (draft && fields().length) this.#restore(draft);
  }

  /** Returns the values by the names of the fields. */
  #values(fields) {
    return Object.fromEntries(fields.map(({ name, value }) => [name, value]));
  }

  /** Others may change the rest of a record: a draft does not contain it. */
  get changes() {
    return this.#values(this.#options.fields().filter(({ value, initial }) => value !== initial));
  }

  /** Shows the input that was kept when the dialog was closed or the session expired. */
  #restore(draft) {
    const { id, fields, restore } = this.#options;
    restore?.(draft);
    for (const field of fields()) if (field.name in draft) field.value = draft[field.name];
    const discard = () => {
      saveDraft(id, null);
      restore?.({});
      for (const field of fields()) field.value = field.initial;
      fill(this.#alert);
    };
    fill(this.#alert, h('div.alert.info', { role: 'status' }, h('p', 'Your unsent input was kept.'), button('Discard', discard)));
  }

  async #submit(event) {
    event.preventDefault();
    const { id, fields, send, done, failed } = this.#options;
    if (this.node.ariaBusy === 'true') return;
    this.node.ariaBusy = 'true';
    for (const field of fields()) field.issue = '';
    saveDraft(id, this.changes);
    try {
      // The service could not read the body, and would name no field.
      const details = fields().filter(({ input }) => input?.max && !input.validity.valid).map(({ name, input }) => ({ field: name, issue: `Enter a whole number from 1 to ${input.max}` }));
      if (details.length) throw { message: 'The quantity is not valid.', details };
      const result = await send(this.#values(fields()), event.submitter, this.changes);
      saveDraft(id, null);
      fill(this.#alert);
      await done?.(result);
    } catch (error) {
      this.#show(error);
      failed?.(error);
    } finally {
      this.node.ariaBusy = 'false';
    }
  }

  /** Shows each issue at its field. All others, and the message, stand at the top. */
  #show(error) {
    const rest = [];
    let first;
    for (const detail of error.details ?? []) {
      const field = this.#options.fields().find(({ name }) => name === detail.field);
      if (field) field.issue = detail.issue;
      else rest.push(detail);
      first ??= field;
    }
    const alert = errorAlert({ ...error, message: error.message, details: rest });
    fill(this.#alert, alert);
    (first ?? alert).focus();
  }
}
