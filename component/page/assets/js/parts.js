// Parts that several views have.

import { announce, append, h, icon } from './dom.js';
import { advice } from './help.js';
import { digest } from './text.js';
import { to } from './route.js';

/** A heading of a view. It takes the focus when the view is entered. */
export function title(...children) {
  return h('h1', { id: 'title', tabindex: '-1' }, children);
}

/** Where a repository is: each group a link. */
export function crumbs(name, last = null) {
  const groups = name.split('/');
  const end = groups.pop();
  const links = groups.map((group, at) => [group, to.group(`${groups.slice(0, at + 1).join('/')}/`)]);
  const items = [['All repositories', to.group()], ...links];
  if (last !== null) items.push([end, to.repository(name)]);
  return trail(items, last ?? end);
}

/** Where a group is: `under` ends with "/". */
export function groupCrumbs(under) {
  const groups = under.split('/').slice(0, -1);
  const end = groups.pop();
  const items = groups.map((group, at) => [group, to.group(`${groups.slice(0, at + 1).join('/')}/`)]);
  return trail([['All repositories', to.group()], ...items], end);
}

function trail(items, end) {
  return h(
    'nav',
    { class: 'crumbs', 'aria-label': 'Breadcrumbs' },
    h(
      'ol',
      {},
      items.map(([text, href]) => h('li', {}, h('a', { href }, text))),
      h('li', { 'aria-current': 'page' }, end),
    ),
  );
}

/** A button that copies a text, and says so. */
export function copyButton(text, label) {
  const button = h('button', { type: 'button', class: 'plain copy', 'aria-label': label, title: label }, icon('copy'));
  button.addEventListener('click', async () => {
    const copied = await copy(text);
    announce(copied ? 'Copied' : 'The browser does not allow copying');
    if (!copied) return;
    button.replaceChildren(icon('check'));
    setTimeout(() => button.replaceChildren(icon('copy')), 1500);
  });
  return button;
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // Over plain HTTP, browsers have no clipboard, but still the old command. In a dialog that is
    // open, nothing outside of it can be selected.
    const field = h('textarea', { class: 'hidden', 'aria-hidden': 'true' });
    field.value = text;
    const had = document.activeElement;
    (document.querySelector('dialog[open]') ?? document.body).append(field);
    field.select();
    const copied = document.execCommand('copy');
    field.remove();
    had?.focus();
    return copied;
  }
}

export function digestWithCopy(text) {
  return h('span', { class: 'joined' }, digest(text), copyButton(text, `Copy the digest ${text}`));
}

/** What a view is when there is nothing to show. */
export function empty(text, ...more) {
  return h('div', { class: 'empty' }, h('p', {}, text), more);
}

/** An error of the registry: code, message, and what to do. */
export function problem(failure, ...more) {
  const retry = failure.retryAfter ? ` The registry asks to wait for ${failure.retryAfter} s.` : '';
  return h(
    'div',
    { class: 'problem', role: 'alert' },
    h('p', { class: 'problem-code' }, [failure.status || null, failure.code].filter(Boolean).join(' ') || 'No answer'),
    h('p', { class: 'problem-message' }, failure.message),
    h('p', {}, advice(failure), retry),
    more,
  );
}

/** A table with a caption for screen readers. Columns are {text, class, sort}; rows are `tr` elements. */
export function table({ id, caption, columns, rows, className = '' }) {
  const heads = columns.map(({ text, class: name = '', sort, hidden }) =>
    h('th', { scope: 'col', class: name, 'aria-sort': sort }, hidden ? h('span', { class: 'hidden' }, hidden) : text),
  );
  return h(
    'div',
    { class: 'table' },
    h(
      'table',
      { id, class: className },
      h('caption', { class: 'hidden' }, caption),
      h('thead', {}, h('tr', {}, heads)),
      h('tbody', {}, rows),
    ),
  );
}

/** Names and values; those without a value are left out. */
export function facts(pairs) {
  const given = pairs.filter(([, value]) => value !== null && value !== undefined && value !== '');
  return h(
    'dl',
    { class: 'facts' },
    given.map(([name, value]) => h('div', {}, h('dt', {}, name), h('dd', {}, value))),
  );
}

export function section(heading, ...children) {
  return h('section', { class: 'panel' }, h('h2', {}, heading), children);
}

/** Links between parts of a view. `items` are [text, href, current]. */
export function tabs(label, items) {
  return h(
    'nav',
    { class: 'tabs', 'aria-label': label },
    h(
      'ul',
      {},
      items.map(([text, href, current]) => h('li', {}, h('a', { href, 'aria-current': current ? 'page' : null }, text))),
    ),
  );
}

/** Links to other pages of a list. */
export function pager(label, items) {
  const given = items.filter(Boolean);
  if (!given.length) return null;
  const nav = h('nav', { class: 'pager', 'aria-label': label });
  append(
    nav,
    given.map(({ text, href, current, id, name }) => {
      if (current) return h('span', { 'aria-current': 'page' }, text);
      return href ? h('a', { id, href, 'aria-label': name }, text) : h('span', { class: 'muted' }, text);
    }),
  );
  return nav;
}

/** A stored text that may be a web address: a link only if it is one of http or https. */
export function linked(text) {
  if (!/^https?:\/\/[^\s]+$/i.test(text)) return text;
  return h('a', { href: text, rel: 'noopener noreferrer', target: '_blank' }, text);
}

/** Names and values as they are stored, in a table. */
export function pairs(heading, entries) {
  return section(
    heading,
    table({
      caption: heading,
      className: 'pairs',
      columns: [{ text: 'Name' }, { text: 'Value' }],
      rows: entries.map(([name, value]) => h('tr', {}, h('th', { scope: 'row' }, h('code', {}, name)), h('td', {}, linked(String(value))))),
    }),
  );
}
