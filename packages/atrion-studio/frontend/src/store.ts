// The newest frame, and who wants to hear of it. Frames that come faster than the screen is drawn are lost.

import { useEffect, useState } from "preact/hooks";
import { type Frame, type Received, joined } from "./model.ts";

export type Status = "connecting" | "live" | "paused" | "lost";

const TREND = 60;

type Listener = () => void;

class Store {
  frame: Frame | null = null;
  status: Status = "connecting";
  /** The last resistances of every route, one a second or so. */
  readonly trends = new Map<string, number[]>();
  /** When the trends last grew, in Unix time. */
  sampled = 0;
  private readonly listeners = new Set<Listener>();
  private source: EventSource | null = null;
  /** The last full frame, and the newest small one that adds to it, not yet read. */
  private full: Received | null = null;
  private raw: string | null = null;
  private waiting = false;

  start(): void {
    // The last minute, so that the lines are there from the beginning.
    void fetch("api/trends").then((response) => (response.ok ? response.json() : {}))
      .then((trends: Record<string, number[]>) => {
        for (const [id, values] of Object.entries(trends)) {
          this.trends.set(id, [...values, ...(this.trends.get(id) ?? [])].slice(-TREND));
        }
        this.notify();
      })
      .catch(() => undefined);
    document.addEventListener("visibilitychange", () => {
      // A tab in the background asks for nothing, so that nothing piles up for it.
      if (document.hidden) this.close();
      else if (this.status !== "paused") this.open();
    });
    this.open();
  }

  pause(): void {
    this.close();
    this.set("paused");
  }

  resume(): void {
    this.set("connecting");
    this.open();
  }

  subscribe(listener: Listener): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  private open(): void {
    this.close();
    const source = new EventSource("api/events");
    this.source = source;
    source.onmessage = (event: MessageEvent<string>) => {
      if (/^\{"key":\d+,"full":true/.test(event.data)) {
        this.full = JSON.parse(event.data) as Received;
        this.raw = null;
      } else this.raw = event.data;
      if (!this.waiting) {
        this.waiting = true;
        requestAnimationFrame(() => this.take());
      }
    };
    source.onerror = () => {
      if (this.source !== source) return;
      this.set("lost");
      if (source.readyState === EventSource.CLOSED) {
        // Refused, and not only interrupted: perhaps a login has ended.
        this.close();
        void fetch("api/meta").then((response) => {
          if (response.status === 401) location.assign("login");
        }).catch(() => undefined);
        setTimeout(() => { if (this.source === null && this.status === "lost") this.open(); }, 2000);
      }
    };
  }

  private close(): void {
    this.source?.close();
    this.source = null;
    this.raw = null;
  }

  private take(): void {
    const { raw, full } = this;
    this.waiting = false;
    this.raw = null;
    if (full === null || this.status === "paused") return;
    this.frame = raw === null ? full : joined(full, JSON.parse(raw) as Received) ?? this.frame;
    if (this.frame === null) return;
    if (this.frame.at - this.sampled >= 0.9 || this.frame.at < this.sampled) {
      this.sampled = this.frame.at;
      this.sample(this.frame);
    }
    this.status = "live";
    this.notify();
  }

  private sample(frame: Frame): void {
    for (const [id, row] of Object.entries(frame.routes)) {
      const trend = this.trends.get(id);
      if (trend === undefined) this.trends.set(id, [row.resistance]);
      else {
        trend.push(row.resistance);
        if (trend.length > TREND) trend.shift();
      }
    }
    for (const id of this.trends.keys()) if (!(id in frame.routes)) this.trends.delete(id);
  }

  private set(status: Status): void {
    this.status = status;
    this.notify();
  }

  private notify(): void {
    for (const listener of [...this.listeners]) listener();
  }
}

export const store = new Store();

/** The newest frame; the component is drawn again with every one. */
export function useFrame(): Frame | null {
  const [, draw] = useState(0);
  useEffect(() => store.subscribe(() => draw((count) => count + 1)), []);
  return store.frame;
}

export function useStatus(): Status {
  const [status, set] = useState(store.status);
  useEffect(() => store.subscribe(() => set(store.status)), []);
  return status;
}
