// Dates, numbers and statuses as text. The apps are in English, and so are their formats.

import { h } from './dom.js';

export const LOCALE = 'en-US';
const RELATIVE = new Intl.RelativeTimeFormat(LOCALE, { numeric: 'auto', style: 'short' });
const INSTANT = new Intl.DateTimeFormat(LOCALE, { dateStyle: 'medium', timeStyle: 'short' });
const DAY = new Intl.DateTimeFormat(LOCALE, { dateStyle: 'medium', timeZone: 'UTC' });
const UNITS = [['second', 60], ['minute', 60], ['hour', 24], ['day', 7]];

export const number = (value) => value.toLocaleString(LOCALE);

/** Returns a calendar date, such as a ship date, as an element. */
export function day(date) {
  return h('time', { datetime: date }, DAY.format(new Date(date)));
}

/** Returns an instant as an element: relative for a week, then absolute. */
export function time(instant) {
  return h('time', { datetime: instant, title: INSTANT.format(new Date(instant)) }, relative(instant));
}

function relative(instant) {
  const date = new Date(instant);
  let age = Math.max(0, Date.now() - date) / 1000;
  if (age < 10) return 'just now';
  for (const [unit, size] of UNITS) {
    if (age < size) return RELATIVE.format(-Math.trunc(age), unit);
    age /= size;
  }
  return INSTANT.format(date);
}

setInterval(() => {
  for (const node of document.querySelectorAll('time[title]')) node.textContent = relative(node.dateTime);
}, 30_000);

const TONES = {
  info: ['NEW', 'CREATED', 'RESERVED', 'LOADING'],
  warn: ['CONTACTED', 'PICKING', 'PENDING'],
  good: ['QUALIFIED', 'CONVERTED', 'SHIPPED', 'APPROVED', 'DISPATCHED'],
  bad: ['FAILED_INSUFFICIENT_STOCK', 'REJECTED', 'FAILED'],
};

/** Returns the name of a status for people. */
export function statusLabel(status) {
  if (status === 'FAILED_INSUFFICIENT_STOCK') return 'Insufficient stock';
  return status.charAt(0) + status.slice(1).toLowerCase();
}

/** Returns the options of a select for statuses. */
export const statusOptions = (statuses) => statuses.map((status) => [status, statusLabel(status)]);

/** Returns a status as a label whose colour repeats what its text says. */
export function badge(status) {
  const tone = Object.keys(TONES).find((name) => TONES[name].includes(status));
  return h(`span.badge${tone ? `.${tone}` : ''}`, statusLabel(status));
}
