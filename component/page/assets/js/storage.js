// How much repositories hold, how much of quotas is used, and uploads that have not ended.

import { h } from './dom.js';
import { empty, pager, section, table } from './parts.js';
import { to } from './route.js';
import { bytes, count, percent, time } from './text.js';

const full = (part, whole) => `${Math.min(100, whole ? (100 * part) / whole : 0)}%`;

/** First and next page of a list that goes forward only. */
function forward(part, next, last) {
  return pager('Pages', [
    last && { text: 'First', href: to.registry(part) },
    next && { text: 'Next →', href: to.registry(part, { last: next }), id: 'next' },
  ]);
}

export function usage({ repositories, next }, _context, last) {
  if (!repositories.length) return empty('No repository holds anything.', forward('usage', null, last));
  const largest = Math.max(...repositories.map((one) => one.bytes), 1);
  return section(
    'What repositories hold',
    h('p', { class: 'muted' }, 'Bytes of all that the manifests of a repository name, each blob once. Repositories share layers, so the sum is more than the storage has.'),
    table({
      caption: 'What repositories hold',
      columns: [
        { text: 'Repository' },
        { text: 'Manifests', class: 'number wide' },
        { text: 'Blobs', class: 'number wide' },
        { text: 'Not needed', class: 'number wide' },
        { text: 'Size', class: 'number' },
      ],
      rows: repositories.map((one) =>
        h(
          'tr',
          {},
          h('th', { scope: 'row' }, h('a', { href: to.repository(one.name) }, one.name)),
          h('td', { class: 'number wide' }, count(one.manifests)),
          h('td', { class: 'number wide' }, count(one.blobs)),
          h('td', { class: 'number wide' }, count(one.unneeded)),
          h(
            'td',
            { class: 'number' },
            `${one.incomplete ? '≥ ' : ''}${bytes(one.bytes)}`,
            h('span', { class: 'bar', 'aria-hidden': 'true' }, h('i', { style: { width: full(one.bytes, largest) } })),
          ),
        ),
      ),
    }),
    forward('usage', next, last),
  );
}

export function quotas({ quotas: all }) {
  if (!all.length) return empty('There are no quotas.');
  return section(
    'Quotas',
    table({
      caption: 'Quotas',
      columns: [{ text: 'Rule' }, { text: 'Repositories', class: 'wide' }, { text: 'Bytes' }, { text: 'Tags' }, { text: 'Counted', class: 'wide' }],
      rows: all.map((one) =>
        h(
          'tr',
          {},
          h('th', { scope: 'row' }, one.name),
          h('td', { class: 'wide' }, h('code', {}, one.repositories)),
          h('td', {}, used(one.bytes, one.bytes_limit, bytes)),
          h('td', {}, used(one.tags, one.tags_limit, count)),
          h('td', { class: 'wide' }, one.counted === null ? 'not yet' : time(one.counted), one.incomplete ? ', not all' : null),
        ),
      ),
    }),
  );
}

function used(part, limit, write) {
  if (limit === null || limit === undefined) return [write(part), h('span', { class: 'muted' }, ', no limit')];
  const near = part >= 0.9 * limit;
  return [
    `${write(part)} of ${write(limit)} `,
    h('span', { class: near ? 'badge warn' : 'muted' }, percent(part, limit)),
    h('span', { class: `bar meter${near ? ' near' : ''}`, 'aria-hidden': 'true' }, h('i', { style: { width: full(part, limit) } })),
  ];
}

export function uploads({ uploads: all, next, complete }, _context, last) {
  if (!all.length) return empty('No upload is in progress.', complete ? null : ' The storage cannot list all of them.');
  return section(
    'Uploads that have not ended',
    complete ? null : h('p', { class: 'note' }, 'The storage cannot list all of them.'),
    table({
      caption: 'Uploads',
      columns: [{ text: 'Repository' }, { text: 'Session', class: 'wide' }, { text: 'Last added to' }, { text: 'Received', class: 'number' }],
      rows: all.map((one) =>
        h(
          'tr',
          {},
          h('th', { scope: 'row' }, h('a', { href: to.repository(one.repository) }, one.repository)),
          h('td', { class: 'wide' }, h('code', {}, one.id)),
          h('td', {}, time(one.changed)),
          h('td', { class: 'number' }, bytes(one.size)),
        ),
      ),
    }),
    forward('uploads', next, last),
  );
}
