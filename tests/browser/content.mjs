// What the tests' registry has: the same for the stand-in registry, which only needs sizes, and for a
// real one, which `fill.mjs` pushes it to.

import { createHash } from 'node:crypto';

const OCI = 'application/vnd.oci';
export const IMAGE = `${OCI}.image.manifest.v1+json`;
export const INDEX = `${OCI}.image.index.v1+json`;
const CONFIG = `${OCI}.image.config.v1+json`;
const LAYER = `${OCI}.image.layer.v1.tar+gzip`;
const EMPTY = `${OCI}.empty.v1+json`;

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

// A layer of a real registry has a byte where the stand-in's has so many.
const SCALE = 16_384;

/** What must never run, wherever it is stored. */
export const HOSTILE = '<img src=x onerror="window.hit=1"><script>window.hit=1</script>\'"&lt;b&gt;${1}{{1}}';
export const HOSTILE_LINK = 'javascript:window.hit=1';

const sha256 = (bytes) => `sha256:${createHash('sha256').update(bytes).digest('hex')}`;

/** Content by digest, and repositories with manifests and tags. `real` content has bytes. */
export class Content {
  constructor({ real = false } = {}) {
    this.real = real;
    this.blobs = new Map();
    this.repositories = new Map();
    this.now = Date.now();
  }

  blob(seed, size, mediaType) {
    if (!this.real) return { mediaType, digest: sha256(seed), size };
    const bytes = Buffer.alloc(Math.max(1, Math.ceil(size / SCALE)), createHash('sha256').update(seed).digest());
    return this.bytes(bytes, mediaType);
  }

  bytes(bytes, mediaType) {
    const digest = sha256(bytes);
    this.blobs.set(digest, bytes);
    return { mediaType, digest, size: bytes.length };
  }

  json(value, mediaType) {
    return this.bytes(Buffer.from(JSON.stringify(value)), mediaType);
  }

  repository(name) {
    if (!this.repositories.has(name)) this.repositories.set(name, { name, manifests: new Map(), tags: new Map(), history: new Map() });
    return this.repositories.get(name);
  }

  /** Stores a manifest, and lets tags lead to it: `tags` are [name, age] or [name, age, last pull]. */
  push(name, manifest, tags = [], age = 0) {
    const repository = this.repository(name);
    const bytes = Buffer.from(JSON.stringify(manifest, null, 2));
    const digest = sha256(bytes);
    const pushed = this.now - (tags[0]?.[1] ?? age);
    repository.manifests.set(digest, { manifest, bytes, digest, pushed });
    for (const [tag, ago, pulled = null] of tags) {
      const at = this.now - ago;
      repository.tags.set(tag, { name: tag, digest, pushed: at, pulled: pulled === null ? null : this.now - pulled });
      repository.history.set(tag, [{ digest, at }, ...(repository.history.get(tag) ?? [])]);
    }
    return { mediaType: manifest.mediaType, digest, size: bytes.length };
  }

  /** An image manifest. `steps` are [command, bytes or 0 for none]. */
  image(seed, { steps, config = {}, platform = 'linux/amd64', annotations }) {
    const [os, architecture, variant] = platform.split('/');
    const layers = steps.filter(([, size]) => size).map(([command, size, shared]) => this.blob(`${shared ?? `${seed} ${platform}`} ${command}`, size, LAYER));
    const created = new Date(this.now - 3 * DAY).toISOString();
    const descriptor = this.json(
      {
        created,
        author: config.author ?? 'Harbour Works <build@harbour.example>',
        os,
        architecture,
        ...(variant && { variant }),
        config: config.config ?? {},
        rootfs: { type: 'layers', diff_ids: layers.map(({ digest }) => digest) },
        history: steps.map(([command, size]) => ({ created, created_by: command, ...(!size && { empty_layer: true }) })),
      },
      CONFIG,
    );
    return { schemaVersion: 2, mediaType: IMAGE, config: descriptor, layers, ...(annotations && { annotations }) };
  }
}

const BASE = [
  ['/bin/sh -c #(nop) ADD file:6e1bb0b4c2a9 in / ', 3_400_000, 'base'],
  ['RUN /bin/sh -c apk add --no-cache ca-certificates tzdata # buildkit', 1_900_000, 'base'],
];

