// The answers of the stand-in registry: the JSON that the page asks for, made of the content.

import { IMAGE, INDEX, platformOf } from './content.mjs';

const time = (at) => (at === null || at === undefined ? null : new Date(at).toISOString());
const order = (a, b) => (a < b ? -1 : a > b ? 1 : 0);

export class Missing extends Error {
  constructor(code) {
    super(code === 'NAME_UNKNOWN' ? 'repository name not known to registry' : 'manifest unknown to registry');
    this.code = code;
  }
}

export class Answers {
  constructor(content) {
    this.content = content;
    this.names = [...content.repositories.keys()].sort(order);
  }

  repository(name) {
    const repository = this.content.repositories.get(name);
    if (!repository) throw new Missing('NAME_UNKNOWN');
    return repository;
  }

  /** Everything that a manifest refers to, each once: digest to size. */
  blobs(repository, digest, found = new Map()) {
    const entry = repository.manifests.get(digest);
    if (!entry || found.has(digest)) return found;
    found.set(digest, entry.bytes.length);
    const { config, layers = [], manifests = [] } = entry.manifest;
    for (const { digest: own, size } of [config, ...layers].filter(Boolean)) found.set(own, size);
    for (const child of manifests) this.blobs(repository, child.digest, found);
    return found;
  }

  size(repository, digest) {
    return [...this.blobs(repository, digest).values()].reduce((sum, one) => sum + one, 0);
  }

  repositories({ under = '', q = '', last = '', n = 100 }, may) {
    const seen = this.names.filter(may);
    const entries = new Map();
    let total = 0;
    for (const name of seen) {
      if (q ? !name.toLowerCase().includes(q.toLowerCase()) : !name.startsWith(under)) continue;
      total += 1;
      const rest = name.slice(q ? 0 : under.length);
      const slash = q ? -1 : rest.indexOf('/');
      if (slash < 0) entries.set(name, { kind: 'repository', name });
      else {
        const group = under + rest.slice(0, slash + 1);
        const entry = entries.get(group) ?? { kind: 'group', name: group, members: [] };
        entry.members.push(name);
        entries.set(group, entry);
      }
    }
    const all = [...entries.values()].sort((a, b) => order(a.name, b.name)).filter(({ name }) => name > last);
    const page = all.slice(0, n);
    const listed = page.map((entry) => (entry.kind === 'group' ? this.#group(entry) : this.#entry(entry.name)));
    return { version: 1, under, total, complete: true, entries: listed, next: all.length > n ? page.at(-1).name : null };
  }

  #group({ kind, name, members }) {
    if (members.length > 2000) return { kind, name, repositories: members.length, tags: null, size: null, shared: null, pushed: null, complete: false };
    const found = new Map();
    for (const member of members) this.#held(this.repository(member), found);
    const size = [...found.values()].reduce((sum, one) => sum + one, 0);
    const all = members.map((member) => this.#entry(member));
    const tags = all.reduce((sum, entry) => sum + entry.tags, 0);
    const pushed = all.map((entry) => entry.pushed).sort(order).at(-1);
    return { kind, name, repositories: members.length, tags, size, shared: 0, pushed, complete: true };
  }

  #held(repository, found) {
    for (const digest of repository.manifests.keys()) this.blobs(repository, digest, found);
  }

  #entry(name) {
    const repository = this.repository(name);
    const found = new Map();
    this.#held(repository, found);
    const size = [...found.values()].reduce((sum, one) => sum + one, 0);
    const shared = name.startsWith('private/') ? null : Math.min(size, name.startsWith('base/') ? 0 : 5_300_000);
    const pushed = Math.max(...[...repository.tags.values()].map((tag) => tag.pushed));
    return { kind: 'repository', name, tags: repository.tags.size, size, shared, pushed: time(pushed), complete: true };
  }

