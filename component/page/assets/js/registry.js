// The registry itself: settings, usage, quotas, retention, garbage collection.

import { maintenance } from './client.js';
import { collection } from './collection.js';
import { h } from './dom.js';
import { empty, facts, pairs, section, table, tabs, title } from './parts.js';
import { to } from './route.js';
import { quotas, uploads, usage } from './storage.js';
import { many, time } from './text.js';
import { trash } from './trash.js';

// Each part: its name, its path in the API (none: the head of the page has it), and its view.
const PARTS = {
  '': { text: 'Overview', draw: overview },
  usage: { text: 'Usage', path: 'collect/usage', draw: usage },
  quotas: { text: 'Quotas', path: 'collect/quotas', draw: quotas },
  retention: { text: 'Retention', path: 'retention', draw: retention },
  collection: { text: 'Collection', path: 'collect/reports', draw: collection },
  trash: { text: 'Trash', path: 'collect/trash', draw: trash },
  uploads: { text: 'Uploads', path: 'uploads', draw: uploads },
};

export async function show(route, context) {
  const { head, signal } = context;
  const id = head.can.maintain && PARTS[route.tab] ? route.tab : '';
  const part = PARTS[id];
  const { last } = route.query;
  const answer = part.path ? await maintenance(part.path, { last }, signal) : head;
  const node = h(
    'div',
    {},
    h('div', { class: 'heading' }, title('Registry')),
    head.can.maintain
      ? tabs('Parts of the registry', Object.entries(PARTS).map(([key, { text }]) => [text, to.registry(key), key === id]))
      : null,
    part.draw(answer, context, last),
  );
  return { node, title: id ? `Registry: ${part.text}` : 'Registry' };
}

const WAYS = { none: 'open: nobody has to log in', basic: 'user name and password', token: 'tokens' };
const STORAGES = { directory: 'a directory', bucket: 'a bucket' };

function overview(head) {
  const may = [
    head.can.catalog && 'list repositories',
    head.can.delete && 'delete where a rule allows it',
    head.can.maintain && 'see what the registry holds',
    head.can.collect && 'collect garbage',
  ].filter(Boolean);
  return h(
    'div',
    { class: 'columns' },
    h(
      'div',
      {},
      section(
        'This registry',
        facts([
          ['Address', h('code', {}, location.host)],
          ['Software', `${head.name} ${head.release}`],
          ['Storage', STORAGES[head.storage] ?? head.storage],
          ['Access', WAYS[head.authentication] ?? head.authentication],
          ['Writing', head.read_only ? 'read-only: pushes and deletes are refused' : 'pushes are accepted'],
        ]),
      ),
      section(
        'You',
        facts([
          ['User', head.user ?? 'not logged in'],
          ['May', may.length ? h('ul', { class: 'plain-list' }, may.map((one) => h('li', {}, one))) : 'open repositories by their name'],
        ]),
      ),
    ),
    settings(head),
  );
}

function settings({ settings: all }) {
  if (!all?.length) return null;
  return pairs('Settings', all.map(({ name, value }) => [name, value]));
}

function retention({ dry_run: dry, repositories = [], next }) {
  if (!repositories.length && !next) return empty('No tag expires with the next run.');
  const rows = repositories.flatMap(({ name, policy, tags = [], passed_over: over }) => {
    if (over) return [h('tr', {}, h('th', { scope: 'row' }, name), h('td', { colspan: '4' }, 'too many tags: none is removed'))];
    return tags.map(({ tag, pushed, pulled }) =>
      h(
        'tr',
        {},
        h('th', { scope: 'row' }, h('a', { href: to.image(name, tag) }, `${name}:${tag}`)),
        h('td', { class: 'wide' }, policy),
        h('td', {}, time(pushed)),
        h('td', { class: 'wide' }, time(pulled)),
      ),
    );
  });
  return section(
    `${many(rows.length, 'tag expires', 'tags expire')} with the next run`,
    dry ? h('p', { class: 'note' }, 'Only looked at: the policy has “dryrun”, so that nothing is removed.') : null,
    table({
      caption: 'Tags that expire',
      columns: [{ text: 'Tag' }, { text: 'Policy', class: 'wide' }, { text: 'Pushed' }, { text: 'Last pull', class: 'wide' }],
      rows,
    }),
    next ? h('p', {}, h('a', { class: 'button', href: to.registry('retention', { last: next }) }, 'Next →')) : null,
  );
}
