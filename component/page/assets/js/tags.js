// The tags of a repository: sorted, filtered and paged by the registry.

import { tags } from './client.js';
import { openDeletion } from './deletion.js';
import { announce, h, icon } from './dom.js';
import { crumbs, digestWithCopy, empty, pager, table, title } from './parts.js';
import { go, to } from './route.js';
import { NOT_KNOWN, bytes, count, many, time } from './text.js';

const PAGE = 100;
// As many as a preview of a deletion may name.
const SELECTED = 100;
const TYPING = 200;
// Platforms that a line has room for.
const PLATFORMS = 3;

// What is selected, by repository: it stays while pages, order and filter change.
const selections = new Map();

export async function show(route, context) {
  const { name } = route;
  const { q = '', sort = 'pushed', page = '1' } = route.query;
  const order = route.query.order ?? defaultOrder(sort);
  const number = Math.max(1, Number.parseInt(page, 10) || 1);
  const asked = { sort, order, q, offset: (number - 1) * PAGE, n: PAGE };
  const answer = await tags(name, asked, context.signal);
  const said = q ? `${count(answer.matching)} of ${many(answer.total, 'tag')}` : many(answer.total, 'tag');
  const selection = new Selection(name, answer.can.delete && context.head.can.delete, context.reload);
  const node = h(
    'div',
    {},
    crumbs(name),
    h('div', { class: 'heading' }, title(name.split('/').pop()), h('p', { class: 'muted' }, said)),
    tools(route, q),
    incomplete(answer, sort),
    answer.tags.length ? list(route, answer, selection, { sort, order }) : nothing(q),
    pages(route, number, answer.matching),
    selection.bar,
  );
  selection.draw();
  return { node, title: name, said: `${name}: ${said}` };
}

/** What an order is worth where looking at all tags would take too long. */
function incomplete({ complete, sorted_by: by }, sort) {
  if (complete !== false) return null;
  const said = by === sort ? 'Not all tags could be looked at; those that were not come last.' : `This repository has too many tags for this order: they are sorted by ${by}.`;
  return h('p', { class: 'note' }, said);
}

const defaultOrder = (sort) => (sort === 'name' ? 'asc' : 'desc');

function tools({ name, query }, q) {
  let timer = 0;
  const input = (event) => {
    clearTimeout(timer);
    const { value } = event.target;
    timer = setTimeout(() => go(to.repository(name, { ...query, q: value.trim(), page: '' }), { replace: true }), TYPING);
  };
  const field = h('input', { id: 'filter', type: 'search', placeholder: 'Filter tags', autocomplete: 'off', spellcheck: 'false', maxlength: '128', on: { input } });
  field.value = q;
  return h('div', { class: 'tools' }, h('label', { for: 'filter', class: 'hidden' }, 'Filter tags'), field);
}

function list(route, answer, selection, sorted) {
  const column = (text, key, className = '') => {
    const on = sorted.sort === key;
    const order = on ? (sorted.order === 'asc' ? 'desc' : 'asc') : defaultOrder(key);
    const link = h(
      'a',
      { class: 'sort', id: `sort-${key}`, href: to.repository(route.name, { ...route.query, sort: key, order, page: '' }) },
      text,
      on ? icon(sorted.order === 'asc' ? 'up' : 'down') : null,
    );
    return { text: link, class: className, sort: on ? (sorted.order === 'asc' ? 'ascending' : 'descending') : null };
  };
  const columns = [
    column('Tag', 'name'),
    { text: 'Digest', class: 'wide' },
    { text: 'Platforms', class: 'wide' },
    column('Size', 'size', 'number'),
    column('Pushed', 'pushed', 'wide'),
    { text: 'Last pull', class: 'wide' },
  ];
  if (selection.allowed) columns.unshift({ text: selection.all(answer.tags), class: 'check' });
  return table({
    id: 'tags',
    caption: `Tags of ${route.name}`,
    columns,
    rows: answer.tags.map((tag) => row(route.name, tag, selection)),
  });
}