function appSteps(version) {
  return [
    ...BASE,
    ['WORKDIR /srv/app', 0],
    ['COPY --chown=app:app node_modules ./node_modules # buildkit', 38_200_000, 'dependencies'],
    ['RUN |1 VERSION=2 /bin/sh -c npm run build && npm prune --omit=dev # buildkit', 14_700_000],
    [`COPY dist ./dist # ${version}`, 6_300_000],
    ['COPY public ./public # buildkit', 2_100_000],
    ['USER app', 0],
    ['EXPOSE map[8080/tcp:{}]', 0],
    ['ENTRYPOINT ["node" "dist/server.js"]', 0],
  ];
}

const APP = {
  Env: ['PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', 'NODE_ENV=production', 'TZ=UTC', 'PORT=8080'],
  Entrypoint: ['node', 'dist/server.js'],
  Cmd: ['--log-format', 'json lines'],
  WorkingDir: '/srv/app',
  User: 'app:app',
  ExposedPorts: { '8080/tcp': {}, '9090/tcp': {} },
  Volumes: { '/var/lib/app': {} },
  StopSignal: 'SIGTERM',
  Healthcheck: { Test: ['CMD-SHELL', 'wget -qO- http://127.0.0.1:9090/healthz'], Interval: 30e9 },
  Labels: {
    'org.opencontainers.image.source': 'https://git.harbour.example/team/app',
    'org.opencontainers.image.licenses': 'Apache-2.0',
    'org.opencontainers.image.title': 'app',
  },
};

function app(content, version, tags) {
  const children = ['linux/amd64', 'linux/arm64/v8', 'linux/arm/v7'].map((platform) => {
    const manifest = content.image(version, { steps: appSteps(version), config: { config: APP }, platform });
    const [os, architecture, variant] = platform.split('/');
    return { ...content.push('team/app', manifest, [], tags[0][1]), platform: { os, architecture, ...(variant && { variant }) } };
  });
  const statement = content.image(`${version} attestation`, { steps: [['in-toto', 24_000]], platform: 'unknown/unknown' });
  children.push({
    ...content.push('team/app', statement, [], tags[0][1]),
    platform: { os: 'unknown', architecture: 'unknown' },
    annotations: { 'vnd.docker.reference.type': 'attestation-manifest', 'vnd.docker.reference.digest': children[0].digest },
  });
  const annotations = {
    'org.opencontainers.image.version': version,
    'org.opencontainers.image.source': 'https://git.harbour.example/team/app',
    'org.opencontainers.image.revision': sha256(version).slice(7, 47),
  };
  return content.push('team/app', { schemaVersion: 2, mediaType: INDEX, manifests: children, annotations }, tags);
}

function referrers(content, name, subject) {
  const attach = (artifactType, file, size, annotations) => {
    const config = content.bytes(Buffer.from('{}'), EMPTY);
    const layer = { ...content.blob(`${artifactType} ${subject.digest}`, size, artifactType), annotations: { 'org.opencontainers.image.title': file } };
    content.push(name, { schemaVersion: 2, mediaType: IMAGE, artifactType, config, layers: [layer], subject, annotations }, [], HOUR);
  };
  attach('application/vnd.dev.cosign.artifact.sig.v1+json', 'signature.json', 2_300, { 'dev.sigstore.issuer': 'https://accounts.harbour.example' });
  attach('application/spdx+json', 'sbom.spdx.json', 184_000, { 'org.opencontainers.image.created': '2026-11-30T10:00:00Z' });
  attach('application/vnd.in-toto+json', 'provenance.json', 9_100, {});
}

function chart(content, version, age) {
  const config = content.json({ name: 'harbour', version, apiVersion: 'v2', appVersion: '2.3.0' }, 'application/vnd.cncf.helm.config.v1+json');
  const layer = { ...content.blob(`chart ${version}`, 48_000, 'application/vnd.cncf.helm.chart.content.v1.tar+gzip') };
  const annotations = { 'org.opencontainers.image.title': 'harbour', 'org.opencontainers.image.version': version };
  content.push('charts/harbour', { schemaVersion: 2, mediaType: IMAGE, config, layers: [layer], annotations }, [[version.replace('+', '_'), age]]);
}

