import { render } from "preact";
import { useEffect, useState } from "preact/hooks";
import { ApiError, get, post } from "./api.ts";
import type { Meta } from "./model.ts";
import { ClusterPage } from "./pages/cluster.tsx";
import { LabPage } from "./pages/lab.tsx";
import { Overview } from "./pages/overview.tsx";
import { RoutePage } from "./pages/route.tsx";
import { TimePage } from "./pages/time.tsx";
import { WhatIfPage } from "./pages/whatif.tsx";
import { format, parse, type Page, type View } from "./router.ts";
import { store, useFrame, useStatus, type Status } from "./store.ts";
import "./style.css";

const NAVIGATION: [Page, string, string][] = [
  ["overview", "Overview", "M3 5h14M3 10h14M3 15h9"],
  ["cluster", "Cluster", "M10 3v5M10 8 4 14M10 8l6 6M3 16h2M15 16h2M9 3h2"],
  ["time", "Time", "M10 5v5l3 2M10 2a8 8 0 1 0 .1 0"],
  ["whatif", "What if", "M7 7a3 3 0 1 1 4 3c-1 .5-1 1-1 2M10 16h.1"],
  ["lab", "Lab", "M8 3h4M9 3v5l-5 9h12l-5-9V3"],
];

const STATUS: Record<Status, [string, string]> = {
  connecting: ["◌", "Connecting"],
  live: ["●", "Live"],
  paused: ["❚❚", "Paused"],
  lost: ["✕", "Not connected"],
};

function useView(): View {
  const [view, set] = useState(() => parse(location.hash));
  useEffect(() => {
    const follow = () => set(parse(location.hash));
    addEventListener("hashchange", follow);
    return () => removeEventListener("hashchange", follow);
  }, []);
  return view;
}

function useMeta(): [Meta | null, string] {
  const [meta, set] = useState<Meta | null>(null);
  const [error, fail] = useState("");
  useEffect(() => {
    get<Meta>("api/meta").then(set).catch((reason: ApiError) => fail(reason.message));
  }, []);
  return [meta, error];
}

type Theme = "auto" | "dark" | "light";

function setTheme(theme: Theme): void {
  if (theme === "auto") delete document.documentElement.dataset["theme"];
  else document.documentElement.dataset["theme"] = theme;
}

function remembered(): Theme {
  try {
    const found = localStorage.getItem("atrion-theme");
    return found === "dark" || found === "light" ? found : "auto";
  } catch {
    return "auto"; // a browser that keeps nothing
  }
}

function ThemeChoice() {
  const [theme, set] = useState<Theme>(remembered);
  useEffect(() => {
    setTheme(theme);
    try {
      localStorage.setItem("atrion-theme", theme);
    } catch {
      // a browser that keeps nothing
    }
  }, [theme]);
  return (
    <label class="select theme">
      <span class="hidden">Theme</span>
      <select value={theme} onChange={(event) => set(event.currentTarget.value as Theme)}>
        <option value="auto">System theme</option>
        <option value="dark">Dark</option>
        <option value="light">Light</option>
      </select>
    </label>
  );
}

function Scenes({ meta }: { meta: Meta | null }) {
  const frame = useFrame();
  const scenes = Object.entries(meta?.scenes ?? {});
  if (scenes.length === 0) return null;
  const cluster = frame?.cluster;
  return (
    <label class="select scene">
      Scene{" "}
      <select value={cluster?.chosen ?? "tour"} onChange={(event) => void post("api/scene", { scene: event.currentTarget.value })}>
        {scenes.map(([name, about]) => (
          <option key={name} value={name} title={about}>{name === "tour" && cluster?.chosen === "tour" ? `tour: ${cluster.scene}` : name}</option>
        ))}
      </select>
    </label>
  );
}

function useKeys(): void {
  useEffect(() => {
    const press = (event: KeyboardEvent) => {
      const target = event.target as HTMLElement;
      if (event.ctrlKey || event.metaKey || event.altKey || target.closest("input, select, textarea, button") !== null) return;
      if (event.key === "/") {
        event.preventDefault();
        const focus = () => document.getElementById("search")?.focus();
        if (document.getElementById("search") === null) {
          location.hash = format("overview");
          setTimeout(focus, 100); // the page is drawn first
        } else focus();
      } else if (event.key === "p") {
        if (store.status === "paused") store.resume();
        else store.pause();
      } else if (/^[1-5]$/.test(event.key)) {
        const chosen = NAVIGATION[Number(event.key) - 1];
        if (chosen !== undefined) location.hash = format(chosen[0]);
      }
    };
    addEventListener("keydown", press);
    return () => removeEventListener("keydown", press);
  }, []);
}

function Shown({ view, meta }: { view: View; meta: Meta | null }) {
  switch (view.page) {
    case "overview": return <Overview view={view} />;
    case "route": return <RoutePage key={view.route} view={view} meta={meta} />;
    case "cluster": return <ClusterPage meta={meta} />;
    case "time": return <TimePage view={view} />;
    case "whatif": return <WhatIfPage key={view.route} view={view} meta={meta} />;
    case "lab": return <LabPage view={view} meta={meta} />;
  }
}

function App() {
  const view = useView();
  const [meta, error] = useMeta();
  const status = useStatus();
  useKeys();
  useEffect(() => {
    const where = view.page === "route" ? view.route : NAVIGATION.find(([page]) => page === view.page)?.[1];
    document.title = `${where ?? "Overview"} · ${meta?.title ?? "Atrion"} · Atrion Studio`;
    scrollTo(0, 0);
  }, [view.page, view.route, meta]);
  const [mark, word] = STATUS[status];
  const current = view.page === "route" ? "overview" : view.page;
  return (
    <div class="shell">
      <a class="skip" href="#content" onClick={(event) => { event.preventDefault(); document.getElementById("content")?.focus(); }}>Skip to the content</a>
      <nav aria-label="Pages">
        <a class="brand" href={format("overview")}><img src="assets/icon.svg" alt="" width="26" height="26" /><span>Atrion Studio</span></a>
        <ul>
          {NAVIGATION.map(([page, label, path]) => (
            <li key={page}>
              <a href={format(page)} {...(current === page ? { "aria-current": "page" as const } : {})}>
                <svg viewBox="0 0 20 20" width="20" height="20" aria-hidden="true"><path d={path} /></svg>
                <span>{label}</span>
              </a>
            </li>
          ))}
        </ul>
        <p class="keys muted">Keys: <kbd>1</kbd>–<kbd>5</kbd> pages, <kbd>/</kbd> search, <kbd>p</kbd> pause</p>
      </nav>
      <div class="body">
        <header class="top">
          <span class="watched">{meta?.title ?? ""}</span>
          <span class={`status ${status}`} role="status"><span aria-hidden="true">{mark}</span> {word}</span>
          <button type="button" class="quiet" onClick={() => (status === "paused" ? store.resume() : store.pause())}>
            {status === "paused" ? "Resume" : "Pause"}
          </button>
          <Scenes meta={meta} />
          <ThemeChoice />
        </header>
        <main id="content" tabIndex={-1}>
          {error !== "" && <p class="problem" role="alert">✕ {error}</p>}
          {status === "lost" && <p class="problem" role="alert">✕ The Studio does not answer; the numbers below are the last ones. It is tried again every second.</p>}
          <Shown view={view} meta={meta} />
        </main>
      </div>
    </div>
  );
}

setTheme(remembered());
store.start();
const place = document.getElementById("app");
if (place !== null) {
  place.replaceChildren();
  render(<App />, place);
}
