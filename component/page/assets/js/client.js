// Requests to the registry.

import { authorization, learn } from './auth.js';
import { inPath } from './route.js';

// The page is at `…/ui/`, and the API beside it at `…/v2/`, below whatever path a proxy has put them.
const ROOT = new URL('../', document.baseURI);

/** An error of the registry, or of the way to it (status 0). */
export class Failure extends Error {
  constructor({ status, code, message, retryAfter = null }) {
    super(message);
    Object.assign(this, { status, code, retryAfter });
  }
}

async function failure(response) {
  const body = await response.json().catch(() => null);
  const first = body?.errors?.[0] ?? {};
  return new Failure({
    status: response.status,
    code: first.code ?? null,
    message: first.message ?? `The registry answered ${response.status} ${response.statusText}`.trim(),
    retryAfter: response.headers.get('Retry-After'),
  });
}

async function send(path, { method = 'GET', body, scopes = [], signal }) {
  const url = new URL(path, ROOT);
  const once = (authorization) =>
    fetch(url, {
      method,
      body,
      signal,
      credentials: 'omit',
      headers: {
        Accept: 'application/json, application/vnd.oci.image.index.v1+json',
        ...(authorization && { Authorization: authorization }),
        ...(body && { 'Content-Type': 'application/json' }),
      },
    });
  const first = await authorization(ROOT, scopes, { signal });
  const response = await once(first);
  if (response.status !== 401) return response;
  const missing = learn(response.headers.get('WWW-Authenticate'));
  const wanted = missing && !scopes.length ? [missing] : scopes;
  const second = await authorization(ROOT, wanted, { fresh: true, signal });
  return second && second !== first ? once(second) : response;
}

async function request(path, options) {
  let response;
  try {
    response = await send(path, options);
  } catch (error) {
    if (error.name === 'AbortError') throw error;
    if (error instanceof Response) throw await failure(error);
    throw new Failure({ status: 0, code: null, message: 'The registry cannot be reached' });
  }
  if (!response.ok) throw await failure(response);
  return response;
}

const json = async (path, options) => (await request(path, options)).json();

const query = (parameters) => {
  const given = Object.entries(parameters).filter(([, value]) => value !== undefined && value !== null && value !== '');
  return given.length ? `?${new URLSearchParams(given.flatMap(([key, value]) => [value].flat().map((one) => [key, one])))}` : '';
};

// A token has to be asked for with all that the page may want to do: what it says of the user's
// permissions (`can`) is limited by the token too.
const ofRepository = (name) => [`repository:${name}:delete,pull,push`];
const ofRegistry = ['registry:catalog:*', 'registry:maintenance:*'];

export const head = (signal) => json('v2/_roadstead/ui/registry', { scopes: ofRegistry, signal });

export const repositories = (parameters, signal) =>
  json(`v2/_roadstead/repositories${query(parameters)}`, { scopes: ofRegistry, signal });

export const tags = (name, parameters, signal) =>
  json(`v2/${inPath(name)}/_roadstead/tags${query(parameters)}`, { scopes: ofRepository(name), signal });

export const image = (name, reference, platform, signal) =>
  json(`v2/${inPath(name)}/_roadstead/image/${encodeURIComponent(reference).replace('%3A', ':')}${query({ platform })}`, {
    scopes: ofRepository(name),
    signal,
  });

export const deletion = (name, names) =>
  json(`v2/${inPath(name)}/_roadstead/deletion${query({ tag: names })}`, { scopes: ofRepository(name) });

export const remove = (name, reference) =>
  request(`v2/${inPath(name)}/manifests/${encodeURIComponent(reference).replace('%3A', ':')}`, {
    method: 'DELETE',
    scopes: ofRepository(name),
  });

/** A page of a tag's history, and the query of the next one. */
export async function history(name, tag, parameters) {
  const path = `v2/${inPath(name)}/_oci/tag-history/${encodeURIComponent(tag)}`;
  const response = await request(`${path}${query(parameters)}`, { scopes: ofRepository(name) });
  const next = /<[^>]*\?([^>]*)>\s*;\s*rel="?next"?/.exec(response.headers.get('Link') ?? '');
  const { manifests = [] } = await response.json();
  return { manifests, next: next && Object.fromEntries(new URLSearchParams(next[1])) };
}

/** What operators ask: `what` is the end of the path. */
export const maintenance = (what, parameters = {}, signal) =>
  json(`v2/_roadstead/${what}${query(parameters)}`, { scopes: ofRegistry, signal });

/** One slice of a run of garbage collection. */
export const collect = (body) =>
  json('v2/_roadstead/collect', { method: 'POST', body: JSON.stringify(body), scopes: ofRegistry });
