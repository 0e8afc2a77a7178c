// The WUPHF bell: notifications of the user, with the number of unread ones.

import { checkUser, get, isInUse, post, query } from './api.js';
import { button, fill, h, icon, toast } from './dom.js';
import { errorAlert } from './form.js';
import { time } from './format.js';

const POLL_MS = 20_000;
const PAGE = 20;

/** Returns the bell's button and its panel. */
export function createBell() {
  let unread;
  let items = [];
  let cursor;

  const bubble = h('span.bubble', { 'aria-hidden': 'true' });
  const bell = button([icon('bell'), bubble], null, '.quiet.square', { popovertarget: 'notifications' });
  const all = button('Mark all as read', () => readAll(), '.quiet');
  const list = h('ul.notifications');
  const below = h('div.below');
  const onToggle = (event) => event.newState === 'open' && load();
  const panel = h('div.menu.panel', { popover: true, id: 'notifications', tabindex: -1, role: 'region', 'aria-label': 'Notifications', ontoggle: onToggle }, h('div.head', h('h2', 'WUPHF'), all), list, below);

  const setUnread = (value) => {
    unread = Math.max(0, value);
    bubble.hidden = all.hidden = !unread;
    bubble.textContent = unread > 99 ? '99+' : unread;
    bell.ariaLabel = `Notifications${unread ? `, ${bubble.textContent} unread` : ''}`;
  };
  const report = (error) => toast(error.message, { error: true });

  const poll = async () => {
    if (!isInUse()) return;
    const count = () => get(`/notifications${query({ unreadOnly: true, limit: 1 })}`, { stay: true });
    const page = await checkUser().then(count).catch(() => null);
    if (!page) return;
    const news = page.total - (unread ?? page.total);
    setUnread(page.total);
    if (news > 0) toast(news === 1 ? 'You have a new notification.' : `You have ${news} new notifications.`);
    if (news > 0 && panel.matches(':popover-open')) load();
  };

  const load = async (more = false) => {
    try {
      const page = await get(`/notifications${query({ limit: PAGE, order: 'newest', cursor: more && cursor })}`);
      items = more ? [...items, ...page.items] : page.items;
      cursor = page.nextCursor;
      render();
    } catch (error) {
      fill(below, errorAlert(error, () => load(more)));
    }
  };

  const render = () => {
    fill(list, items.map(row));
    fill(below, !items.length && h('p.empty', 'No notifications yet.'), cursor && button('Show earlier', () => load(true)));
  };

  const row = (item) => {
    const mark = !item.isRead && button('Mark as read', () => read(item).catch(report), '.quiet', { 'aria-label': `Mark as read: ${item.title}` });
    const title = h('strong', !item.isRead && h('span.hidden', 'Unread: '), item.title);
    const link = h('a', { href: item.deepLink, onclick: (event) => open(event, item) }, title, h('span', item.body));
    return h(`li${item.isRead ? '' : '.unread'}`, link, h('div', time(item.createdAt), mark));
  };

  const read = async (item) => {
    if (item.isRead) return;
    const saved = await post(`/notifications/${encodeURIComponent(item.notificationId)}/read`);
    items = items.map((other) => (other.notificationId === saved.notificationId ? saved : other));
    setUnread(unread - 1);
    render();
  };

  const readAll = async () => {
    all.disabled = true;
    try {
      for (let more = true; more; ) {
        const page = await get('/notifications?unreadOnly=true&limit=100');
        for (const item of page.items) await read(item);
        more = page.nextCursor;
      }
    } catch (error) {
      report(error);
    }
    all.disabled = false;
    // The button has lost it: it was disabled.
    panel.focus();
  };

  /** The link is followed after the notification was marked, whether or not that succeeded. */
  const open = async (event, item) => {
    if (event.metaKey || event.ctrlKey || event.shiftKey) return;
    event.preventDefault();
    const { href } = event.currentTarget;
    await read(item).catch(() => {});
    location.assign(href);
  };

  setUnread(0);
  unread = undefined;
  setInterval(poll, POLL_MS);
  document.addEventListener('visibilitychange', poll);
  poll();
  return [bell, panel];
}
