// What an image says about how it runs.

import { h } from './dom.js';
import { digestWithCopy, facts, pairs, section } from './parts.js';
import { bytes, time } from './text.js';

/** A command as a shell would be given it. */
function line(words) {
  if (!words?.length) return null;
  const quoted = words.map((word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`));
  return h('code', {}, quoted.join(' '));
}

/** How the image is asked whether it is well, and how often. Times are in nanoseconds. */
function health(check) {
  if (!check) return null;
  const seconds = (name, value) => (value ? `${name} ${value / 1e9} s` : null);
  const times = [
    seconds('every', check.interval_ns),
    seconds('at most', check.timeout_ns),
    seconds('first after', check.start_period_ns),
    check.retries ? `${check.retries} attempts` : null,
  ].filter(Boolean);
  const [kind, ...words] = check.test ?? [];
  const command = kind === 'CMD-SHELL' ? h('code', {}, words.join(' ')) : kind === 'CMD' ? line(words) : kind;
  return [command, times.length ? h('span', { class: 'under small muted' }, times.join(', ')) : null];
}

const listed = (items) => (items?.length ? items.map((item) => h('span', { class: 'chip' }, item)) : null);

export function configuration(image) {
  const { config, env, labels, healthcheck } = image;
  return h(
    'div',
    { class: 'columns' },
    section(
      'How it runs',
      image.complete === false ? h('p', { class: 'note' }, 'The configuration is too large to be read here.') : null,
      facts([
        ['Platform', image.platform],
        ['Entrypoint', line(image.entrypoint)],
        ['Command', line(image.cmd)],
        ['Working directory', image.workdir && h('code', {}, image.workdir)],
        ['User', image.user && h('code', {}, image.user)],
        ['Ports', listed(image.ports)],
        ['Volumes', listed(image.volumes)],
        ['Stop signal', image.stop_signal],
        ['Health check', health(healthcheck)],
        ['Created', image.created && time(image.created)],
        ['Author', image.author],
        ['Manifest', digestWithCopy(image.digest)],
        ['Configuration', config && [digestWithCopy(config.digest), ` ${bytes(config.size)}`]],
      ]),
    ),
    h('div', {}, environment(env), labelList(labels)),
  );
}

function environment(env) {
  if (!env?.length) return null;
  const split = env.map((text) => {
    const at = text.indexOf('=');
    return at < 0 ? [text, ''] : [text.slice(0, at), text.slice(at + 1)];
  });
  return pairs('Environment', split);
}

function labelList(labels) {
  const given = Object.entries(labels ?? {});
  return given.length ? pairs('Labels', given) : null;
}
