// What refers to an image by its subject: signatures, SBOMs, attestations. Each opens in place.

import { image } from './client.js';
import { h } from './dom.js';
import { files } from './layers.js';
import { digestWithCopy, empty, facts, linked, problem, section } from './parts.js';
import { to } from './route.js';
import { bytes, many, mediaType } from './text.js';

const KINDS = [
  [/cosign.*sig|notary|sigstore/i, 'signature'],
  [/spdx|cyclonedx|sbom/i, 'SBOM'],
  [/in-toto|attestation|provenance/i, 'attestation'],
];

function kindOf(type) {
  return KINDS.find(([pattern]) => pattern.test(type ?? ''))?.[1] ?? 'artifact';
}

export function referrers({ name, referrers: all, referrers_complete: complete }) {
  if (!all.length) return section('Referrers', empty('No signature, SBOM or other artifact refers to this image.'));
  return section(
    `${many(all.length, 'artifact refers', 'artifacts refer')} to this image`,
    complete ? null : h('p', { class: 'note' }, 'There are more than are listed here.'),
    h('div', { class: 'opening' }, all.map((one) => referrer(name, one))),
  );
}

function referrer(name, { digest, artifact_type: type, media_type: media, size, annotations }) {
  const body = h('div', { class: 'opened' });
  let asked = false;
  const toggle = async (event) => {
    if (!event.target.open || asked) return;
    asked = true;
    body.setAttribute('aria-busy', 'true');
    try {
      body.replaceChildren(...details(name, await image(name, digest)));
    } catch (failure) {
      asked = false;
      body.replaceChildren(problem(failure));
    }
    body.removeAttribute('aria-busy');
  };
  return h(
    'details',
    { on: { toggle } },
    h(
      'summary',
      {},
      h('span', { class: 'badge kind' }, kindOf(type)),
      h('span', { class: 'grow' }, type ?? mediaType(media)),
      h('span', { class: 'muted small' }, bytes(size)),
    ),
    facts([['Digest', digestWithCopy(digest)], ...Object.entries(annotations ?? {}).map(([key, value]) => [key, linked(String(value))])]),
    body,
  );
}

function details(name, answer) {
  return [
    files(answer),
    h('pre', { class: 'raw', tabindex: '0', role: 'region', 'aria-label': 'The manifest as it is stored' }, answer.manifest),
    h('p', {}, h('a', { href: to.image(name, answer.digest) }, 'Open as an image')),
  ];
}
