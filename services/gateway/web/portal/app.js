// The portal: profile, picture, preferences and the apps of the user.

import { call, get, post, put } from '../shared/api.js';
import { avatar, button, fill, h, toast } from '../shared/dom.js';
import { Field, Form, errorAlert, loadInto } from '../shared/form.js';
import { time } from '../shared/format.js';
import { onRoute } from '../shared/router.js';
import { appsOf, showPage, signOut, start } from '../shared/shell.js';

const AVATAR = '/profile/me/avatar';
const IMAGE_TYPES = ['image/png', 'image/jpeg', 'image/webp'];
const MAX_IMAGE_BYTES = 2 * 1024 * 1024;

const ABOUT = {
  infinity: 'Leads, clients and orders',
  'warehouse-mobile': 'Scan and dispatch shipments',
  accounting: 'Expenses and decisions',
};

start({
  app: 'portal',
  run(me) {
    onRoute(() => {
      const profile = h('section.card', { 'aria-label': 'Profile' });
      loadInto(profile, () => get('/profile/me'), (data) => profileForm(data, me, profile));
      const side = h('div.stack', pictureCard(me), accountCard(me));
      const content = [tiles(me), h('div.columns', profile, side)];
      showPage({ title: `Hello, ${me.displayName}`, content });
    });
  },
});

function tiles(me) {
  const tile = (href, name, about) => h('a.card.tile', { href }, h('h2', name), h('p.muted', about));
  const others = appsOf(me).filter(({ id }) => id !== 'portal');
  const reference = tile('/api', 'API reference', 'Every route, with its bodies and errors');
  return h('nav.tiles', { 'aria-label': 'Your apps' }, others.map(({ id, href, name }) => tile(href, name, ABOUT[id])), reference);
}

function profileForm({ profile, preferences, updatedAt }, me, card) {
  const field = (name, label, more) => new Field({ name: `profile.${name}`, label, value: profile[name], ...more });
  const details = [
    field('fullName', 'Full name', { required: true, autocomplete: 'name' }),
    field('email', 'E-mail', { required: true, type: 'email', autocomplete: 'email' }),
    field('title', 'Job title', { autocomplete: 'organization-title' }),
    field('phone', 'Phone', { type: 'tel', autocomplete: 'tel' }),
  ];
  const choices = [
    new Field({
      name: 'preferences.defaultApp',
      label: 'Default app',
      type: 'select',
      options: appsOf({ apps: [...new Set([...me.apps, preferences.defaultApp])] }).map(({ id, name }) => [id, name]),
      value: preferences.defaultApp,
    }),
    new Field({
      name: 'preferences.notificationsEnabled',
      label: 'Notify me',
      type: 'checkbox',
      value: preferences.notificationsEnabled,
    }),
  ];
  const form = new Form({
    id: 'profile',
    fields: () => [...details, ...choices],
    content: [
      h('fieldset.pair', h('legend', 'Profile'), details.map(({ node }) => node)),
      h('fieldset.pair', h('legend', 'Preferences'), choices.map(({ node }) => node)),
    ],
    submit: 'Save profile',
    send: (values) => post('/profile/me', nested(values)),
    done: (saved) => {
      toast('Your profile was saved.');
      fill(card, profileForm(saved, me, card));
    },
  });
  return [form.node, h('p.hint', 'Last saved ', time(updatedAt))];
}

/** Returns the values of names such as `profile.fullName` as objects in an object. */
function nested(values) {
  const body = {};
  for (const [name, value] of Object.entries(values)) {
    const [group, key] = name.split('.');
    (body[group] ??= {})[key] = value;
  }
  return body;
}

function pictureCard(me) {
  let isUploaded = false;
  const refuse = (issue) => {
    reset();
    picker.issue = issue;
  };
  const onerror = () => preview.hidden || refuse('This file is not an image that the browser can show.');
  const preview = h('img.avatar.huge', { alt: 'Preview of the new picture', hidden: true, onerror });
  const current = avatar(me.userId, '.huge');
  current.alt = 'Your picture';
  const picker = new Field({ name: 'picture', label: 'Choose a picture', type: 'file', accept: IMAGE_TYPES.join(), plain: true, hint: 'PNG, JPEG or WebP, at most 2 MiB. It is cropped to a square.' });
  const alerts = h('div.alerts');
  const choose = () => {
    const [file] = picker.input.files;
    if (file && !IMAGE_TYPES.includes(file.type)) return refuse('Choose a PNG, JPEG or WebP file.');
    if (file?.size > MAX_IMAGE_BYTES) return refuse('Choose a file of at most 2 MiB.');
    URL.revokeObjectURL(preview.src);
    if (file) preview.src = URL.createObjectURL(file);
    preview.hidden = save.hidden = cancel.hidden = !file;
    current.hidden = Boolean(file);
    remove.hidden = Boolean(file) || !isUploaded;
    fill(alerts);
  };
  const reset = () => {
    picker.value = '';
    choose();
    // The button that was used is hidden now.
    picker.focus();
  };
  const attempt = async (uploads, request, message) => {
    save.disabled = remove.disabled = true;
    try {
      await request();
      isUploaded = uploads;
      reset();
      reloadPictures(me.userId);
      toast(message);
    } catch (error) {
      picker.issue = error.details?.[0]?.issue ?? error.message;
      if (error.traceId) fill(alerts, errorAlert({ message: 'The picture was not changed.', traceId: error.traceId }));
      picker.focus();
    } finally {
      save.disabled = remove.disabled = false;
    }
  };
  const save = button('Save picture', () => attempt(true, () => put(AVATAR, picker.input.files[0]), 'Your picture was saved.'), '.primary', { hidden: true });
  const cancel = button('Cancel', reset, '', { hidden: true });
  const remove = button('Remove picture', () => attempt(false, () => call('DELETE', AVATAR), 'Your picture was removed.'), '.danger', { hidden: true });
  picker.input.addEventListener('change', choose);
  hasUpload().then((value) => {
    isUploaded = value;
    if (!picker.input.files.length) remove.hidden = !value;
  });
  return h('section.card', { 'aria-label': 'Picture' }, h('h2', 'Picture'), alerts, h('div.who', current, preview), picker.node, h('div.actions', save, cancel, remove));
}

/** Returns whether the user has uploaded a picture: the default one is an SVG. */
async function hasUpload() {
  const response = await fetch(`/api/v1${AVATAR}`, { cache: 'no-cache' }).catch(() => null);
  return response?.headers.get('content-type') === 'image/png';
}

/** Loads the pictures of the user again: the browser may show a stored one for a minute. */
function reloadPictures(userId) {
  for (const image of document.querySelectorAll('img.avatar')) {
    if (image.dataset.user === userId) image.src = `${image.src.split('?')[0]}?v=${Date.now()}`;
  }
}

/** The roles that Keycloak gives to every user. */
const KEYCLOAK_ROLE = /^(offline_access|uma_authorization|default-roles-.*)$/;

function accountCard(me) {
  const roles = me.roles.filter((role) => !KEYCLOAK_ROLE.test(role)).join(', ');
  return h(
    'section.card',
    { 'aria-label': 'Account' },
    h('h2', 'Account'),
    h('p', 'Signed in as ', h('strong.id', me.userId), '.'),
    roles && h('p.muted', roles),
    h('div.actions', button('Sign out', () => signOut()), button('Sign out everywhere', () => signOut(true), '.danger')),
  );
}
