// Draws each view, light and dark, into docs/ui/: node screenshots.mjs [name...]

import { mkdir } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { launch } from './lib.mjs';
import { start } from './mock.mjs';

const FOLDER = fileURLToPath(new URL('../../docs/ui/', import.meta.url));
// The registry's name, as the pictures show it.
const NAME = 'registry.example';
const SIZE = { width: 1280, height: 800 };

async function preview(page) {
  for (const name of ['1.4.2', 'stable']) await page.getByLabel(`Select ${name}`, { exact: true }).check();
  await page.locator('#delete').click();
  await page.getByLabel('with all tags').check();
}

const VIEWS = {
  repositories: { place: '#/' },
  search: { place: '#/?q=ship-01' },
  group: { place: '#/team/' },
  tags: { place: '#/team/app?q=2' },
  deletion: { place: '#/team/web', act: preview },
  image: { place: '#/team/app:v2.3.0' },
  configuration: { place: '#/team/app:v2.3.0?tab=config' },
  referrers: { place: '#/team/app:v2.3.0?tab=referrers', act: (page) => page.locator('details summary').nth(1).click() },
  history: { place: '#/team/app:latest?tab=history' },
  manifest: { place: '#/team/app:v2.3.0?tab=manifest' },
  chart: { place: '#/charts/harbour:1.1.0' },
  registry: { place: '#/~registry' },
  usage: { place: '#/~registry/usage' },
  quotas: { place: '#/~registry/quotas' },
  collection: { place: '#/~registry/collection' },
  trash: { place: '#/~registry/trash' },
  login: { place: '#/', out: true },
  'phone-image': { place: '#/team/app:v2.3.0', size: { width: 360, height: 740 } },
  phone: { place: '#/team/app', size: { width: 360, height: 740 } },
};

const wanted = process.argv.slice(2);
await mkdir(FOLDER, { recursive: true });
const registry = await start({ authentication: 'basic' });
const browser = await launch(`--host-resolver-rules=MAP ${NAME}:80 ${new URL(registry.url).host}`);
for (const [name, { place, act, out, size = SIZE }] of Object.entries(VIEWS)) {
  if (wanted.length && !wanted.includes(name)) continue;
  for (const colorScheme of ['light', 'dark']) {
    const context = await browser.newContext({ viewport: size, colorScheme, reducedMotion: 'reduce' });
    const page = await context.newPage();
    await page.goto(`http://${NAME}/ui/#/`);
    if (!out) {
      await page.locator('#user').fill('alice');
      await page.locator('#password').fill('anchor');
      await page.locator('#password').press('Enter');
      await page.locator('.user').waitFor();
      await page.evaluate((hash) => (location.hash = hash), place);
    }
    await page.waitForTimeout(300);
    await page.locator('main:not([aria-busy])').waitFor();
    if (act) await act(page);
    await page.waitForTimeout(300);
    await page.screenshot({ path: `${FOLDER}${name}-${colorScheme}.png` });
    await context.close();
  }
}
await browser.close();
await registry.close();
