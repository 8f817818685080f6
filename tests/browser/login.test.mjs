// Logging in with a password or a token, as users who may do different things.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { ADMIN, READER, REAL, enter, faults, launch, logIn, move, open, registry, visit } from './lib.mjs';

let browser;
before(async () => {
  browser = await launch();
});
after(() => browser.close());

for (const authentication of REAL ? ['as it is set'] : ['basic', 'token']) {
  describe(`authentication: ${authentication}`, () => {
    let served;
    before(async () => {
      served = await registry({ authentication, repositories: 40, tags: 20 });
    });
    after(() => served.close());

    test('a wrong password is refused, and the place is kept', async () => {
      const page = await open(browser);
      await page.goto(`${served.url}ui/#/team/web`);
      await page.locator('#user').fill(ADMIN.user);
      await page.locator('#password').fill('wrong');
      await page.locator('#password').press('Enter');
      assert.match(await page.locator('.problem').innerText(), /401 UNAUTHORIZED/);
      assert.equal(await page.evaluate(() => document.activeElement.id), 'password');
      await logIn(page, ADMIN);
      assert.equal(await page.locator('h1').innerText(), 'web');
      assert.deepEqual(await faults(page, served.url), []);
      await page.context().close();
    });

    test('a user who may do everything', async () => {
      const page = await enter(browser, served.url, ADMIN);
      const groups = await page.locator('main tbody th .entry').allInnerTexts();
      assert.ok(groups.includes('private/') && groups.includes('team/'), groups.join());
      await move(page, '#/team/web');
      assert.ok((await page.locator('main tbody input[type=checkbox]').count()) > 0);
      await move(page, '#/~registry');
      assert.ok((await page.locator('.tabs a').count()) > 5);
      assert.deepEqual(await faults(page, served.url), []);
      await page.context().close();
    });

    test('a user who may only read some repositories', async () => {
      const page = await enter(browser, served.url, READER);
      const groups = await page.locator('main tbody th .entry').allInnerTexts();
      assert.ok(groups.includes('team/') && !groups.includes('private/'), groups.join());
      await move(page, '#/team/web');
      assert.equal(await page.locator('main tbody input[type=checkbox]').count(), 0);
      await move(page, '#/team/web:1.3');
      assert.equal(await page.locator('#delete').count(), 0);
      await move(page, '#/~registry/usage');
      assert.equal(await page.locator('.tabs a').count(), 0);
      assert.deepEqual(await faults(page, served.url), []);
      await page.evaluate(() => (location.hash = '#/private/vault'));
      await page.locator('.problem').waitFor();
      assert.match(await page.locator('.problem').innerText(), /40[13] (UNAUTHORIZED|DENIED)/);
      await page.context().close();
    });

    test('a reload keeps the login, another tab has none, and logging out ends it', async () => {
      const page = await enter(browser, served.url, READER, '#/team/web');
      await page.reload();
      await page.locator('.user').waitFor();
      assert.equal(await page.locator('.user').innerText(), READER.user);
      const other = await page.context().newPage();
      await other.goto(`${served.url}ui/#/team/web`);
      await other.locator('#user').waitFor();
      await page.getByRole('button', { name: 'Log out' }).click();
      await page.locator('#user').waitFor();
      assert.equal(await page.evaluate(() => sessionStorage.length), 0);
      assert.deepEqual(await page.context().cookies(), []);
      await page.context().close();
    });
  });
}

test('nobody has to log in to an open registry', { skip: REAL ? 'the registry has users' : false }, async () => {
  const served = await registry({ authentication: 'none', repositories: 30, tags: 5 });
  const page = await open(browser);
  await visit(page, served.url);
  assert.equal(await page.locator('#user').count(), 0);
  assert.equal(await page.locator('#account').innerText(), '');
  await move(page, '#/team/web');
  assert.ok((await page.locator('main tbody input[type=checkbox]').count()) > 0);
  assert.deepEqual(await faults(page, served.url), []);
  await page.context().close();
  await served.close();
});
