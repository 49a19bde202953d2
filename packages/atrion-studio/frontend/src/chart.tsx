// Charts: uPlot in the colours of the page, with a legend that can be read without colours.

import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import { save, useWidth } from "./components.tsx";
import { TIERS, type Transition } from "./model.ts";

export interface Series {
  label: string;
  /** The name of a colour of the style sheet, without its dashes. */
  colour: string;
  values: readonly (number | null)[];
  dashed?: boolean;
}

export interface ChartProps {
  title: string;
  unit: string;
  at: readonly number[];
  series: readonly Series[];
  /** Whether the series are parts of one whole, drawn on top of each other. */
  stacked?: boolean;
  /** Whether the tiers' bands of voltage are drawn behind. */
  bands?: boolean;
  transitions?: readonly Transition[];
  height?: number;
  /** Whether ``at`` are seconds of a run, and no time of day. */
  relative?: boolean;
  marker?: number | undefined;
  top?: number;
}

function colour(name: string): string {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim() || "#888";
}

type Column = (number | null)[];

/** The last series at the bottom: each is drawn down from the sum of it and those below. */
function stack(series: readonly Series[]): Column[] {
  const sums: Column[] = [];
  let below: Column = [];
  for (const each of series) {
    below = each.values.map((value, index) =>
      value === null ? null : Math.max(value, 0) + (below[index] ?? 0));
    sums.push(below);
  }
  return sums;
}

interface Latest {
  current: ChartProps;
}

function draw(latest: Latest, width: number, hover: (index: number | null) => void): uPlot.Options {
  const props = latest.current;
  const axis = {
    stroke: colour("muted"),
    grid: { stroke: colour("line"), width: 1 },
    ticks: { show: false },
    font: "12px system-ui, sans-serif",
  };
  const instant = (mark: number) =>
    props.relative ? `${mark} s` : new Date(mark * 1000).toLocaleTimeString("en-GB");
  return {
    width,
    height: props.height ?? 220,
    legend: { show: false },
    cursor: { drag: { x: false, y: false }, points: { show: false }, y: false },
    padding: [8, props.bands ? 60 : 30, 0, 0],
    scales: {
      x: { time: !props.relative },
      y: { range: (_, __, most) => [0, Math.max(latest.current.top ?? 0, most * 1.08, most > 0 ? 0 : 1)] },
    },
    axes: [
      { ...axis, space: 80, size: 30, values: (_, marks) => marks.map(instant) },
      { ...axis, size: 52, values: (_, marks) => marks.map((mark) => mark.toLocaleString("en")) },
    ],
    series: [
      {},
      ...[...props.series].reverse().map((each) => ({
        stroke: colour(each.colour),
        width: props.stacked ? 1 : 2,
        ...(props.stacked ? { fill: `color-mix(in srgb, ${colour(each.colour)} 82%, ${colour("panel")})` } : {}),
        ...(each.dashed ? { dash: [6, 4] } : {}),
        points: { show: false },
        spanGaps: false,
      })),
    ],
    hooks: {
      draw: [
        (plot) => { if (latest.current.bands) drawBands(plot); },
        (plot) => drawMarks(plot, latest.current),
      ],
      setCursor: [(plot) => hover(plot.cursor.idx ?? null)],
    },
  };
}

function drawBands(plot: uPlot): void {
  const { ctx, bbox } = plot;
  ctx.save();
  ctx.font = `${11 * devicePixelRatio}px system-ui, sans-serif`;
  ctx.textBaseline = "middle";
  ctx.textAlign = "left";
  let lowest = Infinity;
  for (const tier of TIERS) {
    const top = plot.valToPos(tier.to, "y", true);
    const bottom = plot.valToPos(tier.from, "y", true);
    if (bottom < bbox.top) continue;
    const from = Math.max(top, bbox.top);
    // Above the data, so that it can be read which tiers a resistance has reached.
    ctx.globalAlpha = 0.16;
    ctx.fillStyle = colour("muted");
    ctx.fillRect(bbox.left, from, bbox.width, bottom - from);
    ctx.globalAlpha = 1;
    // Beside the plot, and only where there is room below the label before.
    const middle = (from + bottom) / 2;
    if (middle < lowest - 11 * devicePixelRatio) {
      lowest = middle;
      ctx.fillStyle = colour("muted");
      ctx.fillText(tier.name, bbox.left + bbox.width + 8 * devicePixelRatio, middle);
    }
  }
  ctx.restore();
}

