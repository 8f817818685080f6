// Requests of each view, and what is moved: printed, and bounded where it is promised.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { ADMIN, STAND_IN_ONLY, enter, faults, launch, move, open, registry, visit } from './lib.mjs';

// Bytes that the page may have, compressed.
const BUDGET = 120 * 1024;

const PLACES = ['#/team/', '#/?q=ship-01', '#/team/builds', '#/team/builds?sort=size&page=7', '#/team/app', '#/team/app:latest', '#/team/app:latest?tab=config',
  '#/team/app:latest?tab=history', '#/team/app:latest?platform=linux/arm64/v8', '#/team/web:1.4?tab=history', '#/charts/harbour:1.1.0', '#/~registry', '#/~registry/usage',
  '#/~registry/quotas', '#/~registry/retention', '#/~registry/collection', '#/~registry/trash', '#/~registry/uploads'];

let browser;
let served;
before(async () => {
  browser = await launch();
  served = await registry();
});
after(async () => {
  await browser.close();
  await served.close();
});

test('one request for each view, after the shell', async (context) => {
  const page = await enter(browser, served.url, ADMIN);
  for (const place of PLACES) {
    const before = page.seen.bytes;
    const requests = await move(page, place);
    await page.waitForTimeout(150);
    const later = page.seen.requests.length;
    await page.waitForTimeout(50);
    assert.equal(page.seen.requests.length, later);
    context.diagnostic(`${place}: ${requests.length} request(s), ${page.seen.bytes - before} bytes`);
    assert.ok(requests.length <= 1, requests.map(({ url }) => url).join('\n'));
  }
  assert.deepEqual(await faults(page, served.url), []);
  await page.context().close();
});

test('tokens take no more requests to the API', { skip: STAND_IN_ONLY }, async () => {
  const tokens = await registry({ authentication: 'token', repositories: 40, tags: 20 });
  const page = await enter(browser, tokens.url, ADMIN);
  for (const place of ['#/team/', '#/team/app', '#/team/app:latest', '#/~registry/usage']) {
    assert.equal((await move(page, place)).length, 1, place);
  }
  assert.deepEqual(await faults(page, tokens.url), []);
  await page.context().close();
  await tokens.close();
});

test('the shell', async (context) => {
  const page = await open(browser);
  await visit(page, served.url).catch(() => {});
  await page.waitForTimeout(300);
  const files = page.seen.requests.filter(({ url }) => url.includes('/ui/') && !url.includes('/v2/'));
  const bytes = await page.evaluate(() =>
    [...performance.getEntriesByType('resource'), ...performance.getEntriesByType('navigation')].filter(({ name }) => name.includes('/ui/') && !name.includes('/v2/')).reduce((sum, one) => sum + one.encodedBodySize, 0),
  );
  context.diagnostic(`shell: ${files.length} files, ${bytes} bytes of bodies as sent, ${page.seen.bytes} bytes with headers and the first answers`);
  assert.ok(bytes > 0 && bytes <= BUDGET);
  await page.context().close();
});

test('the first view', async (context) => {
  const page = await open(browser);
  const devtools = await page.context().newCDPSession(page);
  await devtools.send('Performance.enable');
  await page.goto(`${served.url}ui/#/team/builds`);
  await page.locator('#user, .user, #tags').first().waitFor();
  if (await page.locator('#user').count()) {
    await page.locator('#user').fill(ADMIN.user);
    await page.locator('#password').fill(ADMIN.password);
    await page.locator('#password').press('Enter');
    await page.locator('#tags').waitFor();
    await page.reload();
  }
  await page.locator('#tags').waitFor();
  const { metrics } = await devtools.send('Performance.getMetrics');
  const metric = (name) => metrics.find((one) => one.name === name)?.value ?? 0;
  const paint = await page.evaluate(() => performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? null);
  const milliseconds = (seconds) => `${(seconds * 1000).toFixed(1)} ms`;
  context.diagnostic(`first view (100 tags of ${await page.locator('.heading p').innerText()}): script ${milliseconds(metric('ScriptDuration'))}, layout ${milliseconds(metric('LayoutDuration'))}, first paint at ${paint?.toFixed(0)} ms, ${metric('Nodes')} nodes`);
  await page.context().close();
});
