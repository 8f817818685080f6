// Runs of garbage collection: reports of the last ones, and a button that does one.

import { collect } from './client.js';
import { announce, h } from './dom.js';
import { empty, problem, section, table } from './parts.js';
import { bytes, count, many, time } from './text.js';

// Milliseconds between two slices at least, so that the registry serves others too.
const PAUSE = 100;

const pause = (wait) => new Promise((resolve) => setTimeout(resolve, Math.max(PAUSE, wait)));

/**
 * Has slices done until the run has ended. `each` gets the progress after each of them.
 * It ends early when `signal` is aborted; the registry takes such a run over later.
 */
export async function drive(ask, each, signal) {
  let said = await collect(ask);
  while (said.status === 'running' && !signal.aborted) {
    each(said);
    await pause(said.wait);
    said = await collect({ ...ask, run: said.run });
  }
  return said;
}

export function collection({ reports }, { head, signal, reload }) {
  return h('div', {}, head.can.collect ? starter(signal, reload) : null, list(reports));
}

function starter(signal, reload) {
  const dry = h('input', { type: 'checkbox', id: 'dry' });
  dry.checked = true;
  const said = h('div', { class: 'said', role: 'status' });
  const button = h('button', { type: 'button', class: 'primary', id: 'run' }, 'Run now');
  button.addEventListener('click', async () => {
    button.disabled = true;
    const progress = h('progress', { max: '100', value: '0', 'aria-label': 'The run' });
    const stage = h('span', {}, 'begins');
    said.replaceChildren(progress, stage);
    try {
      const end = await drive({ dry_run: dry.checked }, (now) => {
        progress.value = now.percent;
        stage.textContent = `${now.stage}: ${now.percent} %`;
      }, signal);
      said.replaceChildren(outcome(end));
      announce('The run has ended');
      if (end.status === 'done' && !dry.checked) reload();
    } catch (failure) {
      said.replaceChildren(problem(failure));
    }
    button.disabled = false;
  });
  return section(
    'Run',
    h('p', { class: 'muted' }, 'The registry collects by itself if it is set to. A run finds what no manifest refers to; what it condemns is kept for some days before it is removed.'),
    h('div', { class: 'line' }, button, h('span', { class: 'option' }, dry, h('label', { for: 'dry' }, 'only look, and change nothing'))),
    said,
  );
}

function outcome(end) {
  if (end.status === 'not-due') {
    return h('p', {}, `No run is due: another one is in progress, or the last one was not long ago. Ask again in ${many(Math.ceil(end.seconds / 60), 'minute')}.`);
  }
  const { report } = end;
  if (!report) return h('p', {}, 'The run was left; it is taken over later.');
  return h(
    'p',
    {},
    report.dry_run ? 'Only looked: ' : 'Done: ',
    `${many(report.blobs, 'blob')} with ${bytes(report.bytes)}; nothing refers to ${count(report.sighted + report.condemned)} of them (${bytes(report.sighted_bytes + report.condemned_bytes)}); `,
    `${many(report.removed, 'blob')} with ${bytes(report.removed_bytes)} removed.`,
  );
}

function list(reports) {
  if (!reports.length) return empty('There has been no run yet.');
  return section(
    'The last runs',
    table({
      caption: 'The last runs',
      columns: [
        { text: 'Begun' },
        { text: 'Blobs', class: 'number wide' },
        { text: 'Condemned', class: 'number' },
        { text: 'Untagged manifests', class: 'number wide' },
        { text: 'Expired tags', class: 'number wide' },
        { text: 'Freed', class: 'number' },
        { text: 'Note' },
      ],
      rows: reports.map((one) =>
        h(
          'tr',
          {},
          h('th', { scope: 'row' }, time(one.begun)),
          h('td', { class: 'number wide' }, count(one.blobs)),
          h('td', { class: 'number' }, count(one.condemned), one.condemned ? h('span', { class: 'under small muted' }, bytes(one.condemned_bytes)) : null),
          h('td', { class: 'number wide' }, count(one.untagged)),
          h('td', { class: 'number wide' }, count(one.expired)),
          h('td', { class: 'number' }, one.removed ? bytes(one.removed_bytes) : '0'),
          h('td', {}, notes(one)),
        ),
      ),
    }),
  );
}

function notes(one) {
  return [
    one.dry_run && h('span', { class: 'badge' }, 'only looked'),
    one.undone && h('span', { class: 'badge', title: one.undone }, 'undid a run'),
    one.foreign && h('span', { class: 'badge', title: 'Another registry has written to the storage lately, so nothing was deleted' }, 'another registry writes'),
    one.failure && h('span', { class: 'badge warn' }, 'ended early'),
    one.failure && h('span', { class: 'under small' }, one.failure),
    one.given_back > 0 && h('span', { class: 'badge' }, `${count(one.given_back)} given back`),
  ];
}
