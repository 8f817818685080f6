// What runs of garbage collection have moved away, and can still give back.

import { drive } from './collection.js';
import { announce, h } from './dom.js';
import { empty, problem, section, table } from './parts.js';
import { bytes, count, many, time } from './text.js';

export function trash({ runs, complete }, { head, signal, reload }) {
  if (!runs.length) return empty('The trash is empty: no run has moved anything away that could still be brought back.');
  const said = h('div', { class: 'said', role: 'status' });
  return section(
    'What can still be brought back',
    h('p', { class: 'muted' }, 'An undo gives back the blobs that a run has condemned, the untagged manifests that it has deleted and the tags that had expired. Use it soon: make something refer to it, or later runs take it away again.'),
    complete === false ? h('p', { class: 'note' }, 'Not all runs could be looked at.') : null,
    said,
    table({
      caption: 'Runs that can be undone',
      columns: [
        { text: 'Run' },
        { text: 'Blobs', class: 'number' },
        { text: 'Manifests', class: 'number wide' },
        { text: 'Tags', class: 'number wide' },
        { text: 'Kept until at least', class: 'wide' },
        { text: '', hidden: 'Undo' },
      ],
      rows: runs.map((run) => row(run, { head, signal, reload, said })),
    }),
  );
}

function row(run, { head, signal, reload, said }) {
  const button = h('button', { type: 'button', 'aria-label': `Undo the run ${run.run}` }, 'Undo');
  button.addEventListener('click', async () => {
    button.disabled = true;
    const stage = h('span', {}, 'Undoing…');
    said.replaceChildren(stage);
    try {
      const end = await drive({ undo: run.run }, (now) => (stage.textContent = `Undoing: ${now.percent} %`), signal);
      if (end.status === 'not-due') {
        stage.textContent = `Another run is in progress. Try again in ${many(Math.ceil(end.seconds / 60), 'minute')}.`;
        button.disabled = false;
        return;
      }
      announce('The run is undone');
      reload();
    } catch (failure) {
      said.replaceChildren(problem(failure));
      button.disabled = false;
    }
  });
  return h(
    'tr',
    {},
    h('th', { scope: 'row' }, time(run.begun), h('span', { class: 'under small muted' }, h('code', {}, run.run.slice(0, 12)))),
    h('td', { class: 'number' }, count(run.blobs), h('span', { class: 'under small muted' }, bytes(run.bytes))),
    h('td', { class: 'number wide' }, count(run.manifests)),
    h('td', { class: 'number wide' }, count(run.tags)),
    h('td', { class: 'wide' }, time(run.until)),
    h('td', { class: 'number' }, head.can.collect ? button : null),
  );
}
