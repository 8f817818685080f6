// The layers of an image: how large each is, and which command made it.

import { h } from './dom.js';
import { digestWithCopy, section, table } from './parts.js';
import { bytes, many, mediaType, percent } from './text.js';

// Different colours of layers that follow each other.
const COLOURS = 6;

/** What a build step says, without what builders put around it. */
export function command(text) {
  const said = (text ?? '').trim().replace(/\s+#\s*buildkit$/, '');
  const shell = /^(?:RUN\s+)?(?:\|\d+\s+(?:\S+=\S*\s+)*)?\/bin\/(?:ba)?sh -c (?:#\(nop\)\s+)?([^]*)$/.exec(said);
  if (!shell) return said;
  return said.includes('#(nop)') ? shell[1] : `RUN ${shell[1]}`;
}

/** The steps of the build: of history if the image has one, and of the layers alone otherwise. */
function stepsOf({ layers, history }) {
  const steps = [];
  const seen = new Set();
  for (const { created_by: by, comment, layer, empty } of history ?? []) {
    const index = empty ? null : layer;
    if (index !== null && index !== undefined) seen.add(index);
    steps.push({ text: command(by) || comment || '', index, layer: layers[index] });
  }
  layers.forEach((layer, index) => {
    if (!seen.has(index)) steps.push({ text: command(layer.created_by), index, layer });
  });
  return steps;
}

export function layers(image) {
  const total = image.layers.reduce((sum, layer) => sum + layer.size, 0);
  const rows = new Map();
  const steps = stepsOf(image).map((step) => {
    const line = row(step, total);
    if (step.layer) rows.set(step.index, line);
    return line;
  });
  return section(
    `${many(image.layers.length, 'layer')}, ${bytes(total)}`,
    picture(image.layers, total, rows),
    table({
      caption: 'Build steps and their layers, from the base up',
      className: 'layers',
      columns: [{ text: '', hidden: 'Colour' }, { text: 'Command' }, { text: 'Layer', class: 'wide' }, { text: 'Size', class: 'number' }, { text: 'Share', class: 'number wide' }],
      rows: steps,
    }),
  );
}

/** A bar of the layers by their sizes. The table says the same to screen readers. */
function picture(all, total, rows) {
  if (!total) return null;
  return h(
    'div',
    { class: 'strata', 'aria-hidden': 'true' },
    all.map(({ size, digest }, index) => {
      const light = (on) => rows.get(index)?.classList.toggle('lit', on);
      return h('i', {
        class: `layer-${index % COLOURS}`,
        title: `Layer ${index + 1}: ${bytes(size)}, ${digest}`,
        style: { 'flex-grow': String(size / total) },
        on: {
          mouseenter: () => light(true),
          mouseleave: () => light(false),
          click: () => rows.get(index)?.scrollIntoView({ block: 'center' }),
        },
      });
    }),
  );
}

function row({ text, index, layer }, total) {
  const said = text || (layer ? mediaType(layer.media_type) : '');
  return h(
    'tr',
    { class: layer ? null : 'empty-step' },
    h('td', { class: 'swatch' }, layer ? h('i', { class: `layer-${index % COLOURS}` }) : null),
    h('td', {}, h('code', { class: 'command' }, said)),
    h('td', { class: 'wide' }, layer ? digestWithCopy(layer.digest) : h('span', { class: 'muted' }, 'no layer')),
    h('td', { class: 'number' }, layer ? bytes(layer.size) : h('span', { class: 'muted' }, '0')),
    h('td', { class: 'number wide' }, layer ? percent(layer.size, total) : null),
  );
}

/** What an artifact that is no image has: the blobs that its manifest names. */
export function files({ manifest }) {
  let parsed = {};
  try {
    parsed = JSON.parse(manifest);
  } catch {
    // The registry takes manifests of other forms as they are: then there is no list.
  }
  const blobs = [...(parsed.layers ?? []), ...(parsed.blobs ?? [])];
  return section(
    many(blobs.length, 'file'),
    table({
      caption: 'Files',
      columns: [{ text: 'Name' }, { text: 'Type' }, { text: 'Digest', class: 'wide' }, { text: 'Size', class: 'number' }],
      rows: blobs.map((blob) =>
        h(
          'tr',
          {},
          h('th', { scope: 'row' }, blob.annotations?.['org.opencontainers.image.title'] ?? mediaType(blob.mediaType)),
          h('td', {}, blob.mediaType),
          h('td', { class: 'wide' }, digestWithCopy(blob.digest)),
          h('td', { class: 'number' }, bytes(blob.size)),
        ),
      ),
    }),
  );
}