function row(name, tag, selection) {
  const immutable = tag.immutable
    ? h('span', { class: 'badge', title: 'This tag is immutable: it cannot be moved to another image' }, icon('lock'), 'immutable')
    : null;
  const same = tag.same ? h('span', { class: 'badge', title: 'Other tags of this repository that lead to the same image' }, `+ ${many(tag.same, 'tag')}`) : null;
  return h(
    'tr',
    {},
    selection.allowed ? h('td', { class: 'check' }, selection.box(tag)) : null,
    h(
      'th',
      { scope: 'row' },
      h('a', { class: 'entry', href: to.image(name, tag.name) }, h('span', {}, tag.name)),
      ' ',
      immutable,
      same,
      h('span', { class: 'narrow small muted' }, time(tag.pushed)),
    ),
    h('td', { class: 'wide' }, digestWithCopy(tag.digest)),
    h('td', { class: 'wide' }, platforms(tag)),
    h('td', { class: 'number' }, bytes(tag.size)),
    h('td', { class: 'wide' }, time(tag.pushed)),
    h('td', { class: 'wide' }, time(tag.pulled)),
  );
}

function platforms({ platforms: all, artifact_type: type }) {
  if (!all?.length) return type ? h('span', { class: 'chip', title: type }, type) : h('span', { class: 'muted' }, NOT_KNOWN);
  const more = all.length - PLATFORMS;
  return [
    // Nearly all are of Linux, and lines are short.
    all.slice(0, PLATFORMS).map((platform) => h('span', { class: 'chip', title: platform }, platform.replace(/^linux\//, ''))),
    more > 0 ? h('span', { class: 'chip', title: all.slice(PLATFORMS).join(', ') }, `+ ${more}`) : null,
  ];
}

function nothing(q) {
  return q ? empty(`No tag has “${q}” in its name.`) : empty('This repository has no tags. Its manifests can be pulled by digest.');
}

function pages({ name, query }, number, matching) {
  const last = Math.max(1, Math.ceil(matching / PAGE));
  if (last === 1) return null;
  const at = (page) => to.repository(name, { ...query, page: page === 1 ? '' : page });
  const near = [1, number - 1, number, number + 1, last].filter((page) => page >= 1 && page <= last);
  const numbers = [...new Set(near)];
  return pager('Pages', [
    number > 1 && { text: '← Previous', href: at(number - 1), id: 'previous' },
    ...numbers.flatMap((page, index) => [
      index > 0 && page > numbers[index - 1] + 1 && { text: '…' },
      { text: count(page), href: at(page), current: page === number, name: `Page ${page}` },
    ]),
    number < last && { text: 'Next →', href: at(number + 1), id: 'next' },
  ]);
}

/** The tags that are selected, and what can be done with them. */
class Selection {
  constructor(name, allowed, reload) {
    Object.assign(this, { name, allowed, reload, boxes: [] });
    if (!selections.has(name)) selections.set(name, new Set());
    this.chosen = selections.get(name);
    this.said = h('span', { class: 'chosen' });
    this.bar = h(
      'div',
      { class: 'selected', hidden: true, role: 'region', 'aria-label': 'Selected tags' },
      this.said,
      h('button', { type: 'button', on: { click: () => this.clear() } }, 'Clear'),
      h('button', { type: 'button', class: 'danger', id: 'delete', on: { click: () => this.remove() } }, icon('bin'), 'Delete…'),
    );
  }

  box(tag) {
    const box = h('input', { type: 'checkbox', 'aria-label': `Select ${tag.name}`, on: { change: () => this.set([tag.name], box.checked) } });
    box.checked = this.chosen.has(tag.name);
    this.boxes.push([tag.name, box]);
    return box;
  }

  all(listed) {
    const names = listed.map((tag) => tag.name);
    this.allBox = h('input', {
      type: 'checkbox',
      'aria-label': 'Select all tags of this page',
      on: { change: () => this.set(names, this.allBox.checked) },
    });
    return this.allBox;
  }

  set(names, on) {
    for (const name of names) {
      if (!on) this.chosen.delete(name);
      else if (this.chosen.size < SELECTED) this.chosen.add(name);
    }
    this.draw();
    announce(`${many(this.chosen.size, 'tag')} selected`);
  }

  clear() {
    this.chosen.clear();
    this.draw();
    announce('Nothing is selected');
    this.allBox?.focus();
  }

  draw() {
    for (const [name, box] of this.boxes) box.checked = this.chosen.has(name);
    const here = this.boxes.filter(([, box]) => box.checked).length;
    if (this.allBox) {
      this.allBox.checked = here > 0 && here === this.boxes.length;
      this.allBox.indeterminate = here > 0 && here < this.boxes.length;
    }
    this.bar.hidden = !this.allowed || this.chosen.size === 0;
    this.said.textContent = `${many(this.chosen.size, 'tag')} selected${this.chosen.size === SELECTED ? ', the most at a time' : ''}`;
  }

  remove() {
    openDeletion(this.name, [...this.chosen], (deleted) => {
      for (const name of deleted) this.chosen.delete(name);
      this.reload();
    });
  }
}
