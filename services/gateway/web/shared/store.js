// What an app remembers: settings at the gateway, and unsent input in this tab.

import { get, put, userId } from './api.js';

/** The key of the user of the last visit, for the time without a connection. */
export const KNOWN_USER = 'dm.me';

const SAVE_DELAY_MS = 500;
const MAX_TRIES = 3;

/** The settings of the user for one app. Without a connection they last as long as the page. */
export class Settings {
  #path;
  #version = 0;
  #values = {};
  #changed = {};
  #timer;

  /** Reads the settings. */
  static async open(app) {
    const settings = new Settings();
    settings.#path = `/profile/me/apps/${app}/settings`;
    addEventListener('pagehide', () => settings.#timer && settings.#save(true));
    await settings.#read().catch(() => {});
    return settings;
  }

  get(name, fallback) {
    return this.#values[name] ?? fallback;
  }

  set(name, value) {
    this.#values[name] = value;
    this.#changed[name] = value;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#save(), SAVE_DELAY_MS);
  }

  async #read() {
    const { version, settings } = await get(this.#path, { stay: true });
    this.#version = version;
    this.#values = { ...settings, ...this.#changed };
  }

  /** Another tab or device may have saved first: its version is read and our changes go on top. */
  async #save(keepalive = false) {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    for (let attempt = 0; attempt < MAX_TRIES; attempt += 1) {
      try {
        const body = { version: this.#version, settings: this.#values };
        const { version } = await put(this.#path, body, { stay: true, keepalive });
        this.#version = version;
        // A change during the request has its own timer.
        if (!this.#timer) this.#changed = {};
        return;
      } catch (error) {
        if (error.code !== 'VERSION_CONFLICT') return;
        await this.#read().catch(() => {});
      }
    }
  }
}

/** The drafts of another user of this tab are not shown. */
const draftKey = (id) => `dm.draft.${userId}.${id}`;

/** Keeps values as the draft `id`; `null`, or no values, removes it. Without storage nothing is kept. */
export function saveDraft(id, values) {
  try {
    if (Object.keys(values ?? {}).length) sessionStorage.setItem(draftKey(id), JSON.stringify(values));
    else sessionStorage.removeItem(draftKey(id));
  } catch {
    // Storage is full or blocked: the input is still on the page.
  }
}

/** Returns the values of a draft, or `null`. */
export function readDraft(id) {
  try {
    return JSON.parse(sessionStorage.getItem(draftKey(id)));
  } catch {
    return null;
  }
}
