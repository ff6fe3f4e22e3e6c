// Requests to the service, and its errors as sentences.

/** What went wrong, in one sentence. `retry` is after how many seconds another try makes sense; null: only another request does. */
export class Problem extends Error {
  constructor(message, retry = null) {
    super(message);
    this.retry = retry;
  }
}

const BUSY = { 429: "The service has too many requests", 503: "The service is not ready", 502: "The service is away", 504: "The service is slow" };

/** The text of an error: ours, or FastAPI's list of what is wrong with each field. */
function described(body) {
  const detail = body?.error ?? body?.detail ?? "";
  if (Array.isArray(detail)) return detail.map((one) => `${(one.loc ?? []).slice(1).join(".")}: ${one.msg}`).join("; ");
  if (typeof detail === "object") return Object.values(detail).filter((part) => typeof part === "string").join(": ");
  return String(detail);
}

async function failed(response) {
  if (response.status in BUSY) {
    const seconds = Number(response.headers.get("Retry-After"));
    return new Problem(BUSY[response.status], Math.min(Math.max(seconds || 2, 1), 60));
  }
  const detail = described(await response.json().catch(() => null)).slice(0, 300);
  if (response.status < 500) return new Problem(`The service refused this request: ${detail || response.statusText || response.status}`);
  return new Problem(`The service failed (${response.status})`, 5);
}

/** The answer to a request, and the milliseconds it took. Raises Problem, or AbortError after `signal`. */
async function request(path, options, signal) {
  const start = performance.now();
  let response;
  try {
    response = await fetch(path, { ...options, signal });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem("The service cannot be reached", 3);
  }
  if (!response.ok) throw await failed(response);
  return { answer: await response.json(), milliseconds: performance.now() - start };
}

export const recommend = (body, signal) =>
  request("recommend", { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) }, signal);

export const menu = async (count) => (await request(`menu?count=${count}`)).answer;

export const ready = async () => (await request("ready")).answer;

export const search = async (query, count, signal) =>
  (await request(`items?${new URLSearchParams({ query, count })}`, {}, signal)).answer.items;

/** Items by their ids; unknown ones are left out. */
export const byIds = async (ids) => (await request(`items?${new URLSearchParams(ids.map((id) => ["item_id", id]))}`)).answer.items;
