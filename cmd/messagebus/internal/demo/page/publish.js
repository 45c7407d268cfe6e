// What the page says goes out by an ordinary request; what it hears comes over the bus.

/**
 * Posts one utterance. Returns what the server answered, { id, at }, and how far this clock is behind the
 * server's. Throws an Error whose message can be shown.
 */
export async function publish(utterance, { keepalive = false } = {}) {
  const sent = Date.now();
  let response;
  try {
    response = await fetch('/demo/publish', {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify(utterance),
      keepalive,
    });
  } catch {
    throw new Error('the server cannot be reached');
  }
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(answer.error ?? `the server answered ${response.status}`);
  return { ...answer, behind: answer.at - (sent + Date.now()) / 2 };
}
