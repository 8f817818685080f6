// An image, an index of images, a chart or another artifact.

import { image as ask } from './client.js';
import { configuration } from './configuration.js';
import { openDeletion } from './deletion.js';
import { h, icon } from './dom.js';
import { historyOf } from './history.js';
import { files, layers } from './layers.js';
import { copyButton, crumbs, digestWithCopy, facts, pairs, section, table, tabs, title } from './parts.js';
import { pullLines } from './pull.js';
import { referrers } from './referrers.js';
import { go, to } from './route.js';
import { bytes, digest, many, mediaType, time } from './text.js';

const NAMES = { index: 'multi-platform image', image: 'image', chart: 'Helm chart', artifact: 'artifact' };

// Tags that the head has room for.
const TAGS = 12;

// The last answer: another part of the same image asks for nothing.
let kept = { key: null, answer: null };

export async function show(route, context) {
  const { name, reference, query } = route;
  const key = JSON.stringify([name, reference, query.platform, context.head.user]);
  if (query.tab === 'history' && kept.key !== key) return historyAlone(route);
  // Something may have changed when the same place is asked for again.
  const again = kept.key === key && kept.tab === (query.tab ?? '');
  if (kept.key !== key || again) kept = { key, answer: await ask(name, reference, query.platform, context.signal) };
  kept.tab = query.tab ?? '';
  const { answer } = kept;
  const short = name.split('/').pop();
  const label = reference.includes(':') ? `${short}@${reference.slice(0, 19)}…` : `${short}:${reference}`;
  const parts = partsOf(answer);
  const part = parts.find(({ id }) => id === query.tab) ?? parts[0];
  const node = h(
    'div',
    {},
    crumbs(name, reference.includes(':') ? `${reference.slice(0, 19)}…` : reference),
    h(
      'div',
      { class: 'heading' },
      title(label),
      h('span', { class: 'badge kind' }, NAMES[answer.kind] ?? answer.kind),
      answer.immutable ? h('span', { class: 'badge' }, icon('lock'), 'immutable') : null,
      deleteButton(answer, context),
    ),
    h('div', { class: 'summary' }, summary(answer), pullLines(answer)),
    answer.complete === false ? h('p', { class: 'note' }, 'Some of this is missing here, or cut: it is too large, or could not be read. The manifest has all of it.') : null,
    platformSwitch(route, answer),
    query.platform && !answer.image ? h('p', { class: 'note' }, `This image has no manifest for ${query.platform}.`) : null,
    tabs('Parts of the image', parts.map(({ id, text }) => [text, to.image(name, reference, { ...query, tab: id === parts[0].id ? '' : id }), id === part.id])),
    part.draw(),
  );
  return { node, title: `${name}${reference.includes(':') ? '@' : ':'}${reference}` };
}

/** The history of a tag, opened by its address: one request, so that nothing is said of the image. */
function historyAlone({ name, reference }) {
  const node = h(
    'div',
    {},
    crumbs(name, reference),
    h('div', { class: 'heading' }, title(`${name.split('/').pop()}:${reference}`)),
    tabs('Parts of the image', [['Image', to.image(name, reference), false], ['Tag history', to.image(name, reference, { tab: 'history' }), true]]),
    historyOf({ name, reference }),
  );
  return { node, title: `History of ${name}:${reference}` };
}

function partsOf(answer) {
  const { image, kind, children, reference, annotations, referrers: all, referrers_complete: complete } = answer;
  const runs = kind === 'image' || kind === 'index';
  const several = children?.length > 0;
  const parts = [];
  if (image && runs) {
    parts.push({ id: 'layers', text: 'Layers', draw: () => layers(image) });
    parts.push({ id: 'config', text: 'Configuration', draw: () => configuration(image) });
  } else if (!runs) {
    parts.push({ id: 'files', text: 'Files', draw: () => files(answer) });
  }
  if (several) parts.push({ id: 'platforms', text: `Manifests (${children.length})`, draw: () => childrenOf(answer) });
  const more = Object.keys(annotations ?? {}).length;
  if (more) parts.push({ id: 'annotations', text: `Annotations (${more})`, draw: () => pairs('Annotations', Object.entries(annotations)) });
  parts.push({ id: 'referrers', text: `Referrers (${all.length}${complete ? '' : '+'})`, draw: () => referrers(answer) });
  if (!reference.includes(':')) parts.push({ id: 'history', text: 'Tag history', draw: () => historyOf(answer) });
  parts.push({ id: 'manifest', text: 'Manifest', draw: () => manifest(answer) });
  return parts;
}

