// Deleting tags or images: first what would go, then the user's choice, then the requests.

import { deletion, remove } from './client.js';
import { announce, h } from './dom.js';
import { problem, table } from './parts.js';
import { count, digest, many } from './text.js';

/** Opens the dialog. `done` is called with the tags that are gone, when it is closed. */
export async function openDeletion(name, names, done) {
  const body = h('div', { 'aria-busy': 'true' }, h('p', { class: 'muted' }, 'Looking at what leads to these images…'));
  const dialog = h('dialog', { class: 'dialog', 'aria-labelledby': 'dialog-title' }, h('h2', { id: 'dialog-title' }, `Delete from ${name}`), body);
  const deleted = new Set();
  const opener = document.activeElement;
  dialog.addEventListener('close', () => {
    dialog.remove();
    if (deleted.size) done(deleted);
    opener?.focus();
  });
  document.body.append(dialog);
  dialog.showModal();
  const close = (text = 'Cancel') => h('button', { type: 'button', on: { click: () => dialog.close() } }, text);
  try {
    const { tags } = await deletion(name, names);
    body.replaceChildren(...preview(tags, { close, start: (chosen) => run(name, chosen, body, deleted, close) }));
  } catch (failure) {
    body.replaceChildren(problem(failure), h('div', { class: 'actions' }, close('Close')));
  }
  body.removeAttribute('aria-busy');
}

/** What would go: a list, and the choice between tags and images. */
function preview(tags, { close, start }) {
  const free = tags.filter((tag) => !tag.immutable && !tag.missing);
  const digests = [...new Set(free.map((tag) => tag.digest))];
  const named = new Set(free.map((tag) => tag.name));
  const others = new Set(free.flatMap((tag) => tag.others).filter((other) => !named.has(other)));
  const more = free.some((tag) => !tag.others_complete);
  const referrers = digests.reduce((sum, one) => sum + (free.find((tag) => tag.digest === one).referrers ?? 0), 0);

  const button = h('button', { type: 'button', class: 'danger', id: 'confirm' });
  const said = h('p', { class: 'note', 'aria-live': 'polite' });
  const choose = (whole) => {
    button.textContent = whole ? `Delete ${many(digests.length, 'image')}` : `Delete ${many(free.length, 'tag')}`;
    said.textContent = whole ? wholeText(digests.length, others, more, referrers) : 'The images stay, and can be pulled by digest. No space is freed by this alone.';
    button.onclick = () => start({ whole, tags: free });
  };
  const option = (id, whole, text) => {
    const radio = h('input', { type: 'radio', name: 'what', id, on: { change: () => choose(whole) } });
    radio.checked = !whole;
    return h('div', { class: 'option' }, radio, h('label', { for: id }, text));
  };
  choose(false);
  const kept = tags.length - free.length;
  return [
    list(tags),
    kept ? h('p', { class: 'note' }, `${many(kept, 'tag is', 'tags are')} left as ${kept === 1 ? 'it is' : 'they are'}: immutable, or not there any more.`) : null,
    free.length
      ? h(
          'fieldset',
          {},
          h('legend', {}, 'What is deleted?'),
          option('only-tags', false, `Only ${free.length === 1 ? 'this tag' : `these ${count(free.length)} tags`}`),
          option('whole-images', true, `The ${digests.length === 1 ? 'image' : `${count(digests.length)} images`} with all tags`),
          said,
        )
      : null,
    h('div', { class: 'actions' }, free.length ? button : null, close()),
  ].filter(Boolean);
}

function wholeText(images, others, more, referrers) {
  const names = [...others].slice(0, 10).join(', ');
  const rest = others.size > 10 ? `, and ${count(others.size - 10)} more` : '';
  const also = others.size
    ? `${many(others.size, 'other tag')} of ${images === 1 ? 'this image' : 'these images'} will go too: ${names}${rest}. `
    : `${images === 1 ? 'It has' : 'They have'} no other tags. `;
  const unknown = more ? 'Not all tags could be looked at: there may be others. ' : '';
  const left = referrers ? `${many(referrers, 'signature or other referrer', 'signatures or other referrers')} will lose their image. ` : '';
  return `${also}${unknown}${left}Space is freed by the next runs of garbage collection.`;
}

function list(tags) {
  return table({
    caption: 'What would be deleted',
    columns: [{ text: 'Tag' }, { text: 'Image', class: 'wide' }, { text: 'Other tags of the same image' }, { text: 'Referrers', class: 'number wide' }],
    rows: tags.map((tag) =>
      h(
        'tr',
        {},
        h('th', { scope: 'row' }, tag.name),
        h('td', { class: 'wide' }, tag.digest ? digest(tag.digest) : null),
        h('td', {}, state(tag)),
        h('td', { class: 'number wide' }, count(tag.referrers)),
      ),
    ),
  });
}

function state(tag) {
  if (tag.missing) return h('span', { class: 'muted' }, 'is not there any more');
  if (tag.immutable) return h('span', { class: 'badge' }, 'immutable: cannot be deleted');
  if (!tag.others.length) return h('span', { class: 'muted' }, tag.others_complete ? 'none' : 'not known');
  return [tag.others.map((other) => h('span', { class: 'chip' }, other)), tag.others_complete ? null : '…'];
}

/** Sends the requests, one after the other, and says what came of each. */
async function run(name, { whole, tags }, body, deleted, close) {
  const jobs = new Map();
  for (const tag of tags) {
    const target = whole ? tag.digest : tag.name;
    jobs.set(target, [...(jobs.get(target) ?? []), tag.name]);
  }
  const progress = h('progress', { max: jobs.size, value: 0, 'aria-label': 'Deleting' });
  const failures = h('ul', { class: 'failures' });
  body.replaceChildren(progress, failures);
  let failed = 0;
  for (const [target, names] of jobs) {
    try {
      await remove(name, target);
      names.forEach((one) => deleted.add(one));
    } catch (failure) {
      // What another user has deleted meanwhile is gone, too.
      if (failure.status === 404) names.forEach((one) => deleted.add(one));
      else {
        failed += 1;
        failures.append(h('li', {}, h('strong', {}, names.join(', ')), ' ', failure.code ?? failure.status, ': ', failure.message));
      }
    }
    progress.value += 1;
  }
  const gone = whole ? many(jobs.size - failed, 'image') : many(deleted.size, 'tag');
  const said = failed ? `${gone} deleted, ${failed} not` : `${gone} deleted`;
  announce(said);
  const closing = close('Close');
  body.replaceChildren(h('p', {}, said, '.'), failures, h('div', { class: 'actions' }, closing));
  closing.focus();
}
