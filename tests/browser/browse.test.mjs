// Looking at repositories, tags and images.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { ADMIN, SIZE, STAND_IN_ONLY, enter, faults, launch, move, registry, settled } from './lib.mjs';

let browser;
let served;
let page;

before(async () => {
  browser = await launch();
  served = await registry();
  page = await enter(browser, served.url, ADMIN);
});
after(async () => {
  await browser.close();
  await served.close();
});

const text = (selector) => page.locator(selector).first().innerText();
const names = () => page.locator('main tbody th .entry').allInnerTexts();

describe('repositories', () => {
  test('are a tree', async () => {
    await move(page, '#/');
    const groups = await names();
    assert.ok(groups.includes('team/') && groups.includes('base/'), groups.join());
    await page.getByRole('link', { name: 'team/', exact: true }).click();
    await settled(page);
    assert.deepEqual(await names(), ['app', 'builds', 'web']);
    await page.getByRole('navigation', { name: 'Breadcrumbs' }).getByRole('link', { name: 'All repositories' }).click();
    await settled(page);
    assert.deepEqual(await names(), groups);
  });

  test('have tags, sizes and the time of the last push', async () => {
    await move(page, '#/team/');
    const row = page.getByRole('row', { name: /^app/ });
    assert.match(await row.innerText(), /13\s+[\d.]+ [KMG]?i?B/);
    assert.match(await row.locator('time').last().getAttribute('datetime'), /^\d{4}-/);
    await move(page, '#/');
    const group = page.getByRole('row', { name: /^base\// });
    assert.match(await group.innerText(), /repositor(y|ies)\s+\d+\s+[\d.]+ [KMG]?i?B/);
    assert.match(await group.locator('time').last().getAttribute('datetime'), /^\d{4}-/);
  });

  test('are searched as the user types, after the slash key', async () => {
    await move(page, '#/');
    await page.keyboard.press('/');
    await page.keyboard.type('ship-000', { delay: 30 });
    await page.waitForURL(/q=ship-000/);
    await settled(page);
    assert.match(await text('#matches'), /^\d+ repositories match$/);
    assert.equal(await page.locator('mark').first().innerText(), 'ship-000');
    assert.equal(await page.evaluate(() => document.activeElement.id), 'q', 'the field keeps the focus');
    await page.keyboard.press('ArrowDown');
    await page.keyboard.press('Enter');
    await page.waitForURL(/ship-000\d\d$/);
    await settled(page);
    assert.match(await text('h1'), /^ship-000/);
  });

  test('are paged forward and back', async () => {
    await move(page, '#/?q=fleet');
    const first = await names();
    assert.equal(first.length, Math.min(100, SIZE.repositories));
    await page.locator('#next').click();
    await page.waitForURL(/last=/);
    await settled(page);
    const second = await names();
    assert.ok(second[0] > first.at(-1));
    await page.locator('#previous').click();
    await page.waitForURL((url) => !url.hash.includes('last='));
    await settled(page);
    assert.deepEqual(await names(), first);
  });
});

describe('tags', () => {
  test('are sorted over all pages', async () => {
    await move(page, '#/team/builds');
    assert.equal(await text('.heading p'), `${SIZE.tags.toLocaleString('en')} tags`);
    await page.locator('#sort-name').click();
    await page.waitForURL(/sort=name/);
    await settled(page);
    assert.equal(await page.locator('th[aria-sort]').getAttribute('aria-sort'), 'ascending');
    assert.equal((await names())[0], 'build-00001');
    await page.locator('#sort-name').click();
    await page.waitForURL(/order=desc/);
    await settled(page);
    assert.equal((await names())[0], `build-${String(SIZE.tags).padStart(5, '0')}`);
    assert.equal(await page.evaluate(() => document.activeElement.id), 'sort-name', 'the column keeps the focus');
  });

  test('are filtered and paged', async () => {
    await move(page, '#/team/builds?sort=name');
    await page.locator('#next').click();
    await page.waitForURL(/page=2/);
    await settled(page);
    assert.equal((await names())[0], 'build-00101');
    await page.locator('#filter').fill('0012');
    await page.waitForURL(/q=0012/);
    await settled(page);
    assert.ok((await names()).every((name) => name.includes('0012')));
    assert.equal(await page.locator('#filter').inputValue(), '0012');
  });

  test('show platforms and other tags of the same image', async () => {
    await move(page, '#/team/app?sort=name');
    const row = page.getByRole('row', { name: /Select latest|^latest/ });
    assert.match(await row.innerText(), /amd64\s*arm64\/v8\s*arm\/v7/);
    assert.match(await row.innerText(), /\+ 2 tags/);
  });

  test('that are immutable are marked, and not deleted', { skip: STAND_IN_ONLY }, async () => {
    await move(page, '#/team/app?q=v2.3.0');
    assert.match(await text('main tbody tr'), /immutable/);
    await page.getByLabel('Select v2.3.0').check();
    await page.locator('#delete').click();
    await page.locator('dialog .note').waitFor();
    assert.match(await page.locator('dialog tbody').innerText(), /immutable: cannot be deleted/);
    assert.equal(await page.locator('#confirm').count(), 0);
    await page.keyboard.press('Escape');
    await page.getByRole('button', { name: 'Clear' }).click();
  });
});

describe('an image', () => {
  test('of several platforms shows one of them', async () => {
    await move(page, '#/team/app:v2.3.0');
    assert.equal(await text('.platforms [aria-current]'), 'linux/amd64');
    const before = await text('.layers .digest >> nth=2');
    await page.locator('.platforms').getByRole('link', { name: 'linux/arm64/v8' }).click();
    await page.waitForURL(/platform=/);
    await settled(page);
    assert.equal(await text('.platforms [aria-current]'), 'linux/arm64/v8');
    assert.notEqual(await text('.layers .digest >> nth=3'), before);
  });

  test('has layers with their commands, in proportion', async () => {
    await move(page, '#/team/app:v2.3.0');
    const commands = await page.locator('.command').allInnerTexts();
    assert.ok(commands.includes('RUN npm run build && npm prune --omit=dev'), commands.join('\n'));
    assert.ok(commands.includes('USER app'));
    const widths = await page.locator('.strata i').evaluateAll((all) => all.map((one) => one.getBoundingClientRect().width));
    assert.equal(widths.length, 6);
    assert.ok(widths[2] > 2 * widths[3] && widths[3] > widths[5], widths.join());
  });

  test('has its configuration', async () => {
    await move(page, '#/team/app:v2.3.0?tab=config');
    const shown = await text('main');
    for (const part of ['node dist/server.js', "'json lines'", '/srv/app', 'app:app', '8080/tcp', 'NODE_ENV', 'production', 'Apache-2.0']) assert.ok(shown.includes(part), part);
  });

  test('opens what refers to it in place', async () => {
    await move(page, '#/team/app:v2.3.0?tab=referrers');
    assert.equal(await page.locator('details').count(), 3);
    const sbom = page.locator('details', { hasText: 'application/spdx+json' });
    await sbom.locator('summary').click();
    await sbom.getByText('sbom.spdx.json').first().waitFor();
    assert.match(await sbom.innerText(), /org\.opencontainers\.image\.created/);
  });

  test('has the history of its tag', async () => {
    await move(page, '#/team/app:latest');
    await move(page, '#/team/app:latest?tab=history');
    await page.locator('main table').first().waitFor();
    assert.equal(await page.locator('main tbody tr').count(), 3);
    assert.match(await text('main tbody tr'), /now/);
  });

  test('has its manifest and annotations', async () => {
    await move(page, '#/team/app:v2.3.0?tab=manifest');
    assert.equal(JSON.parse(await page.locator('.raw').innerText()).manifests.length, 4);
    await move(page, '#/team/app:v2.3.0?tab=annotations');
    assert.equal(await page.getByRole('link', { name: 'https://git.harbour.example/team/app' }).getAttribute('rel'), 'noopener noreferrer');
  });

  test('has lines for clients, and copies them', async () => {
    await page.context().grantPermissions(['clipboard-read', 'clipboard-write']);
    await move(page, '#/team/app:v2.3.0');
    const { host } = new URL(served.url);
    for (const [client, line] of [['docker', `docker pull ${host}/team/app:v2.3.0`], ['Kubernetes', `image: ${host}/team/app:v2.3.0`]]) {
      await page.getByRole('button', { name: client, exact: true }).click();
      assert.equal(await text('.pull-line'), line);
    }
    await page.getByRole('button', { name: 'Copy the command' }).click();
    assert.equal(await page.evaluate(() => navigator.clipboard.readText()), `image: ${host}/team/app:v2.3.0`);
    await page.getByLabel('by digest').check();
    assert.match(await text('.pull-line'), /team\/app@sha256:[0-9a-f]{64}$/);
    await move(page, '#/charts/harbour:1.2.0_build.7');
    assert.match(await text('.pull-line'), /^helm pull oci:\/\/[^/]+\/charts\/harbour --version 1\.2\.0\+build\.7/);
  });
});

describe('the registry', () => {
  for (const part of ['', '/usage', '/quotas', '/retention', '/collection', '/trash', '/uploads']) {
    test(`is shown at ${part || '/'}`, async () => {
      await move(page, `#/~registry${part}`);
      assert.equal(await text('h1'), 'Registry');
      assert.equal(await page.locator('.problem').count(), 0);
    });
  }

  test('collects garbage, and undoes a run', { skip: STAND_IN_ONLY }, async () => {
    await move(page, '#/~registry/collection');
    await page.locator('#run').click();
    await page.getByText('Only looked:').waitFor();
    await move(page, '#/~registry/trash');
    const runs = await page.locator('main tbody tr').count();
    await page.getByRole('button', { name: /^Undo the run/ }).first().click();
    await page.waitForFunction((count) => document.querySelectorAll('main tbody tr').length === count, runs - 1);
  });
});

test('an error has its code and what to do', async () => {
  await move(page, '#/team/nothing');
  const shown = await text('.problem');
  assert.match(shown, /404 NAME_UNKNOWN/);
  assert.match(shown, /list of repositories/);
  page.seen.errors = page.seen.errors.filter((message) => !message.includes('404'));
});

test('nothing of this was a fault', async () => {
  assert.deepEqual(await faults(page, served.url), []);
});