function drawMarks(plot: uPlot, props: ChartProps): void {
  const { ctx, bbox } = plot;
  const line = (at: number, name: string, mark: string) => {
    const x = plot.valToPos(at, "x", true);
    if (x < bbox.left || x > bbox.left + bbox.width) return;
    ctx.strokeStyle = ctx.fillStyle = colour(name);
    ctx.lineWidth = devicePixelRatio;
    ctx.setLineDash([3 * devicePixelRatio, 3 * devicePixelRatio]);
    ctx.beginPath();
    ctx.moveTo(x, bbox.top);
    ctx.lineTo(x, bbox.top + bbox.height);
    ctx.stroke();
    ctx.font = `bold ${12 * devicePixelRatio}px system-ui, sans-serif`;
    ctx.textAlign = "center";
    ctx.textBaseline = "top";
    ctx.fillText(mark, x, bbox.top);
  };
  ctx.save();
  for (const change of props.transitions ?? []) {
    const opens = change.after === "circuit_breaker";
    if (opens || change.before === "circuit_breaker") line(change.at, opens ? "red" : "green", opens ? "✕" : "●");
  }
  if (props.marker !== undefined) line(props.marker, "accent", "▼");
  ctx.restore();
}

/** The theme that is shown; charts are drawn again when it changes. */
function useTheme(): number {
  const [count, set] = useState(0);
  useEffect(() => {
    const again = () => set((before) => before + 1);
    const watcher = new MutationObserver(again);
    watcher.observe(document.documentElement, { attributes: true, attributeFilter: ["data-theme"] });
    const dark = matchMedia("(prefers-color-scheme: dark)");
    dark.addEventListener("change", again);
    return () => {
      watcher.disconnect();
      dark.removeEventListener("change", again);
    };
  }, []);
  return count;
}

export function Chart(props: ChartProps) {
  const [box, width] = useWidth();
  const theme = useTheme();
  const plot = useRef<uPlot | null>(null);
  const [under, hover] = useState<number | null>(null);
  const shape = `${props.series.map((each) => each.label).join()}|${props.stacked}|${props.height}|${props.relative}`;
  const data = useMemo<uPlot.AlignedData>(() => {
    const columns = props.stacked ? stack(props.series) : props.series.map((each) => [...each.values]);
    return [[...props.at], ...columns.reverse()];
  }, [props.at, props.series, props.stacked]);
  const latest = useRef(props);
  latest.current = props;

  useEffect(() => {
    const element = box.current;
    if (element === null || width === 0) return undefined;
    plot.current = new uPlot(draw(latest, width, hover), data, element);
    return () => {
      plot.current?.destroy();
      plot.current = null;
    };
  }, [width, theme, shape]);

  useEffect(() => plot.current?.setData(data), [data, props.marker, props.transitions]);

  const index = under !== null && under < props.at.length ? under : props.at.length - 1;
  const shown = (each: Series) => {
    const value = each.values[index];
    return value === null || value === undefined ? "–" : value.toLocaleString("en", { maximumFractionDigits: 2 });
  };
  const instant = props.at[index];
  return (
    <figure class="chart">
      <figcaption>
        <h2>
          {props.title} <span class="unit">{props.unit}</span>
        </h2>
        <span class="when">
          {instant !== undefined && (props.relative ? `at ${instant} s` : new Date(instant * 1000).toLocaleTimeString("en-GB"))}
        </span>
        <button type="button" class="quiet" onClick={() => picture(plot.current, props)}>
          Save PNG<span class="hidden"> of {props.title}</span>
        </button>
      </figcaption>
      <div
        ref={box}
        class="plot"
        role="img"
        aria-label={`${props.title} in ${props.unit}: ${props.series.map((each) => `${each.label} ${shown(each)}`).join(", ")}`}
      />
      <ul class="legend">
        {props.series.map((each) => (
          <li key={each.label}>
            <span class={`swatch ${each.dashed ? "dashed" : ""}`} style={{ background: `var(--${each.colour})` }} aria-hidden="true" />
            {each.label} <b>{shown(each)}</b>
          </li>
        ))}
      </ul>
    </figure>
  );
}

/** Saves a chart with its title and legend. */
function picture(plot: uPlot | null, props: ChartProps): void {
  if (plot === null) return;
  const drawn = plot.ctx.canvas;
  const scale = devicePixelRatio;
  const canvas = document.createElement("canvas");
  canvas.width = drawn.width;
  canvas.height = drawn.height + 56 * scale;
  const ctx = canvas.getContext("2d");
  if (ctx === null) return;
  ctx.fillStyle = colour("panel");
  ctx.fillRect(0, 0, canvas.width, canvas.height);
  ctx.fillStyle = colour("text");
  ctx.font = `600 ${14 * scale}px system-ui, sans-serif`;
  ctx.fillText(`${props.title} (${props.unit})`, 12 * scale, 20 * scale);
  ctx.drawImage(drawn, 0, 28 * scale);
  ctx.font = `${12 * scale}px system-ui, sans-serif`;
  let x = 12 * scale;
  const y = canvas.height - 10 * scale;
  for (const each of props.series) {
    ctx.fillStyle = colour(each.colour);
    ctx.fillRect(x, y - 10 * scale, 10 * scale, 10 * scale);
    ctx.fillStyle = colour("text");
    ctx.fillText(each.label, x + 14 * scale, y);
    x += 24 * scale + ctx.measureText(each.label).width;
  }
  canvas.toBlob((blob) => {
    if (blob !== null) save(`${props.title.toLowerCase().replace(/[^a-z0-9]+/g, "-")}.png`, blob);
  });
}
