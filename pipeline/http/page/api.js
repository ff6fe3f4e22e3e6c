// Requests to the service, and its errors as sentences.

/** What went wrong. `retry`: seconds after which another try makes sense; null: only another request does. */
export class Problem extends Error {
  constructor(message, retry = null) {
    super(message);
    this.retry = retry;
  }
}

async function failed(response) {
  const { status } = response;
  if (status === 429 || status === 503) {
    return new Problem("The service is busy", Math.min(Number(response.headers.get("Retry-After")) || 2, 60));
  }
  if (status >= 500) return new Problem(`The service failed (${status})`, 5);
  const { error } = await response.json().catch(() => ({}));
  const why = error ? `${error.field}: ${error.problem}; ${error.hint}` : status;
  return new Problem(`The service refused this request: ${why}`);
}

/** The answer to a request. Raises Problem, or AbortError after `signal`. */
async function answer(path, options) {
  let response;
  try {
    response = await fetch(path, options);
    if (response.ok) return await response.json();
  } catch (error) {
    throw error.name === "AbortError" ? error : new Problem("The service cannot be reached", 3);
  }
  throw await failed(response);
}

export const recommend = (request, signal) =>
  answer("recommend", { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(request), signal });

export const menu = (count) => answer(`menu?count=${count}`);

export const bundle = () => answer("bundle");

/** Items by `query` and `count`, or by pairs of "item_id" and an id. */
export const items = async (asked, signal) => (await answer(`items?${new URLSearchParams(asked)}`, { signal })).items;
