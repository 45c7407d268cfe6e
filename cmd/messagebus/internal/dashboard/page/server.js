// What this page asks the server.

const { token, tokenHeader } = document.body.dataset;
const patience = 8000; // ms

/** The session has ended: the key is asked for again. */
export class Ended extends Error {}

/** Asks, and returns the JSON of the answer; throws with what the server says is wrong. */
export async function ask(path, body) {
  const answer = await fetch(path, {
    method: body === undefined ? 'GET' : 'POST',
    body,
    cache: 'no-store',
    headers: { [tokenHeader]: token },
    signal: AbortSignal.timeout(patience),
  }).catch((error) => {
    throw new Error(error.name === 'TimeoutError' ? 'the server takes too long to answer' : 'the server cannot be reached');
  });
  if (answer.status === 401) throw new Ended('the session has ended');
  const json = await answer.json().catch(() => undefined);
  if (json === undefined) throw new Error(`the server answers with ${answer.status} and no JSON`);
  if (!answer.ok && json.error) throw new Error(json.error);
  return json;
}

/** Leaves for the form of the key. */
export const logIn = () => location.replace(document.body.dataset.login);
