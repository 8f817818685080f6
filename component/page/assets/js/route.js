// Places of the page. They are in the URL's fragment, so that it works below any path:
//   #/                    repositories        #/team/            a group of them
//   #/team/app            tags                #/team/app:v1      an image, also as #/team/app@sha256:…
//   #/~registry/usage     the registry
// Repository names have none of "~", ":" and "@".

const REGISTRY = '~registry';

const encode = (name) => name.split('/').map(encodeURIComponent).join('/');

function decode(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function search(query = {}) {
  const given = Object.entries(query).filter(([, value]) => value !== '' && value !== null && value !== undefined);
  return given.length ? `?${new URLSearchParams(given)}` : '';
}

export const to = {
  group: (under = '', query) => `#/${encode(under)}${search(query)}`,
  repository: (name, query) => `#/${encode(name)}${search(query)}`,
  image: (name, reference, query) => {
    const isDigest = /^[a-z0-9+._-]+:[0-9a-f]{32,}$/i.test(reference);
    return `#/${encode(name)}${isDigest ? `@${reference}` : `:${encodeURIComponent(reference)}`}${search(query)}`;
  },
  registry: (tab, query) => `#/${REGISTRY}${tab ? `/${tab}` : ''}${search(query)}`,
};

/** A repository's name as a part of an address of the API. */
export const inPath = encode;

export function parse(hash) {
  const [path, text = ''] = split(hash.replace(/^#\/?/, ''), '?');
  const query = Object.fromEntries(new URLSearchParams(text));
  if (path === REGISTRY || path.startsWith(`${REGISTRY}/`)) {
    return { view: 'registry', tab: decode(path.slice(REGISTRY.length + 1)), query };
  }
  if (path === '' || path.endsWith('/')) return { view: 'repositories', under: decode(path), query };
  const [byDigest, reference] = split(path, '@');
  if (reference) return { view: 'image', name: decode(byDigest), reference: decode(reference), query };
  const [name, tag] = split(path, ':');
  if (tag) return { view: 'image', name: decode(name), reference: decode(tag), query };
  return { view: 'tags', name: decode(path), query };
}

function split(text, at) {
  const index = text.indexOf(at);
  return index < 0 ? [text, undefined] : [text.slice(0, index), text.slice(index + 1)];
}

/** Goes to a place; with `replace`, without a step in the browser's history. */
export function go(hash, { replace = false } = {}) {
  if (replace) {
    history.replaceState(null, '', hash);
    window.dispatchEvent(new HashChangeEvent('hashchange'));
  } else if (location.hash === hash) {
    window.dispatchEvent(new HashChangeEvent('hashchange'));
  } else {
    location.hash = hash;
  }
}