  tags(name, { sort = 'name', order: direction = 'asc', q = '', offset = 0, n = 100 }, can, immutable) {
    const repository = this.repository(name);
    const leading = new Map();
    for (const { digest } of repository.tags.values()) leading.set(digest, (leading.get(digest) ?? 0) + 1);
    const sizes = new Map([...leading.keys()].map((digest) => [digest, this.size(repository, digest)]));
    const key = { name: (tag) => tag.name, pushed: (tag) => tag.pushed, size: (tag) => sizes.get(tag.digest) }[sort];
    const all = [...repository.tags.values()].filter((tag) => tag.name.includes(q)).sort((a, b) => order(key(a), key(b)) || order(a.name, b.name));
    if (direction === 'desc') all.reverse();
    const tags = all.slice(Number(offset), Number(offset) + Number(n)).map((tag) => {
      const { manifest } = repository.manifests.get(tag.digest);
      return {
        name: tag.name,
        digest: tag.digest,
        media_type: manifest.mediaType,
        artifact_type: manifest.artifactType ?? (this.#kind(manifest) === 'chart' ? manifest.config.mediaType : null),
        pushed: time(tag.pushed),
        pulled: time(tag.pulled),
        size: sizes.get(tag.digest),
        platforms: this.#platforms(repository, manifest),
        immutable: immutable(tag.name),
        same: leading.get(tag.digest) - 1,
      };
    });
    return { version: 1, name, total: repository.tags.size, matching: all.length, can, sorted_by: sort, complete: true, tags };
  }

  #kind({ mediaType, config, artifactType }) {
    if (mediaType === INDEX) return 'index';
    if (config?.mediaType.includes('helm')) return 'chart';
    return artifactType || !config?.mediaType.includes('image.config') ? 'artifact' : 'image';
  }

