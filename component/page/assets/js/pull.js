// The lines with which clients pull an image.

import { h } from './dom.js';
import { copyButton } from './parts.js';

const KEPT = 'roadstead.client';

const plain = location.protocol === 'http:';
// Docker and nerdctl speak plain HTTP with the machine itself unasked.
const own = /^(localhost|127\.|\[::1\])/.test(location.host);

const IMAGE = {
  docker: (image) => `docker pull ${image}`,
  podman: (image) => `podman pull ${plain ? '--tls-verify=false ' : ''}${image}`,
  nerdctl: (image) => `nerdctl ${plain && !own ? '--insecure-registry ' : ''}pull ${image}`,
  crane: (image) => `crane pull ${plain && !own ? '--insecure ' : ''}${image} image.tar`,
  Kubernetes: (image) => `image: ${image}`,
};

const ARTIFACT = {
  oras: (image) => `oras pull ${plain && !own ? '--plain-http ' : ''}${image}`,
  crane: (image) => `crane manifest ${plain && !own ? '--insecure ' : ''}${image}`,
};

function helm({ name, reference }) {
  const flag = plain ? ' --plain-http' : '';
  if (reference.includes(':')) return `helm pull oci://${location.host}/${name}@${reference}${flag}`;
  // Helm writes the "+" of a version as "_", as tags cannot have it.
  return `helm pull oci://${location.host}/${name} --version ${reference.replaceAll('_', '+')}${flag}`;
}

/** Text that a shell would not take as one word, or as something to do, is quoted. */
function quoted(text) {
  return /^[\w@%+=:,./[\]-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}

export function pullLines(answer) {
  const { name, reference, digest, kind } = answer;
  const makers = kind === 'chart' ? { Helm: () => helm(answer), ...ARTIFACT } : kind === 'artifact' ? ARTIFACT : IMAGE;
  const byTag = !reference.includes(':');
  const line = h('code', { class: 'pull-line' });
  const copy = h('span', {});
  const exact = h('input', { type: 'checkbox', id: 'exact', on: { change: () => draw() } });
  exact.checked = !byTag;
  const names = Object.keys(makers);
  let client = names.includes(remembered()) ? remembered() : names[0];
  const buttons = names.map((one) => h('button', { type: 'button', 'aria-pressed': 'false', on: { click: () => choose(one) } }, one));

  function choose(one) {
    client = one;
    try {
      localStorage.setItem(KEPT, one);
    } catch {
      // Storage is turned off: the choice lasts until the page is left.
    }
    draw();
  }

  function draw() {
    const image = quoted(`${location.host}/${name}${exact.checked ? `@${digest}` : `:${reference}`}`);
    const text = client === 'Helm' ? helm(exact.checked ? { name, reference: digest } : answer) : makers[client](image);
    line.textContent = text;
    copy.replaceChildren(copyButton(text, 'Copy the command'));
    buttons.forEach((button) => button.setAttribute('aria-pressed', String(button.textContent === client)));
  }

  draw();
  return h(
    'section',
    { class: 'panel pull' },
    h('div', { class: 'heading' }, h('h2', {}, 'Pull'), h('div', { class: 'choices', role: 'group', 'aria-label': 'Client' }, buttons)),
    h('div', { class: 'line' }, line, copy),
    byTag ? h('div', { class: 'option small' }, exact, h('label', { for: 'exact' }, 'by digest: exactly this image, wherever the tag moves')) : null,
  );
}

function remembered() {
  try {
    return localStorage.getItem(KEPT);
  } catch {
    return null;
  }
}
