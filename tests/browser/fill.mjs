// Pushes the tests' content to a registry, by the plain protocol:
//   ROADSTEAD_URL=http://127.0.0.1:5000 ROADSTEAD_ADMIN=alice:anchor node fill.mjs [repositories] [tags]
// Deletions of earlier tests are made good by pushing again.

import { Content, fill } from './content.mjs';

const root = new URL(process.env.ROADSTEAD_URL ?? 'http://127.0.0.1:5000');
const credentials = process.env.ROADSTEAD_ADMIN;
const [repositories = 300, tags = 250] = process.argv.slice(2).map(Number);

// Requests in flight.
const AT_ONCE = 8;

let bearer = null;

/** Asks for a token if the registry wants one; otherwise, sends the password. */
async function authorization(name) {
  if (!credentials) return {};
  const basic = `Basic ${Buffer.from(credentials).toString('base64')}`;
  if (bearer === null) {
    const challenge = (await fetch(new URL('/v2/', root))).headers.get('www-authenticate') ?? '';
    bearer = /^bearer/i.test(challenge) && Object.fromEntries([...challenge.matchAll(/(\w+)="([^"]*)"/g)].map(([, key, value]) => [key, value]));
  }
  if (!bearer) return { Authorization: basic };
  const url = new URL(bearer.realm);
  url.searchParams.set('service', bearer.service ?? '');
  url.searchParams.set('scope', `repository:${name}:pull,push`);
  const { token } = await (await fetch(url, { headers: { Authorization: basic } })).json();
  return { Authorization: `Bearer ${token}` };
}

async function send(method, path, options, ...expected) {
  const response = await fetch(new URL(path, root), { method, ...options });
  if (!expected.includes(response.status)) throw new Error(`${method} ${path}: ${response.status} ${await response.text()}`);
  await response.arrayBuffer();
  return response;
}

async function pushBlob(name, digest, bytes, headers) {
  const found = await send('HEAD', `/v2/${name}/blobs/${digest}`, { headers }, 200, 404);
  if (found.status === 200) return;
  const started = await send('POST', `/v2/${name}/blobs/uploads/`, { headers }, 202);
  const url = new URL(started.headers.get('location'), root);
  url.searchParams.set('digest', digest);
  await send('PUT', url, { headers: { ...headers, 'Content-Type': 'application/octet-stream' }, body: bytes }, 201);
}

const blobsOf = ({ config, layers = [] }) => [config, ...layers].filter(Boolean).map(({ digest }) => digest);

async function pushRepository(content, { name, manifests, tags: named, history }) {
  const headers = await authorization(name);
  const put = (reference, { manifest, bytes }) =>
    send('PUT', `/v2/${name}/manifests/${reference}`, { headers: { ...headers, 'Content-Type': manifest.mediaType }, body: bytes }, 201, 409);
  const pushed = new Set();
  for (const entry of manifests.values()) {
    for (const digest of blobsOf(entry.manifest)) {
      if (!pushed.has(digest)) await pushBlob(name, digest, content.blobs.get(digest), headers);
      pushed.add(digest);
    }
    await put(entry.digest, entry);
  }
  // In the order of the times of the tags, and each with what it has led to before.
  const moves = [...history].flatMap(([tag, entries]) => entries.map(({ digest, at }) => ({ tag, digest, at })));
  moves.sort((a, b) => a.at - b.at);
  for (const { tag, digest } of moves) await put(tag, manifests.get(digest));
  return named.size;
}

const content = fill(new Content({ real: true }), { repositories, tags });
const waiting = [...content.repositories.values()];
let done = 0;
await Promise.all(
  Array.from({ length: AT_ONCE }, async () => {
    while (waiting.length) {
      await pushRepository(content, waiting.shift());
      done += 1;
    }
  }),
);
console.log(`${done} repositories`);
