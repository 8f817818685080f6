// A stand-in for the registry: serves the page and answers its requests, from content that is made
// up. `node mock.mjs [port]` serves it for developing the page; AUTH is none, basic or token.

import { createHash, randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { extname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { Answers, Missing } from './answers.mjs';
import { Content, fill } from './content.mjs';
import { Maintenance } from './maintenance.mjs';

const ASSETS = fileURLToPath(new URL('../../component/page/assets', import.meta.url));
const TYPES = { '.html': 'text/html; charset=utf-8', '.css': 'text/css; charset=utf-8', '.js': 'text/javascript; charset=utf-8', '.svg': 'image/svg+xml' };
const POLICY =
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

// Who may do what: a rule is for all repositories whose names begin so.
export const USERS = {
  alice: { password: 'anchor', pull: [''], delete: [''], catalog: true, maintain: true },
  bob: { password: 'buoy', pull: ['team/', 'base/', 'charts/', 'hostile/'], delete: [], catalog: true, maintain: false },
};

class Refused extends Error {
  constructor(status, code, message, headers = {}) {
    super(message);
    Object.assign(this, { status, code, headers });
  }
}

class Registry {
  constructor({ authentication, content }) {
    this.authentication = authentication;
    this.answers = new Answers(content);
    this.maintenance = new Maintenance(this.answers);
    this.tokens = new Map();
    this.requests = [];
  }

  /** The user of a request; undefined if anybody is served. */
  caller(request) {
    if (this.authentication === 'none') return undefined;
    const [kind, value = ''] = (request.headers.authorization ?? '').split(' ');
    if (kind === 'Bearer' && this.tokens.has(value)) return this.tokens.get(value);
    if (kind === 'Basic') return { user: this.password(value), access: null };
    throw this.challenge('authentication is required; log in to this registry first');
  }

  password(value) {
    const [name, password] = Buffer.from(value, 'base64').toString().split(/:([^]*)/);
    if (USERS[name]?.password !== password) throw new Refused(401, 'UNAUTHORIZED', 'the user name or the password is wrong', this.challenge('').headers);
    return name;
  }

  challenge(message, scope) {
    const bearer = `Bearer realm="http://${this.reached}/v2/token",service="registry"${scope ? `,scope="${scope}"` : ''}`;
    const header = this.authentication === 'token' ? bearer : 'Basic realm="Registry"';
    return new Refused(401, 'UNAUTHORIZED', message, { 'WWW-Authenticate': header });
  }

  may(caller, action, name) {
    if (!caller) return true;
    const allowed = USERS[caller.user][action].some((prefix) => name.startsWith(prefix));
    return allowed && (!caller.access || caller.access.includes(`repository:${name}:${action}`));
  }

  wide(caller, right, scope) {
    return !caller || (USERS[caller.user][right] && (!caller.access || caller.access.includes(scope)));
  }

  token(request, url) {
    const [, value] = (request.headers.authorization ?? '').split(' ');
    if (!value) throw new Refused(401, 'UNAUTHORIZED', 'authentication is required', { 'WWW-Authenticate': 'Basic realm="Registry"' });
    const user = this.password(value);
    const token = randomUUID();
    const access = url.searchParams.getAll('scope').flatMap((scope) => {
      const [, kind, name, actions] = /^(\w+):(.*):(.*)$/.exec(scope);
      return actions.split(',').map((action) => `${kind}:${name}:${action}`);
    });
    this.tokens.set(token, { user, access });
    return { token, expires_in: 300 };
  }

  require(allowed, caller, scope) {
    if (allowed) return;
    if (caller?.access) throw this.challenge('the token does not grant this access; request one with this scope', scope);
    throw new Refused(403, 'DENIED', 'requested access to the resource is denied');
  }

  async answer(request, url) {
    // As the client reached the registry, which may be through a proxy.
    this.reached = request.headers.host;
    const { pathname } = url;
    const parameters = Object.fromEntries(url.searchParams);
    const write = !['GET', 'HEAD'].includes(request.method);
    if (write && ['cross-site', 'same-site'].includes(request.headers['sec-fetch-site'])) {
      throw new Refused(403, 'DENIED', 'this request was sent by a page of another origin');
    }
    if (pathname === '/v2/token') return this.token(request, url);
    const caller = this.caller(request);
    if (pathname === '/v2/') return {};
    if (pathname === '/v2/_roadstead/ui/registry') return this.head(caller);
    if (pathname === '/v2/_roadstead/repositories') {
      this.require(this.wide(caller, 'catalog', 'registry:catalog:*'), caller, 'registry:catalog:*');
      return this.answers.repositories({ ...parameters, n: Number(parameters.n ?? 100) }, (name) => this.listed(caller, name));
    }
    if (pathname.startsWith('/v2/_roadstead/')) {
      this.require(this.wide(caller, 'maintain', 'registry:maintenance:*'), caller, 'registry:maintenance:*');
      const body = write ? JSON.parse((await collectBody(request)) || '{}') : null;
      const answer = this.maintenance.answer(pathname.slice('/v2/_roadstead/'.length), parameters, body);
      if (answer) return answer;
      throw new Refused(404, 'UNSUPPORTED', 'there is no such endpoint');
    }
    return this.inRepository(request, caller, url, parameters);
  }

  listed(caller, name) {
    return !caller || USERS[caller.user].pull.some((prefix) => name.startsWith(prefix));
  }

  head(caller) {
    const maintain = this.wide(caller, 'maintain', 'registry:maintenance:*');
    const catalog = this.wide(caller, 'catalog', 'registry:catalog:*');
    return {
      version: 1,
      name: 'Roadstead',
      release: '1.2.0',
      user: caller?.user ?? null,
      authentication: this.authentication,
      can: { catalog, delete: true, maintain, collect: maintain },
      storage: 'directory',
      read_only: false,
      ...(maintain && { settings: this.maintenance.settings }),
    };
  }

  inRepository(request, caller, { pathname, searchParams }, parameters) {
    const match = /^\/v2\/(.+)\/(?:_roadstead\/(tags|deletion)|_roadstead\/(image)\/([^/]+)|(_oci)\/tag-history\/([^/]+)|(manifests)\/([^/]+))$/.exec(pathname);
    if (!match) throw new Refused(404, 'UNSUPPORTED', 'there is no such endpoint');
    const name = match[1].split('/').map(decodeURIComponent).join('/');
    const kind = match[2] ?? match[3] ?? match[5] ?? match[7];
    const reference = decodeURIComponent(match[4] ?? match[6] ?? match[8] ?? '');
    const action = kind === 'deletion' || kind === 'manifests' ? 'delete' : 'pull';
    this.require(this.may(caller, action, name), caller, `repository:${name}:${action}`);
    const can = { push: this.may(caller, 'delete', name), delete: this.may(caller, 'delete', name) };
    const immutable = (tag) => name === 'team/app' && /^v[0-9]/.test(tag);
    if (kind === 'tags') return this.answers.tags(name, parameters, can, immutable);
    if (kind === 'deletion') return this.answers.deletion(name, searchParams.getAll('tag'), immutable);
    if (kind === 'image') return this.answers.image(name, reference, parameters.platform, can, immutable);
    if (kind === '_oci') return this.answers.history(name, reference);
    if (request.method !== 'DELETE') throw new Refused(405, 'UNSUPPORTED', 'the stand-in has no such method');
    const said = this.answers.remove(name, reference, immutable);
    if (said.immutable) throw new Refused(409, 'DENIED', `tag ${said.immutable} is immutable by the rule "releases" of REGISTRY_POLICY_IMMUTABLE`);
    return null;
  }
}

async function collectBody(request) {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}

async function asset(path, request, response) {
  const file = normalize(join(ASSETS, path === '' ? 'index.html' : path));
  const bytes = file.startsWith(ASSETS) ? await readFile(file).catch(() => null) : null;
  if (!bytes) return response.writeHead(404).end();
  const etag = `"sha256:${createHash('sha256').update(bytes).digest('hex')}"`;
  const headers = {
    'Content-Security-Policy': POLICY,
    'X-Content-Type-Options': 'nosniff',
    'Referrer-Policy': 'no-referrer',
    'Cache-Control': 'no-cache',
    'Cross-Origin-Opener-Policy': 'same-origin',
    'Cross-Origin-Resource-Policy': 'same-origin',
    Vary: 'Accept-Encoding',
    ETag: etag,
  };
  if (request.headers['if-none-match'] === etag) return response.writeHead(304, headers).end();
  const zipped = /\bgzip\b/.test(request.headers['accept-encoding'] ?? '');
  response.writeHead(200, { ...headers, 'Content-Type': TYPES[extname(file)], ...(zipped && { 'Content-Encoding': 'gzip' }) });
  return response.end(zipped ? gzipSync(bytes, { level: 9 }) : bytes);
}

async function serve(registry, request, response) {
  const url = new URL(request.url, 'http://stand-in');
  registry.requests.push({ method: request.method, path: url.pathname });
  if (url.pathname === '/' || url.pathname === '/ui') {
    if (url.pathname === '/' && !/text\/html/.test(request.headers.accept ?? '')) return response.writeHead(200).end();
    return response.writeHead(307, { Location: 'ui/' }).end();
  }
  if (url.pathname.startsWith('/ui/')) return asset(decodeURIComponent(url.pathname.slice(4)), request, response);
  const headers = { 'Content-Type': 'application/json', 'Content-Security-Policy': "sandbox; default-src 'none'", 'X-Content-Type-Options': 'nosniff' };
  try {
    const answer = await registry.answer(request, url);
    response.writeHead(answer === null ? 202 : 200, headers).end(answer === null ? '' : JSON.stringify(answer));
  } catch (error) {
    const refused = error instanceof Missing ? { status: 404, code: error.code, headers: {} } : error;
    if (!refused.status) throw error;
    response.writeHead(refused.status, { ...headers, ...refused.headers }).end(JSON.stringify({ errors: [{ code: refused.code, message: error.message }] }));
  }
  return undefined;
}

/** Starts a stand-in on this machine only. */
export async function start({ authentication = 'none', port = 0, ...size } = {}) {
  const registry = new Registry({ authentication, content: fill(new Content(), size) });
  const server = createServer((request, response) => {
    serve(registry, request, response).catch((error) => {
      console.error(error);
      response.destroy();
    });
  });
  await new Promise((resolve) => server.listen(port, '127.0.0.1', resolve));
  const close = () => {
    server.closeAllConnections();
    return new Promise((resolve) => server.close(resolve));
  };
  return { url: `http://127.0.0.1:${server.address().port}/`, requests: registry.requests, close };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { url } = await start({ authentication: process.env.AUTH ?? 'none', port: Number(process.argv[2] ?? 0) });
  console.log(`${url}ui/`);
}
