// The frame of every app: apps, views, notifications, user, theme, sign-out.

import { checkUser, get, setUser, signIn } from './api.js';
import { createBell } from './bell.js';
import { avatar, button, fill, h, icon, openDialog, toast } from './dom.js';
import { errorAlert } from './form.js';
import { go } from './router.js';
import { KNOWN_USER, Settings } from './store.js';

const NAMES = { portal: 'Portal', infinity: 'Infinity', 'warehouse-mobile': 'Warehouse', accounting: 'Accounting' };
const APPS = Object.entries(NAMES).map(([id, name]) => ({ id, name, href: `/${name.toLowerCase()}` }));

const THEMES = ['system', 'light', 'dark'];

/** The title of the page as it is served is the name of its app. */
const APP = document.title;

const region = (id) => document.getElementById(id);

/** Returns the apps of a user. */
export const appsOf = (me) => APPS.filter(({ id }) => me.apps.includes(id));

/**
 * Fills the frame and calls `run(me, settings)` with the user and the user's settings of the app.
 * With `offline` the app also starts without the gateway, for the user of the last visit.
 */
export async function start({ app, offline = false, run }) {
  try {
    const [me, settings] = await Promise.all([currentUser(offline), Settings.open(app)]);
    setUser(me.userId);
    watchUser();
    fillHeader(app, me, settings);
    await run(me, settings);
  } catch (error) {
    // The login replaces this page.
    if (error.status !== 401) fill(region('main'), errorAlert(error, () => location.reload()));
  }
}

async function currentUser(offline) {
  const known = JSON.parse(localStorage.getItem(KNOWN_USER));
  try {
    const me = await get('/auth/me');
    if (offline) localStorage.setItem(KNOWN_USER, JSON.stringify(me));
    // The former user did not sign out.
    else if (known?.userId !== me.userId) localStorage.removeItem(KNOWN_USER);
    return me;
  } catch (error) {
    if (!offline || !error.isTemporary || !known) throw error;
    return known;
  }
}

/** Another tab may have signed out, or signed in another user. */
function watchUser() {
  const check = () => document.hidden || checkUser().catch(() => {});
  addEventListener('focus', check);
  document.addEventListener('visibilitychange', check);
  // The back button shows a page as it was left, perhaps by a user who has signed out since then.
  addEventListener('pageshow', ({ persisted }) => persisted && location.reload());
  // No redirect: it would sign in again at once while the session of the identity provider lasts.
  addEventListener('sessionend', () => toast('Your session has ended.', { error: true, action: button('Sign in', signIn, '.quiet') }), { once: true });
}

function fillHeader(app, me, settings) {
  const links = () => appsOf(me).map(({ id, name, href }) => h('a', { href, 'aria-current': id === app && 'page' }, name));
  const user = button(avatar(me.userId), null, '.quiet.user', { popovertarget: 'user', 'aria-label': `Account of ${me.displayName}` });
  const menu = h(
    'div.menu.panel',
    { popover: true, id: 'user', role: 'region', 'aria-label': 'Account' },
    h('div.head', avatar(me.userId, '.large'), h('div', h('h2', me.displayName), h('p.muted', me.userId))),
    h('nav.narrow', { 'aria-label': 'Apps' }, links()),
    themeChoice(app === 'portal' ? settings : Settings.open('portal')),
    h(
      'div.links',
      h('a', { href: '/portal' }, 'Profile and picture'),
      h('a', { href: '/api' }, 'API reference'),
      button('Sign out', () => signOut(), '.quiet'),
      button('Sign out everywhere', () => signOut(true), '.quiet'),
    ),
  );
  fill(region('apps'), links());
  fill(region('tools'), createBell(), user, menu);
}

/** Signs out. Without a connection the session would not end, so that nothing is done. */
export async function signOut(everywhere) {
  region('user').hidePopover();
  const isReachable = async () => {
    const { isTemporary } = await get('/auth/me', { stay: true }).catch((error) => error);
    if (isTemporary) toast('You are offline: signing out needs a connection.', { error: true });
    return !isTemporary;
  };
  // Not one of the modules that every app loads.
  if (await isReachable()) (await import('../warehouse/database.js')).signOut(everywhere, isReachable);
}

/** The theme is one for all apps: it is in the settings of the portal, and here for the next first paint. */
function themeChoice(settings) {
  const root = document.documentElement;
  const choose = async ({ target }) => {
    show(target.value);
    (await settings).set('theme', target.value);
  };
  const inputs = THEMES.map((value) => h('input', { type: 'radio', name: 'theme', value, onchange: choose }));
  const show = (theme) => {
    for (const input of inputs) input.checked = input.value === theme;
    root.dataset.theme = theme;
    localStorage.setItem('dm.theme', theme);
  };
  Promise.resolve(settings).then((portal) => show(portal.get('theme', root.dataset.theme ?? 'system')));
  return h('fieldset.segments', h('legend', 'Theme'), inputs.map((input) => h('label', input, input.value)));
}

/** Opens a drawer for the current address. Closing it leads to the address `back`. */
export function openDrawer({ title, back, content }) {
  const opened = location.search;
  const closed = () => location.search === opened && go(back, true);
  return openDialog({ title, kind: 'drawer', content, closed });
}

/** Shows the views of an app as links; `current` is the address of the shown one. */
export function showViews(views, current) {
  fill(region('views'), views.map(([href, label]) => h('a', { href, 'aria-current': href === current && 'page' }, label)));
}

/** Shows a view: title, what stands beside it, actions, content. `back` is the link above. */
export function showPage({ title, beside, actions, back, content }) {
  const isFirst = !document.querySelector('.page-head');
  const heading = h('h1', { tabindex: -1 }, title);
  const up = back && h('a.back', { href: back.href }, icon('next'), back.label);
  document.title = `${title} · ${APP}`;
  // A dialog belongs to the view below it.
  for (const dialog of document.querySelectorAll('dialog')) dialog.close();
  fill(region('main'), h('header.page-head', h('div', up, h('div.who', heading, beside)), h('div.actions', actions)), content);
  scrollTo(0, 0);
  // The first view is where a reader begins anyway.
  if (!isFirst) heading.focus({ preventScroll: true });
}
