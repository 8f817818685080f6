// How figures, times and digests are written.

import { h } from './dom.js';

const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];
const counts = new Intl.NumberFormat('en');
const relative = new Intl.RelativeTimeFormat('en', { style: 'short' });
const absolute = new Intl.DateTimeFormat('en', { dateStyle: 'medium', timeStyle: 'medium' });
const STEPS = [
  ['second', 60],
  ['minute', 60],
  ['hour', 24],
  ['day', 30.44],
  ['month', 12],
  ['year', Infinity],
];

export const NOT_KNOWN = '–';

export function count(number) {
  return number === null || number === undefined ? NOT_KNOWN : counts.format(number);
}

/** A number with its noun: "1 tag", "12 tags". */
export function many(number, one, several = `${one}s`) {
  return `${count(number)} ${number === 1 ? one : several}`;
}

export function bytes(size) {
  if (size === null || size === undefined) return NOT_KNOWN;
  let unit = 0;
  let value = size;
  while (value >= 1024 && unit < UNITS.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${unit === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)} ${UNITS[unit]}`;
}

export function percent(part, whole) {
  if (!whole) return '0 %';
  const share = (100 * part) / whole;
  return share > 0 && share < 1 ? '< 1 %' : `${Math.round(share)} %`;
}

function ago(date) {
  let value = (date - Date.now()) / 1000;
  for (const [unit, size] of STEPS) {
    if (Math.abs(value) < size) return relative.format(Math.round(value), unit);
    value /= size;
  }
  return '';
}

/** A point in time: RFC 3339, or seconds since 1970. */
export function time(value) {
  const date = typeof value === 'number' ? new Date(value * 1000) : new Date(value ?? NaN);
  if (Number.isNaN(date.getTime())) return h('span', { class: 'muted' }, NOT_KNOWN);
  return h('time', { datetime: date.toISOString(), title: absolute.format(date) }, ago(date));
}

/** A digest as it is told from others by eye; the whole of it is its title. */
export function digest(text) {
  const short = String(text).replace(/^([a-z0-9+._-]+:[0-9a-f]{12})[0-9a-f]+$/i, '$1');
  return h('code', { class: 'digest', title: text }, short);
}

const KINDS = {
  'application/vnd.oci.image.index.v1+json': 'OCI index',
  'application/vnd.oci.image.manifest.v1+json': 'OCI image',
  'application/vnd.docker.distribution.manifest.list.v2+json': 'Docker manifest list',
  'application/vnd.docker.distribution.manifest.v2+json': 'Docker image',
  'application/vnd.cncf.helm.config.v1+json': 'Helm chart',
  'application/vnd.cncf.helm.chart.content.v1.tar+gzip': 'chart archive',
  'application/vnd.cncf.helm.chart.provenance.v1.prov': 'chart provenance',
};

/** A media type in few words, where it is a common one. */
export function mediaType(type) {
  return KINDS[type] ?? type ?? NOT_KNOWN;
}
