// Repositories: a level of the tree, or those whose names have what is searched for.

import { repositories } from './client.js';
import { h, icon } from './dom.js';
import { empty, groupCrumbs, pager, table, title } from './parts.js';
import { to } from './route.js';
import { NOT_KNOWN, bytes, count, many, time } from './text.js';

const PAGE = 100;

// Where the page before each page began: lists go forward only, and this is the way back.
const before = new Map();

export async function show(route, { head, signal }) {
  const { under } = route;
  const { q, last } = route.query;
  if (!head.can.catalog) return withoutList();
  const answer = await repositories({ under: q ? undefined : under, q, last, n: PAGE }, signal);
  const name = q ? `Search for “${q}”` : under ? under.replace(/\/$/, '') : 'Repositories';
  const least = answer.complete === false ? 'at least ' : '';
  const said = least + (q ? many(answer.total, 'repository matches', 'repositories match') : many(answer.total, 'repository', 'repositories'));
  const node = h(
    'div',
    {},
    under && !q ? groupCrumbs(under) : null,
    h('div', { class: 'heading' }, title(name), h('p', { class: 'muted', id: 'matches' }, said)),
    answer.entries.length ? list(answer, q ? '' : under, q) : nothing(q, under),
    pages(route, answer),
  );
  return { node, title: name, said: `${name}: ${said}` };
}

function list(answer, under, q) {
  const largest = Math.max(...answer.entries.map((entry) => entry.size ?? 0), 1);
  return table({
    className: 'tree',
    caption: q ? 'Repositories that match' : 'Groups and repositories',
    columns: [
      { text: 'Name' },
      { text: 'Tags', class: 'number' },
      { text: 'Size', class: 'number wide' },
      { text: h('span', { title: 'What others of this list hold too' }, 'Shared'), class: 'number wide' },
      { text: 'Last push', class: 'wide' },
    ],
    rows: answer.entries.map((entry) => row(entry, under, q, largest)),
  });
}

function row(entry, under, q, largest) {
  const text = entry.name.slice(under.length);
  const group = entry.kind === 'group';
  const href = group ? to.group(entry.name) : to.repository(entry.name);
  return h(
    'tr',
    {},
    h(
      'th',
      { scope: 'row' },
      h('a', { class: 'entry', href }, icon(group ? 'group' : 'repository'), h('span', {}, q ? marked(text, q) : text)),
      ' ',
      group ? h('span', { class: 'small muted' }, many(entry.repositories, 'repository', 'repositories')) : null,
      h('span', { class: 'narrow small muted' }, entry.size === null ? null : `${bytes(entry.size)} · `, entry.pushed ? time(entry.pushed) : null),
    ),
    h('td', { class: 'number' }, entry.complete === false && entry.size !== null ? `≥ ${count(entry.tags)}` : count(entry.tags)),
    h('td', { class: 'number wide' }, bytes(entry.size), entry.size ? bar(entry, largest) : null),
    h('td', { class: 'number wide muted' }, shared(entry)),
    h('td', { class: 'wide' }, time(entry.pushed)),
  );
}

function shared({ size, shared: both }) {
  if (both === null || both === undefined || size === null) return NOT_KNOWN;
  return both === 0 ? 'none' : bytes(both);
}

/** How large it is beside the largest of the list, and how much of that others hold too. */
function bar({ size, shared: both }, largest) {
  const share = (part) => `${Math.max(0, Math.min(100, (100 * part) / largest))}%`;
  return h(
    'span',
    { class: 'bar', 'aria-hidden': 'true' },
    h('i', { style: { width: share(size - (both ?? 0)) } }),
    h('i', { class: 'both', style: { width: share(both ?? 0) } }),
  );
}

/** A name with what was searched for marked in it. */
function marked(name, q) {
  const at = name.toLowerCase().indexOf(q.toLowerCase());
  if (at < 0) return name;
  return [name.slice(0, at), h('mark', {}, name.slice(at, at + q.length)), name.slice(at + q.length)];
}

function nothing(q, under) {
  if (q) return empty(`No repository that you may see has “${q}” in its name.`, h('a', { class: 'button', href: to.group() }, 'All repositories'));
  if (under) return empty('There are no repositories here.', h('a', { class: 'button', href: to.group() }, 'All repositories'));
  return empty(
    'This registry has no repositories yet, or none that you may see. Push an image, and it appears here:',
    h('pre', {}, `docker tag app ${location.host}/team/app:1.0\ndocker push ${location.host}/team/app:1.0`),
  );
}

function pages({ under, query }, { next, total }) {
  const { q, last } = query;
  const at = (value) => to.group(q ? '' : under, { q, last: value });
  const key = (value) => at(value);
  if (next) before.set(key(next), last ?? null);
  const back = before.get(key(last));
  return pager('Pages', [
    last && { text: 'First', href: at() },
    last && back !== undefined && { text: '← Previous', href: at(back), id: 'previous' },
    next && { text: 'Next →', href: at(next), id: 'next' },
    (last || next) && { text: `${PAGE} at a time, ${count(total)} in all` },
  ]);
}

/** For users who may pull but not list: they know the names. */
function withoutList() {
  const field = h('input', { id: 'name', type: 'text', placeholder: 'team/app', autocomplete: 'off', spellcheck: 'false', required: true });
  const submit = (event) => {
    event.preventDefault();
    location.hash = to.repository(field.value.trim());
  };
  const node = h(
    'div',
    {},
    title('Repositories'),
    empty(
      'You may not list the repositories of this registry. You can open one whose name you know.',
      h('form', { class: 'line', on: { submit } }, h('label', { for: 'name', class: 'hidden' }, 'Name of a repository'), field, h('button', { class: 'primary' }, 'Open')),
    ),
  );
  return { node, title: 'Repositories' };
}
