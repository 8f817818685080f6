// What a tag has led to, the newest first.

import { history } from './client.js';
import { announce, h } from './dom.js';
import { digestWithCopy, empty, problem, section, table } from './parts.js';
import { to } from './route.js';
import { bytes, many, mediaType, time } from './text.js';

const PAGE = 100;
const TIMESTAMP = 'org.opencontainers.distribution.tag.timestamp';

/** The history is asked for when its part of the view is opened, and not before. */
export function historyOf({ name, reference }) {
  const body = h('div', { 'aria-busy': 'true' });
  const rows = [];
  const more = h('div', { class: 'actions' });

  async function load(parameters) {
    try {
      const { manifests, next } = await history(name, reference, parameters);
      for (const entry of manifests) rows.push(row(name, entry, rows.length === 0));
      const again = next && h('button', { type: 'button', on: { click: () => load(next) } }, 'Show older ones');
      more.replaceChildren(...(again ? [again] : []));
      body.replaceChildren(rows.length ? list(reference, rows) : empty('Nothing is recorded of this tag.'), more);
      announce(`${many(rows.length, 'entry', 'entries')} in the history of ${reference}`);
    } catch (failure) {
      body.replaceChildren(problem(failure));
    }
    body.removeAttribute('aria-busy');
  }

  load({ n: PAGE });
  return section('What this tag has led to', body);
}

function list(tag, rows) {
  return table({
    caption: `History of the tag ${tag}`,
    columns: [{ text: 'Since' }, { text: 'Manifest' }, { text: 'Type', class: 'wide' }, { text: 'Size of the manifest', class: 'number wide' }],
    rows,
  });
}

function row(name, { digest, size, mediaType: type, annotations = {} }, isNow) {
  const gone = annotations['roadstead.manifest'] === 'missing';
  return h(
    'tr',
    {},
    h('td', {}, time(annotations[TIMESTAMP])),
    h(
      'th',
      { scope: 'row' },
      digestWithCopy(digest),
      ' ',
      isNow ? h('span', { class: 'badge' }, 'now') : null,
      gone ? h('span', { class: 'badge' }, 'deleted') : h('a', { href: to.image(name, digest) }, 'Open'),
    ),
    h('td', { class: 'wide' }, gone ? null : mediaType(type)),
    h('td', { class: 'number wide' }, gone ? null : bytes(size)),
  );
}
