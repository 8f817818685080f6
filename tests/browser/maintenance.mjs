// What operators ask of the stand-in registry: usage, quotas, runs of garbage collection.

const SLICES = 4;
const DAY = 86_400;

const name = (seed) => seed.repeat(32).slice(0, 32);
const time = (seconds) => new Date(seconds * 1000).toISOString();
const GIB = 1024 ** 3;

export class Maintenance {
  constructor(answers) {
    this.answers = answers;
    const now = Math.floor(Date.now() / 1000);
    this.now = now;
    this.slices = 0;
    this.settings = [
      ['http.addr', '127.0.0.1:5000'],
      ['storage.filesystem.rootdirectory', '/srv/registry'],
      ['storage.delete.enabled', 'true'],
      ['storage.maintenance.gc.interval', '24h'],
      ['policy.immutable', 'releases team/** v[0-9].*'],
      ['policy.quotas', 'team team/** 50GiB 1000 tags; all ** 2TiB'],
      ['auth.htpasswd.path', '/etc/roadstead/htpasswd'],
    ].map(([setting, value]) => ({ name: setting, value }));
    const run = (seed, days, more) => ({
      run: name(seed), begun: now - days * DAY, dry_run: false, repositories: 10_000, manifests: 10_061, expired: 0, expiring: 0, restored_tags: 0,
      untagged: 0, untagged_bytes: 0, restored: 0, foreign: false, blobs: 214, bytes: 1.31 * GIB, sighted: 3, sighted_bytes: 22_000_000,
      condemned: 0, condemned_bytes: 0, kept: 9, kept_bytes: 74_000_000, given_back: 0, removed: 0, removed_bytes: 0, operations: 22_400, ...more,
    });
    this.reports = [
      run('4c1f', 0.4, { condemned: 6, condemned_bytes: 51_200_000, untagged: 2, expired: 3 }),
      run('91aa', 1.4, { condemned: 3, condemned_bytes: 22_900_000, given_back: 1 }),
      run('e07b', 2.4, { failure: 'the storage did not answer for 30 s', sighted: 0, sighted_bytes: 0 }),
      run('2d58', 3.4, { removed: 12, removed_bytes: 388_000_000 }),
      run('7b03', 4.4, { removed: 4, removed_bytes: 96_400_000 }),
    ];
    this.runs = [
      { run: name('4c1f'), begun: time(now - 0.4 * DAY), blobs: 6, bytes: 51_200_000, manifests: 2, tags: 3, until: time(now + 6.6 * DAY) },
      { run: name('91aa'), begun: time(now - 1.4 * DAY), blobs: 3, bytes: 22_900_000, manifests: 0, tags: 0, until: time(now + 5.6 * DAY) },
    ];
  }

  answer(path, parameters, body) {
    if (body) return path === 'collect' ? this.slice(body) : null;
    switch (path) {
      case 'collect/usage':
        return this.answers.usage(parameters.last);
      case 'collect/quotas':
        return { quotas: this.quotas() };
      case 'collect/reports':
        return { reports: this.reports };
      case 'collect/trash':
        return { version: 1, runs: this.runs, complete: true };
      case 'retention':
        return { dry_run: true, repositories: this.expiring() };
      case 'uploads':
        return { version: 1, uploads: this.uploads(), next: null, complete: true };
      default:
        return null;
    }
  }

  slice({ run, dry_run: dry = false, undo }) {
    if (!run) this.slices = 0;
    this.slices += 1;
    if (this.slices <= SLICES) {
      return { status: 'running', run: name('a5c0'), stage: ['manifests', 'tags', 'blobs', 'removal'][this.slices - 1], percent: this.slices * 25, operations: 50, wait: 50 };
    }
    if (undo) this.runs = this.runs.filter((one) => one.run !== undo);
    const report = { ...this.reports[0], run: name('a5c0'), begun: Math.floor(Date.now() / 1000), dry_run: dry, condemned: 0, condemned_bytes: 0, untagged: 0, expired: 0, ...(undo && { undone: undo }) };
    this.reports.unshift(report);
    return { status: 'done', report };
  }

  quotas() {
    const { now } = this;
    return [
      { name: 'team', repositories: 'team/**', bytes_limit: 2 * GIB, tags_limit: 20_000, bytes: 0.95 * GIB, tags: 10_018, counted: now - 1200, incomplete: false },
      { name: 'fleet', repositories: 'fleet/**, !fleet/scratch/**', bytes_limit: 7_000_000, tags_limit: null, bytes: 6_600_000, tags: 9_988, counted: now - 1200, incomplete: false },
      { name: 'all', repositories: '**', bytes_limit: 2048 * GIB, tags_limit: null, bytes: 1.3 * GIB, tags: 20_030, counted: null, incomplete: true },
    ];
  }

  expiring() {
    const tag = (text, days, pulled) => ({ tag: text, pushed: this.now - days * DAY, ...(pulled && { pulled: this.now - pulled * DAY }) });
    return [
      { name: 'team/builds', policy: 'policies[0]', tags: [tag('build-09998', 76), tag('build-09999', 76.1), tag('build-10000', 76.2, 60)], passed_over: false },
      { name: 'team/web', policy: 'policies[0]', tags: [tag('1.3', 30, 21)], passed_over: false },
    ];
  }

  uploads() {
    const changed = (minutes) => new Date((this.now - minutes * 60) * 1000).toISOString();
    return [
      { repository: 'team/app', id: '6fd3c1aa', started: null, changed: changed(3), size: 41_000_000 },
      { repository: 'team/web', id: '0a4be9c2', started: null, changed: changed(60 * 30), size: null },
    ];
  }
}
