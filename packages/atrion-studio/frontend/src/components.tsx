// Small parts that several pages share.

import type { ComponentChildren } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { SCALE, STATES, TIERS, type Row, type State, number } from "./model.ts";

export function StateBadge({ state }: { state: State }) {
  return (
    <span class={`badge ${state}`}>
      <span class="mark" aria-hidden="true">{STATES[state].mark}</span> {STATES[state].word}
    </span>
  );
}

function place(volts: number): string {
  return `${(100 * Math.min(Math.max(volts, 0), SCALE)) / SCALE}%`;
}

/** Resistance against the bands of the tiers: what is left of the needle is refused. */
export function BandBar({ row, tall = false }: { row: { resistance: number; mode: Row["mode"] | null }; tall?: boolean }) {
  const broken = row.mode === "circuit_breaker";
  const ohms = broken ? SCALE : row.resistance;
  return (
    <div class={`bands ${tall ? "tall" : ""}`} role="img" aria-label={`Resistance ${number(row.resistance, 1)} Ω`}>
      {TIERS.map((tier) => {
        const refused = broken || ohms >= tier.to ? "refused" : ohms > tier.from ? "part" : "";
        return (
          <span
            key={tier.name}
            class={`band ${refused}`}
            style={{ left: place(tier.from), width: place(tier.to - tier.from) }}
            title={`${tier.name}: ${tier.from} to ${tier.to} V`}
          >
            <span class="short">{tier.name.charAt(0).toUpperCase()}</span>
            {tall && <span class="full">{tier.name}</span>}
          </span>
        );
      })}
      <span class={`needle ${row.resistance > SCALE ? "beyond" : ""}`} style={{ left: place(row.resistance) }} />
    </div>
  );
}

/** The last minute of a number, drawn as a line. */
export function Spark({ values, label }: { values: readonly number[]; label: string }) {
  const top = Math.max(SCALE, ...values);
  const step = 100 / 59;
  const start = 100 - (values.length - 1) * step;
  const points = values.map((value, index) => `${(start + index * step).toFixed(1)},${(28 - (26 * value) / top).toFixed(1)}`);
  return (
    <svg class="spark" viewBox="0 0 100 30" preserveAspectRatio="none" role="img" aria-label={label}>
      <polyline points={points.join(" ")} />
    </svg>
  );
}

export function Tile({ label, value, note, tone }: { label: string; value: string; note?: string; tone?: State }) {
  return (
    <div class={`tile ${tone ?? ""}`}>
      <span class="label">{label}</span>
      <span class="value">{value}</span>
      {note !== undefined && <span class="note">{note}</span>}
    </div>
  );
}

export function Empty({ title, children }: { title: string; children?: ComponentChildren }) {
  return (
    <div class="empty">
      <h2>{title}</h2>
      <div>{children}</div>
    </div>
  );
}

export function Problem({ text }: { text: string }) {
  return (
    <p class="problem" role="alert">
      <span aria-hidden="true">✕ </span>
      {text}
    </p>
  );
}

export function save(name: string, content: Blob): void {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(content);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

export function SaveJson({ name, data }: { name: string; data: () => unknown }) {
  return (
    <button
      type="button"
      class="quiet"
      onClick={() => save(`${name}.json`, new Blob([JSON.stringify(data(), null, 1)], { type: "application/json" }))}
    >
      Save JSON
    </button>
  );
}

/** Copies the address of this view, which leads back to it. */
export function CopyLink() {
  const [copied, set] = useState(false);
  return (
    <button
      type="button"
      class="quiet"
      onClick={() => {
        void navigator.clipboard?.writeText(location.href).then(() => {
          set(true);
          setTimeout(() => set(false), 1500);
        });
      }}
    >
      {copied ? "Copied" : "Copy link"}
    </button>
  );
}

export function Panel({ title, tools, children, class: kind = "" }: {
  title?: string;
  tools?: ComponentChildren;
  children: ComponentChildren;
  class?: string;
}) {
  return (
    <section class={`panel ${kind}`}>
      {title !== undefined && (
        <header>
          <h2>{title}</h2>
          {tools !== undefined && <div class="tools">{tools}</div>}
        </header>
      )}
      {children}
    </section>
  );
}

/** A table that is wider than its place; the keyboard scrolls it too. */
export function Scroll({ label, children }: { label: string; children: ComponentChildren }) {
  return (
    <div class="scroll" role="region" aria-label={label} tabIndex={0}>
      {children}
    </div>
  );
}

/** The width of an element, followed as it changes. */
export function useWidth(): [preact.RefObject<HTMLDivElement | null>, number] {
  const ref = useRef<HTMLDivElement>(null);
  const [width, set] = useState(0);
  useEffect(() => {
    const element = ref.current;
    if (element === null) return undefined;
    const watcher = new ResizeObserver(() => set(Math.floor(element.clientWidth)));
    watcher.observe(element);
    set(Math.floor(element.clientWidth));
    return () => watcher.disconnect();
  }, []);
  return [ref, width];
}
