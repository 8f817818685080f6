// Below another path, behind a proxy; and pages of other origins.

import assert from 'node:assert/strict';
import { createServer, request as ask } from 'node:http';
import { after, before, test } from 'node:test';
import { ADMIN, REAL, enter, faults, launch, move, open, registry } from './lib.mjs';

const PATH = '/registry';

let browser;
before(async () => {
  browser = await launch();
});
after(() => browser.close());

async function listen(handler) {
  const server = createServer(handler);
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  const close = () => {
    server.closeAllConnections();
    return new Promise((resolve) => server.close(resolve));
  };
  return { port: server.address().port, close };
}

/** A proxy that has the registry below a path. */
function proxy(url) {
  const { hostname, port } = new URL(url);
  return listen((request, response) => {
    if (!request.url.startsWith(`${PATH}/`)) {
      response.writeHead(404).end();
      return;
    }
    const path = request.url.slice(PATH.length);
    const on = ask({ hostname, port, path, method: request.method, headers: request.headers }, (answer) => {
      response.writeHead(answer.statusCode, answer.headers);
      answer.pipe(response);
    });
    request.pipe(on);
  });
}

for (const authentication of REAL ? ['as it is set'] : ['basic', 'token']) {
  test(`below a path, authentication: ${authentication}`, async () => {
    const served = await registry({ authentication, repositories: 40, tags: 20 });
    const between = await proxy(served.url);
    const url = `http://127.0.0.1:${between.port}${PATH}/`;
    const page = await enter(browser, url, ADMIN);
    for (const place of ['#/team/', '#/team/app', '#/team/app:latest', '#/~registry/quotas']) {
      await move(page, place);
      assert.equal(await page.locator('.problem').count(), 0, place);
    }
    await move(page, '#/scratch/tags');
    await page.getByLabel('Select five', { exact: true }).check();
    await page.locator('#delete').click();
    await page.locator('#confirm').waitFor();
    await page.keyboard.press('Escape');
    assert.deepEqual(await faults(page, url), []);
    await page.context().close();
    await between.close();
    await served.close();
  });
}

test('the root leads browsers to the page, and nobody else', async () => {
  const served = await registry({ repositories: 30, tags: 5 });
  const page = await open(browser);
  await page.goto(served.url);
  assert.equal(page.url(), `${served.url}ui/`);
  const plain = await fetch(served.url, { redirect: 'manual' });
  assert.equal(plain.status, 200);
  const short = await fetch(`${served.url}ui`, { redirect: 'manual' });
  assert.equal(short.status, 307);
  assert.equal(short.headers.get('location'), 'ui/');
  await page.context().close();
  await served.close();
});

test('a page of another origin can neither write nor frame this one', async () => {
  const served = await registry({ repositories: 30, tags: 5 });
  const foreign = await listen((_, response) => {
    response.writeHead(200, { 'Content-Type': 'text/html' }).end('<!doctype html><title>another origin</title><p>another origin');
  });
  const page = await enter(browser, served.url, ADMIN, '#/scratch/tags');
  assert.deepEqual(await page.context().cookies(), []);
  const other = await page.context().newPage();
  // "localhost" is another site than 127.0.0.1, where the registry is.
  await other.goto(`http://localhost:${foreign.port}/`);
  const results = await other.evaluate(async (url) => {
    const credentials = btoa('alice:anchor');
    const tries = [
      () => fetch(`${url}v2/scratch/tags/manifests/three`, { method: 'DELETE', mode: 'no-cors', credentials: 'include' }),
      () => fetch(`${url}v2/scratch/tags/manifests/three`, { method: 'DELETE', headers: { Authorization: `Basic ${credentials}` } }),
      () => fetch(`${url}v2/_roadstead/collect`, { method: 'POST', mode: 'no-cors', credentials: 'include', body: '{}' }),
    ];
    const ends = [];
    for (const attempt of tries) ends.push(await attempt().then((response) => response.type, () => 'failed'));
    return ends;
  }, served.url);
  assert.ok(results.every((result) => result !== 'basic' && result !== 'cors'), results.join());

  // A form needs no permission of the registry to be sent.
  await other.evaluate((url) => {
    const form = document.createElement('form');
    Object.assign(form, { method: 'post', action: `${url}v2/_roadstead/collect`, enctype: 'text/plain' });
    document.body.append(form);
    form.submit();
  }, served.url);
  await other.waitForURL(/collect$/);
  assert.match(await other.locator('body').innerText(), /DENIED|UNAUTHORIZED/);

  await other.goto(`http://localhost:${foreign.port}/`);
  const framed = await other.evaluate(async (url) => {
    const frame = document.createElement('iframe');
    frame.src = `${url}ui/`;
    const loaded = new Promise((resolve) => (frame.onload = resolve));
    document.body.append(frame);
    await loaded;
    return frame.contentDocument === null;
  }, served.url);
  assert.ok(framed);
  assert.ok(other.frames().every((frame) => !frame.url().includes('/ui/')));

  await page.reload();
  await page.locator('main tbody th').first().waitFor();
  assert.ok((await page.locator('main tbody th .entry').allInnerTexts()).includes('three'), 'the tag is still there');
  await page.context().close();
  await foreign.close();
  await served.close();
});