function summary(answer) {
  const { digest: own, size, pushed, media_type: type, artifact_type: artifact, tags, tags_complete: all, subject, name } = answer;
  const links = tags.slice(0, TAGS).map((tag) => h('a', { class: 'chip', href: to.image(name, tag) }, tag));
  return section(
    'Summary',
    facts([
      ['Digest', digestWithCopy(own)],
      ['Size', bytes(size)],
      ['Pushed', time(pushed)],
      ['Type', h('span', { title: type }, mediaType(type))],
      ['Artifact type', artifact],
      ['Tags', tags.length ? [links, tags.length > TAGS ? ` and ${tags.length - TAGS}${all === false ? ' or' : ''} more` : all === false ? ' and others' : null] : all === false ? 'not known' : 'none'],
      ['Refers to', subject ? h('a', { href: to.image(name, subject.digest) }, digest(subject.digest)) : null],
    ]),
  );
}

function deleteButton(answer, { head, reload }) {
  const { can, tags, reference, name } = answer;
  if (!can.delete || !head.can.delete) return null;
  const names = reference.includes(':') ? tags.slice(0, 100) : [reference];
  if (!names.length) return null;
  const done = () => {
    kept = { key: null, answer: null };
    if (reference.includes(':')) reload();
    else go(to.repository(name));
  };
  const act = () => openDeletion(name, names, done);
  return h('button', { type: 'button', class: 'danger end', id: 'delete', on: { click: act } }, icon('bin'), 'Delete…');
}

/** Platforms of an index, each a link; what says nothing of its platform is in the list of manifests only. */
function platformSwitch({ name, reference, query }, { children, image }) {
  const known = (children ?? []).filter(({ platform }) => platform && !platform.startsWith('unknown'));
  if (known.length < 2) return null;
  return h(
    'nav',
    { class: 'platforms', 'aria-label': 'Platforms' },
    h('span', { class: 'muted' }, 'Platform'),
    h(
      'ul',
      {},
      known.map(({ platform, digest: own }) =>
        h(
          'li',
          {},
          h('a', { class: 'chip', href: to.image(name, reference, { ...query, platform }), 'aria-current': image?.digest === own ? 'true' : null }, platform),
        ),
      ),
    ),
  );
}

function childrenOf({ name, children }) {
  return section(
    'Manifests of this index',
    table({
      caption: 'Manifests of this index',
      columns: [{ text: 'Platform' }, { text: 'Digest' }, { text: 'Type', class: 'wide' }, { text: 'Size', class: 'number' }],
      rows: children.map((child) =>
        h(
          'tr',
          {},
          h('th', { scope: 'row' }, h('a', { href: to.image(name, child.digest) }, childName(child))),
          h('td', {}, digestWithCopy(child.digest)),
          h('td', { class: 'wide' }, h('span', { title: child.media_type }, child.artifact_type ?? mediaType(child.media_type))),
          h('td', { class: 'number' }, bytes(child.total)),
        ),
      ),
    }),
  );
}

function childName({ platform, annotations }) {
  const attests = annotations?.['vnd.docker.reference.type'] === 'attestation-manifest';
  if (attests) return 'attestation';
  return platform ?? 'no platform';
}

function manifest({ manifest: text, media_type: type, digest: own }) {
  return h(
    'section',
    { class: 'panel' },
    h('div', { class: 'heading' }, h('h2', {}, 'Manifest'), h('span', { class: 'muted small' }, `${type}, ${many(new TextEncoder().encode(text).length, 'byte')}`), copyButton(text, `Copy the manifest ${own}`)),
    h('pre', { class: 'raw', tabindex: '0', role: 'region', 'aria-label': 'The manifest as it is stored' }, text),
  );
}