  #platforms(repository, manifest) {
    if (manifest.mediaType === INDEX) return manifest.manifests.map(({ platform }) => platformOf(platform)).filter((one) => !one.startsWith('unknown'));
    const config = this.content.blobs.get(manifest.config.digest);
    return this.#kind(manifest) === 'image' && config ? [platformOf(JSON.parse(config))] : [];
  }

  resolve(repository, reference) {
    const digest = reference.includes(':') && repository.manifests.has(reference) ? reference : repository.tags.get(reference)?.digest;
    const entry = repository.manifests.get(digest);
    if (!entry) throw new Missing('MANIFEST_UNKNOWN');
    return entry;
  }

  image(name, reference, platform, can, immutable) {
    const repository = this.repository(name);
    const entry = this.resolve(repository, reference);
    const { manifest, digest } = entry;
    const kind = this.#kind(manifest);
    const children = (manifest.manifests ?? []).map((child) => ({
      digest: child.digest,
      media_type: child.mediaType,
      size: child.size,
      total: this.size(repository, child.digest),
      platform: child.platform ? platformOf(child.platform) : null,
      artifact_type: null,
      annotations: child.annotations ?? {},
    }));
    const chosen = kind !== 'index' ? digest : (platform ? children.find((child) => child.platform === platform) : children[0])?.digest;
    const shown = repository.manifests.get(chosen)?.manifest;
    const referrers = [...repository.manifests.values()].filter((other) => other.manifest.subject?.digest === digest);
    return {
      version: 1,
      name,
      reference,
      digest,
      media_type: manifest.mediaType,
      artifact_type: manifest.artifactType ?? null,
      size: this.size(repository, digest),
      pushed: time(entry.pushed),
      kind,
      tags: [...repository.tags.values()].filter((tag) => tag.digest === digest).map((tag) => tag.name),
      tags_complete: true,
      complete: true,
      immutable: immutable(reference),
      can,
      annotations: manifest.annotations ?? {},
      subject: manifest.subject ? { digest: manifest.subject.digest, media_type: manifest.subject.mediaType, size: manifest.subject.size } : null,
      manifest: entry.bytes.toString(),
      children,
      image: shown ? this.#image(shown, chosen) : null,
      referrers: referrers.map((other) => ({
        digest: other.digest,
        media_type: IMAGE,
        artifact_type: other.manifest.artifactType,
        size: other.bytes.length,
        annotations: other.manifest.annotations ?? {},
      })),
      referrers_complete: true,
    };
  }

  #image({ config: descriptor, layers }, digest) {
    const isImage = descriptor.mediaType.includes('image.config');
    const config = isImage ? JSON.parse(this.content.blobs.get(descriptor.digest)) : { history: [] };
    const run = config.config ?? {};
    let layer = 0;
    const history = config.history.map((step) => ({
      created: step.created,
      created_by: step.created_by,
      comment: step.comment ?? '',
      empty: Boolean(step.empty_layer),
      layer: step.empty_layer ? null : layer++,
    }));
    return {
      digest,
      complete: true,
      platform: isImage ? platformOf(config) : null,
      created: config.created ?? null,
      author: config.author ?? null,
      config: { digest: descriptor.digest, size: descriptor.size, media_type: descriptor.mediaType },
      layers: layers.map((one, index) => ({
        digest: one.digest,
        size: one.size,
        media_type: one.mediaType,
        created_by: history.find((step) => step.layer === index)?.created_by ?? null,
        annotations: one.annotations ?? {},
      })),
      history,
      env: run.Env ?? [],
      entrypoint: run.Entrypoint ?? [],
      cmd: run.Cmd ?? [],
      user: run.User ?? '',
      workdir: run.WorkingDir ?? '',
      ports: Object.keys(run.ExposedPorts ?? {}),
      volumes: Object.keys(run.Volumes ?? {}),
      labels: run.Labels ?? {},
      stop_signal: run.StopSignal ?? null,
      healthcheck: run.Healthcheck ? { test: run.Healthcheck.Test, interval_ns: run.Healthcheck.Interval, timeout_ns: null, start_period_ns: null, retries: 3 } : null,
    };
  }

  deletion(name, names, immutable) {
    const repository = this.repository(name);
    const tags = names.map((tag) => {
      const digest = repository.tags.get(tag)?.digest ?? null;
      const others = [...repository.tags.values()].filter((other) => digest && other.digest === digest && other.name !== tag).map((other) => other.name);
      const referrers = [...repository.manifests.values()].filter((other) => digest && other.manifest.subject?.digest === digest).length;
      return { name: tag, digest, immutable: immutable(tag), missing: digest === null, others: others.slice(0, 100), others_complete: others.length <= 100, referrers };
    });
    return { version: 1, tags };
  }

  history(name, tag) {
    const repository = this.content.repositories.get(name);
    const manifests = (repository?.history.get(tag) ?? []).map(({ digest, at }) => {
      const entry = repository.manifests.get(digest);
      const annotations = { 'org.opencontainers.distribution.tag.timestamp': time(at), 'org.opencontainers.distribution.tag.event': 'created' };
      if (!entry) return { mediaType: 'application/octet-stream', digest, size: 0, annotations: { ...annotations, 'roadstead.manifest': 'missing' } };
      return { mediaType: entry.manifest.mediaType, digest, size: entry.bytes.length, annotations };
    });
    return { schemaVersion: 2, mediaType: INDEX, manifests };
  }

  remove(name, reference, immutable) {
    const repository = this.repository(name);
    const { digest } = this.resolve(repository, reference);
    const tags = reference.includes(':') ? [...repository.tags.values()].filter((tag) => tag.digest === digest).map((tag) => tag.name) : [reference];
    const held = tags.find(immutable);
    if (held !== undefined) return { immutable: held };
    for (const tag of tags) repository.tags.delete(tag);
    if (reference.includes(':')) repository.manifests.delete(digest);
    return {};
  }

  usage(last = '') {
    const after = this.names.filter((name) => name > last);
    const repositories = after.slice(0, 200).map((name) => {
      const repository = this.repository(name);
      const found = new Map();
      for (const digest of repository.manifests.keys()) this.blobs(repository, digest, found);
      return { name, manifests: repository.manifests.size, blobs: found.size, bytes: [...found.values()].reduce((sum, one) => sum + one, 0), unneeded: 0, incomplete: false };
    });
    return { repositories, ...(after.length > 200 && { next: repositories.at(-1).name }) };
  }
}
