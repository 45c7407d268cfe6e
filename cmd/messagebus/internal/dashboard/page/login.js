// A link from another site comes without the cookie, which is for this one alone. If
// there is a session, go on to the page. After one has ended, or a wrong key, stay.

const field = document.querySelector('#key');
if (!location.search && !field.hasAttribute('aria-invalid')) {
  const answer = await fetch('/api/overview', { cache: 'no-store' }).catch(() => undefined);
  if (answer?.ok) location.replace('./');
}
