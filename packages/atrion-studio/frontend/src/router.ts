// The view is in the fragment of the address, so that a link leads to the same view wherever the Studio is mounted.

export type Page = "overview" | "route" | "cluster" | "time" | "whatif" | "lab";

export interface View {
  page: Page;
  route: string;
  options: Record<string, string>;
}

const PAGES: readonly Page[] = ["overview", "route", "cluster", "time", "whatif", "lab"];

export function parse(fragment: string): View {
  const [path = "", query = ""] = fragment.replace(/^#?\/?/, "").split("?");
  const [name = "", ...rest] = path.split("/");
  const page = PAGES.find((each) => each === name) ?? "overview";
  return {
    page,
    route: decode(rest.join("/")),
    options: Object.fromEntries(new URLSearchParams(query)),
  };
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text; // a link that somebody has cut
  }
}

export function format(page: Page, route = "", options: Record<string, string | undefined> = {}): string {
  const given = Object.entries(options).filter((pair): pair is [string, string] => Boolean(pair[1]));
  const query = new URLSearchParams(given).toString();
  return `#/${page}${route ? `/${encodeURIComponent(route)}` : ""}${query ? `?${query}` : ""}`;
}

/** Change options of the present view without another entry in the browser's history. */
export function withOptions(view: View, changes: Record<string, string | undefined>): string {
  return format(view.page, view.route, { ...view.options, ...changes });
}
