// The browser, the registry that is tested, and pages that count what must not happen.

import { createRequire } from 'node:module';
import { chromium } from 'playwright-core';
import { USERS, start } from './mock.mjs';

const PROGRAM = process.env.CHROMIUM ?? '/usr/bin/chromium';
const axePath = createRequire(import.meta.url).resolve('axe-core/axe.min.js');

/** A registry that runs, filled by fill.mjs. Without it, a stand-in is started. */
export const REAL = process.env.ROADSTEAD_URL ?? null;

/** Why a test is skipped with a registry that runs: what it needs only the stand-in has. */
export const STAND_IN_ONLY = REAL ? 'only with the stand-in registry' : false;

const credentials = (variable, otherwise) => {
  const [user, password] = (process.env[variable] ?? otherwise).split(/:(.*)/);
  return { user, password };
};
export const ADMIN = credentials('ROADSTEAD_ADMIN', `alice:${USERS.alice.password}`);
export const READER = credentials('ROADSTEAD_READER', `bob:${USERS.bob.password}`);

/** How many repositories there are, and tags in `team/builds`. */
export const SIZE = {
  repositories: Number(process.env.ROADSTEAD_REPOSITORIES ?? 10_000),
  tags: Number(process.env.ROADSTEAD_TAGS ?? 10_000),
};

/** The registry: its URL, with "/" at the end. */
export async function registry(options = {}) {
  if (REAL) return { url: REAL.replace(/\/?$/, '/'), close: async () => {} };
  return start({ authentication: 'basic', ...SIZE, ...options });
}

export function launch(...more) {
  // As root, Chromium's own sandbox cannot be set up.
  const args = process.getuid?.() === 0 ? ['--no-sandbox', ...more] : more;
  return chromium.launch({ executablePath: PROGRAM, args });
}

/** A page of its own, with nothing stored, that records what happens. */
export async function open(browser, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, ...options });
  await context.addInitScript(() => {
    window.violations = [];
    window.shifts = 0;
    document.addEventListener('securitypolicyviolation', (event) => window.violations.push(`${event.violatedDirective} ${event.blockedURI}`));
    new PerformanceObserver((list) => {
      for (const entry of list.getEntries()) if (!entry.hadRecentInput) window.shifts += entry.value;
    }).observe({ type: 'layout-shift', buffered: true });
  });
  const page = await context.newPage();
  // Over an object store, a view may take as long as its budget, and more under load.
  page.setDefaultTimeout(60_000);
  const seen = { errors: [], requests: [], bytes: 0 };
  page.on('console', (message) => {
    if (message.type() === 'error') seen.errors.push(message.text());
  });
  page.on('pageerror', (error) => seen.errors.push(String(error)));
  page.on('request', (request) => seen.requests.push({ method: request.method(), url: request.url() }));
  page.on('requestfinished', async (request) => {
    const sizes = await request.sizes().catch(() => null);
    if (sizes) seen.bytes += sizes.responseBodySize + sizes.responseHeadersSize;
  });
  return Object.assign(page, { seen });
}

export async function settled(page) {
  // By then, the page has heard of a change of its address.
  await page.evaluate(() => new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve))));
  await page.locator('main:not([aria-busy]) #title').waitFor();
}

/** Goes to a place of the page; `#/` is where it begins. */
export async function visit(page, url, place = '#/') {
  await page.goto(`${url}ui/${place}`);
  await settled(page);
}

/** Goes to another place without loading the page anew; returns the requests to the API that it took. */
export async function move(page, place) {
  const before = page.seen.requests.length;
  await page.evaluate((hash) => (location.hash = hash), place);
  await settled(page);
  return page.seen.requests.slice(before).filter(({ url }) => /\/v2\/(?!token)/.test(url));
}

/** Logs in where the page asks for it. What the browser says of the refused request is no error of the page. */
export async function logIn(page, { user, password }) {
  await page.locator('#user').fill(user);
  await page.locator('#password').fill(password);
  await page.locator('#password').press('Enter');
  await page.locator('.user').waitFor();
  await settled(page);
  page.seen.errors = page.seen.errors.filter((text) => !text.includes('401'));
}

/** A page at a place, as a user. */
export async function enter(browser, url, who, place = '#/', options = {}) {
  const page = await open(browser, options);
  await visit(page, url, place);
  // Where anybody may see something, the page does not ask for a login by itself.
  const button = page.getByRole('button', { name: 'Log in' });
  if (!(await page.locator('#user').count()) && (await button.count())) await button.click();
  if (await page.locator('#user').count()) await logIn(page, who);
  return page;
}

/** What went wrong on a page until now; an empty list if nothing did. */
export async function faults(page, url) {
  const { violations, shifts, hit } = await page.evaluate(() => ({ violations: window.violations, shifts: window.shifts, hit: window.hit ?? null }));
  const foreign = page.seen.requests.filter((request) => !request.url.startsWith(url) && !request.url.startsWith('data:'));
  const cookies = await page.context().cookies();
  return [
    ...page.seen.errors.map((text) => `console: ${text}`),
    ...violations.map((text) => `policy: ${text}`),
    ...foreign.map((request) => `another origin: ${request.url}`),
    ...cookies.map(({ name }) => `cookie: ${name}`),
    ...(shifts > 0.05 ? [`layout shift: ${shifts}`] : []),
    ...(hit === null ? [] : ['stored content was run']),
  ];
}

/** Serious and critical findings of axe-core. */
export async function audit(page) {
  if (!(await page.evaluate(() => 'axe' in window))) {
    const { readFile } = await import('node:fs/promises');
    await page.evaluate(await readFile(axePath, 'utf8'));
  }
  const { violations } = await page.evaluate(() => window.axe.run(document, { resultTypes: ['violations'] }));
  return violations
    .filter(({ impact }) => impact === 'serious' || impact === 'critical')
    .map(({ id, nodes }) => `${id}: ${nodes.slice(0, 3).map((node) => `${node.target} ${node.any[0]?.message ?? ''}`).join(' | ')}`);
}
