// Who is logged in, and what is sent to prove it. No cookies: the password is kept in this tab's
// session storage, so that a reload does not ask for it, and is gone with the tab.

const KEPT = 'roadstead.login';

// Seconds before its end at which a token is not used any longer.
const MARGIN = 10;

let login = null;
// How the registry wants to be asked: null (nothing yet), or {kind: 'basic'}, or
// {kind: 'bearer', realm, service}.
let scheme = null;
const tokens = new Map();

try {
  ({ login = null, scheme = null } = JSON.parse(sessionStorage.getItem(KEPT)) ?? {});
} catch {
  // Storage is turned off, or has something else: the user logs in again.
}

function keep() {
  try {
    if (login) sessionStorage.setItem(KEPT, JSON.stringify({ login, scheme }));
    else sessionStorage.removeItem(KEPT);
  } catch {
    // Without storage, the login lasts until the page is left.
  }
}

export const user = () => login?.user ?? null;

export function logIn(name, password) {
  login = { user: name, password };
  tokens.clear();
  keep();
}

export function logOut() {
  login = null;
  tokens.clear();
  keep();
}

/** Reads a challenge (`WWW-Authenticate`): remembers how to log in, and returns the scope that was missing. */
export function learn(header) {
  const bearer = /(?:^|,\s*)Bearer\s+(.*)/is.exec(header ?? '');
  if (!bearer) {
    scheme = /(?:^|,\s*)Basic\b/i.test(header ?? '') ? { kind: 'basic' } : scheme;
    keep();
    return null;
  }
  const parameters = {};
  for (const [, key, value] of bearer[1].matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)) parameters[key] = value.replace(/\\(.)/g, '$1');
  scheme = { kind: 'bearer', realm: parameters.realm, service: parameters.service };
  keep();
  return parameters.scope ?? null;
}

function basic() {
  const text = new TextEncoder().encode(`${login.user}:${login.password}`);
  return `Basic ${btoa(Array.from(text, (byte) => String.fromCharCode(byte)).join(''))}`;
}

/** The `Authorization` for these scopes, or null to send none. */
export async function authorization(root, scopes, { fresh = false, signal } = {}) {
  if (scheme?.kind === 'basic' || (login && !scheme)) return login && basic();
  if (scheme?.kind !== 'bearer') return null;
  const key = scopes.join(' ');
  const known = tokens.get(key);
  if (known && !fresh && known.until > Date.now()) return known.value;
  const token = await ask(root, scopes, signal);
  if (!token) return null;
  const until = Date.now() + Math.max(0, (token.expires_in ?? 60) - MARGIN) * 1000;
  const value = `Bearer ${token.token ?? token.access_token}`;
  tokens.set(key, { value, until });
  return value;
}

/** Asks the token service, as the user or as nobody; null if it does not say yes. */
async function ask(root, scopes, signal) {
  const url = realm(root);
  if (scheme.service) url.searchParams.set('service', scheme.service);
  for (const scope of scopes) url.searchParams.append('scope', scope);
  const headers = login ? { Authorization: basic() } : {};
  const response = await fetch(url, { headers, credentials: 'omit', cache: 'no-store', signal });
  if (response.status === 401) return null;
  if (!response.ok) throw response;
  return response.json();
}

/** The token service's address. A proxy may have changed scheme and path of the registry's own one. */
function realm(root) {
  const given = new URL(scheme.realm, root);
  return given.host === root.host && given.pathname === '/v2/token' ? new URL('v2/token', root) : given;
}
