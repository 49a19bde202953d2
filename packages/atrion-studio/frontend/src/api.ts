// Requests to the backend; addresses are relative, so that it works wherever it is mounted.

export class ApiError extends Error {}

async function answer<T>(response: Response): Promise<T> {
  if (response.status === 401) {
    location.assign("login");
  }
  const body = await response.json().catch(() => ({ error: `The Studio answered ${response.status}.` }));
  if (!response.ok) throw new ApiError(String(body.error ?? `The Studio answered ${response.status}.`));
  return body as T;
}

async function attempt(path: string, options: RequestInit): Promise<Response> {
  try {
    return await fetch(path, options);
  } catch {
    throw new ApiError("The Studio does not answer. Is the process that it runs in still there?");
  }
}

export async function get<T>(path: string, query: Record<string, string | number> = {}): Promise<T> {
  const text = new URLSearchParams(Object.entries(query).map(([name, value]) => [name, String(value)]));
  return answer<T>(await attempt(`${path}${text.size ? `?${text}` : ""}`, {}));
}

export async function post<T>(path: string, body: unknown): Promise<T> {
  return answer<T>(
    await attempt(path, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(body),
    }),
  );
}