function hostile(content, name) {
  const config = {
    author: HOSTILE,
    config: {
      Env: [`A=${HOSTILE}`, HOSTILE],
      Entrypoint: [HOSTILE],
      Cmd: [HOSTILE],
      User: HOSTILE,
      WorkingDir: HOSTILE,
      StopSignal: HOSTILE,
      Healthcheck: { Test: ['CMD-SHELL', HOSTILE] },
      ExposedPorts: { [HOSTILE]: {} },
      Volumes: { [HOSTILE]: {} },
      Labels: { [HOSTILE]: HOSTILE, link: HOSTILE_LINK },
    },
  };
  const annotations = { [HOSTILE]: HOSTILE, link: HOSTILE_LINK };
  const image = content.image(name, { steps: [[HOSTILE, 5000], [HOSTILE, 0]], config, annotations, platform: 'linux/amd64' });
  if (!content.real) image.layers[0].mediaType = HOSTILE;
  const pushed = content.push(name, image, [['v1', HOUR], ...(content.real ? [] : [[HOSTILE, HOUR]])]);
  const empty = content.bytes(Buffer.from('{}'), EMPTY);
  const layer = { ...empty, annotations: { 'org.opencontainers.image.title': HOSTILE } };
  const artifactType = content.real ? 'application/vnd.example+json' : HOSTILE;
  content.push(name, { schemaVersion: 2, mediaType: IMAGE, artifactType, config: empty, layers: [layer], subject: pushed, annotations }, []);
}

/** Everything. `repositories` is how many there are at least, `tags` how many one of them has. */
export function fill(content, { repositories = 10_000, tags = 10_000 } = {}) {
  const releases = ['1.0.0', '1.1.0', '1.2.0', '1.2.1', '1.3.0', '2.0.0', '2.1.0', '2.2.0', '2.2.1'];
  releases.forEach((version, index) => app(content, version, [[`v${version}`, (60 - 6 * index) * DAY, (index + 1) * HOUR]]));
  for (const ago of [20 * DAY, 9 * DAY]) app(content, `nightly ${ago}`, [['latest', ago]]);
  const newest = app(content, '2.3.0', [['v2.3.0', 5 * HOUR, 20 * MINUTE], ['2.3', 5 * HOUR], ['latest', 5 * HOUR, 4 * MINUTE]]);
  app(content, 'nightly', [['edge', 40 * MINUTE]]);
  referrers(content, 'team/app', newest);

  const web = (version, names) => content.push('team/web', content.image(`web ${version}`, { steps: [...BASE, [`COPY site /usr/share/nginx/html # ${version}`, 9_800_000]], config: { config: { Cmd: ['nginx', '-g', 'daemon off;'], ExposedPorts: { '80/tcp': {} } } } }), names);
  web('1.3', [['1.3', 30 * DAY]]);
  web('1.4', [['1.4', 2 * DAY, DAY], ['1.4.2', 2 * DAY], ['stable', 2 * DAY, HOUR]]);
  web('1.5', [['1.5-rc1', 6 * HOUR]]);

  chart(content, '1.1.0', 12 * DAY);
  chart(content, '1.2.0+build.7', DAY);
  for (const [name, size] of [['base/alpine', 3_500_000], ['base/debian', 48_000_000], ['base/distroless', 21_000_000], ['private/vault', 88_000_000], ['tools/crane', 11_000_000]]) {
    content.push(name, content.image(name, { steps: [['ADD rootfs.tar /', size], ['CMD ["sh"]', 0]], config: { config: { Cmd: ['sh'] } } }), [['latest', 3 * DAY], ['3', 8 * DAY]]);
  }
  hostile(content, 'hostile/strings');
  if (!content.real) hostile(content, `hostile/${HOSTILE.replaceAll('/', '')}`);

  // For tests that delete.
  const scrap = (version) => content.image(`scrap ${version}`, { steps: [...BASE, [`COPY ${version} /`, 400_000]] });
  content.push('scratch/tags', scrap('1'), [['one', HOUR], ['two', HOUR], ['three', HOUR]]);
  content.push('scratch/tags', scrap('2'), [['four', HOUR], ['five', HOUR]]);

  const build = content.image('builds', { steps: BASE });
  for (let n = 1; n <= tags; n += 1) content.push('team/builds', build, [[`build-${String(n).padStart(5, '0')}`, n * 11 * MINUTE]]);
  const docks = ['baltic', 'biscay', 'dogger', 'fastnet', 'fisher', 'forties', 'humber', 'lundy', 'malin', 'plymouth', 'thames', 'viking'];
  const ship = content.image('ship', { steps: [...BASE, ['COPY ship /ship', 1_200_000]] });
  for (let n = content.repositories.size; n < repositories; n += 1) {
    content.push(`fleet/${docks[n % docks.length]}/ship-${String(n).padStart(5, '0')}`, ship, [['latest', (n % 700) * HOUR]]);
  }
  return content;
}

export const platformOf = ({ os, architecture, variant }) => [os, architecture, variant].filter(Boolean).join('/');
