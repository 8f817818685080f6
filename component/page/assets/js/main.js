// The shell: head of the page, login, and the view of the place in the URL.

import { logOut, user as loggedIn } from './auth.js';
import { head as askHead } from './client.js';
import { announce, h, icon } from './dom.js';
import { show as showImage } from './image.js';
import { loginPanel } from './login.js';
import { problem, title } from './parts.js';
import { show as showRegistry } from './registry.js';
import { show as showRepositories } from './repositories.js';
import { go, parse, to } from './route.js';
import { show as showTags } from './tags.js';

const VIEWS = { repositories: showRepositories, tags: showTags, image: showImage, registry: showRegistry };

// Milliseconds after the last key until a search is asked for.
const TYPING = 200;

const main = document.getElementById('main');
const search = document.getElementById('q');
let head = null;
let current = null;
let place = '';

/** Shows the view of the URL. Of two at once, the later one wins. */
async function render() {
  current?.abort();
  current = new AbortController();
  const { signal } = current;
  const route = parse(location.hash);
  if (document.activeElement !== search) search.value = (route.view === 'repositories' && route.query.q) || '';
  main.setAttribute('aria-busy', 'true');
  try {
    if (!head) take(await askHead(signal));
    const view = await VIEWS[route.view](route, { head, signal, reload: render });
    if (signal.aborted) return;
    swap(view.node, `${route.view} ${route.name ?? route.under ?? ''} ${route.reference ?? route.tab ?? ''}`);
    document.title = `${view.title} – ${head.name}`;
    announce(view.said ?? view.title);
  } catch (failure) {
    if (signal.aborted) return;
    if (failure.status === undefined) console.error(failure);
    fail(failure);
  }
}

function fail(failure) {
  if (failure.status === 401) {
    logInHere(failure);
    return;
  }
  const shown = failure.status === undefined ? { status: 0, code: null, message: `The page failed: ${failure.message}` } : failure;
  const again = h('button', { type: 'button', on: { click: render } }, 'Try again');
  const home = h('a', { class: 'button', href: to.group() }, 'All repositories');
  swap(h('div', {}, title('This did not work'), problem(shown, h('div', { class: 'actions' }, again, home))), 'failure');
  document.title = 'Error – Roadstead';
}

function logInHere(failure) {
  current?.abort();
  const done = (answer) => {
    take(answer);
    render();
  };
  const cancel = head && !failure ? render : null;
  swap(loginPanel({ failure, user: loggedIn(), done, cancel }), 'login');
  main.querySelector('#user').focus();
  document.title = 'Log in – Roadstead';
}

/** Puts a view in place of the former one. Within the same place, the focus and a text that is being typed stay. */
function swap(node, newPlace) {
  const entered = place !== newPlace;
  const active = document.activeElement;
  const had = !entered && main.contains(active) && active.id ? active : null;
  main.removeAttribute('aria-busy');
  main.replaceChildren(node);
  if (had) {
    const now = document.getElementById(had.id);
    if (now && had.type === 'search') {
      now.value = had.value;
      now.setSelectionRange(had.selectionStart, had.selectionEnd);
    }
    (now ?? main).focus({ preventScroll: true });
  } else if (entered && place && document.activeElement !== search) {
    document.getElementById('title')?.focus({ preventScroll: true });
    window.scrollTo(0, 0);
  }
  place = newPlace;
  for (const [id, view] of [['to-repositories', newPlace.startsWith('registry') ? '' : 'on'], ['to-registry', newPlace.startsWith('registry') ? 'on' : '']]) {
    document.getElementById(id).toggleAttribute('data-on', view === 'on');
  }
}

/** Takes what the registry says of itself and of the user. */
function take(answer) {
  head = answer;
  document.querySelector('.brand span').textContent = head.name;
  const account = document.getElementById('account');
  const leave = () => {
    logOut();
    head = null;
    announce('Logged out');
    render();
  };
  account.replaceChildren();
  if (loggedIn()) {
    account.append(
      h('span', { class: 'user', title: `Logged in as ${head.user}` }, head.user),
      h('button', { type: 'button', class: 'plain', on: { click: leave } }, 'Log out'),
    );
  } else if (head.user) {
    account.append(h('span', { class: 'user' }, head.user));
  } else if (head.authentication !== 'none') {
    account.append(h('button', { type: 'button', class: 'plain', on: { click: () => logInHere(null) } }, 'Log in'));
  }
  if (head.read_only) account.prepend(h('span', { class: 'badge', title: 'This registry takes no pushes and deletes nothing' }, 'read-only'));
}

function themeSwitch() {
  const button = document.getElementById('theme');
  const dark = window.matchMedia('(prefers-color-scheme: dark)');
  const root = document.documentElement;
  const draw = () => {
    const now = root.dataset.theme ?? (dark.matches ? 'dark' : 'light');
    const other = now === 'dark' ? 'light' : 'dark';
    button.replaceChildren(icon(other));
    button.setAttribute('aria-label', `Switch to the ${other} theme`);
    button.title = `Switch to the ${other} theme`;
    button.onclick = () => {
      root.dataset.theme = other;
      try {
        localStorage.setItem('roadstead.theme', other);
      } catch {
        // Storage is turned off: the theme lasts until the page is left.
      }
      draw();
    };
  };
  dark.addEventListener('change', draw);
  draw();
}

function searching() {
  let timer = 0;
  const ask = () => {
    clearTimeout(timer);
    const already = parse(location.hash).query.q !== undefined;
    go(to.group('', { q: search.value.trim() }), { replace: already });
  };
  search.addEventListener('input', () => {
    clearTimeout(timer);
    timer = setTimeout(ask, TYPING);
  });
  document.getElementById('search').addEventListener('submit', (event) => {
    event.preventDefault();
    ask();
  });
  document.addEventListener('keydown', (event) => {
    const typing = event.target.closest?.('input, textarea, select, dialog');
    if (event.key === '/' && !typing && !event.ctrlKey && !event.metaKey && !event.altKey) {
      event.preventDefault();
      search.focus();
      search.select();
    } else if (event.key === 'ArrowDown' && event.target === search) {
      event.preventDefault();
      main.querySelector('tbody a')?.focus();
    }
  });
}

// The fragment of the URL is the place of the page, so this link must not change it.
document.querySelector('.skip').addEventListener('click', (event) => {
  event.preventDefault();
  main.focus();
});
themeSwitch();
searching();
window.addEventListener('hashchange', render);
render();
