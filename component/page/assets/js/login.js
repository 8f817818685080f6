// The form with which a user logs in.

import { logIn, logOut } from './auth.js';
import { announce, h } from './dom.js';
import { Failure, head } from './client.js';
import { problem, title } from './parts.js';

/**
 * The form. `failure` is what the registry said to the request before; `done` is called with
 * the answer for the page's head when the user is logged in.
 */
export function loginPanel({ failure, user, done, cancel }) {
  const name = h('input', { id: 'user', name: 'username', autocomplete: 'username', autocapitalize: 'none', spellcheck: 'false', required: true, maxlength: '255' });
  const password = h('input', { id: 'password', name: 'password', type: 'password', autocomplete: 'current-password', required: true });
  const said = h('div', {});
  const button = h('button', { type: 'submit', class: 'primary' }, 'Log in');

  async function submit(event) {
    event.preventDefault();
    button.disabled = true;
    said.replaceChildren();
    logIn(name.value, password.value);
    try {
      const answer = await head();
      if (!answer.user) throw new Failure({ status: 401, code: 'UNAUTHORIZED', message: 'the registry does not know this user' });
      announce(`Logged in as ${answer.user}`);
      done(answer);
    } catch (error) {
      logOut();
      if (!(error instanceof Failure)) throw error;
      said.replaceChildren(problem(error));
      password.select();
      password.focus();
    } finally {
      button.disabled = false;
    }
  }

  const refused = failure && user ? problem(failure) : null;
  return h(
    'section',
    { class: 'login panel' },
    title('Log in'),
    h('p', { class: 'muted' }, `to the registry at ${location.host}, with the user name and password of `, h('code', {}, 'docker login'), '.'),
    refused,
    h(
      'form',
      { on: { submit }, 'aria-labelledby': 'title' },
      h('label', { for: 'user' }, 'User name'),
      name,
      h('label', { for: 'password' }, 'Password'),
      password,
      said,
      h(
        'div',
        { class: 'actions' },
        button,
        cancel && h('button', { type: 'button', on: { click: cancel } }, 'Cancel'),
      ),
    ),
    h('p', { class: 'small muted' }, 'The password is kept in this tab only, and forgotten when it is closed. No cookies are set.'),
  );
}
