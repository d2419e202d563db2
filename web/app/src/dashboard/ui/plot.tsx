import { useMemo } from "preact/hooks";
import type UPlot from "uplot";
import { axisOf, type Color, type Drawing, useUPlot } from "../../use_uplot";
import { bytes, rate } from "../format";
import type { Points } from "../history";

/** One line of a plot. */
interface Line {
  readonly name: Exclude<keyof Points, "atS">;
  readonly label: string;
  /** A colour of `page.css`. */
  readonly color: string;
}

interface PlotProps {
  readonly title: string;
  readonly unit: "steps" | "bytes";
  readonly points: Points;
  readonly lines: readonly Line[];
}

/** Rates over the last ten minutes; who cannot see it is told the numbers. */
export function Plot({ title, unit, points, lines }: PlotProps) {
  const told = unit === "bytes" ? bytes : rate;
  const data = useMemo(() => columns(points, lines), [points, lines]);
  const place = useUPlot({
    data,
    height: 180,
    options: (color) =>
      options(color, told, lines, unit === "bytes" ? 1024 : 1),
  });

  const words = lines
    .map(({ name, label }) => {
      const known = points[name].filter((value) => value !== null);
      const most = known.length ? Math.max(...known) : null;
      const now = points[name].at(-1) ?? null;
      return `${label} ${now === null ? "not known yet" : told(now)}${
        most === null ? "" : `, at most ${told(most)}`
      }`;
    })
    .join("; ");
  return (
    <section class="panel plot">
      <h2>{title}</h2>
      <p class="legend hint">
        {lines.map((line) => (
          <span key={line.name}>
            <i style={{ background: `var(${line.color})` }} />
            {line.label} <b>{format(points[line.name].at(-1) ?? null, told)}</b>
          </span>
        ))}
      </p>
      <div
        ref={place}
        role="img"
        aria-label={`${title} over the last ten minutes. ${words}.`}
      />
    </section>
  );
}

function format(value: number | null, told: (value: number) => string): string {
  return value === null ? "–" : told(value);
}

function columns(points: Points, lines: readonly Line[]): UPlot.AlignedData {
  return [
    [...points.atS],
    ...lines.map((line) => [...points[line.name]]),
  ] as UPlot.AlignedData;
}

function options(
  color: Color,
  told: (value: number) => string,
  lines: readonly Line[],
  least: number,
): ReturnType<Drawing["options"]> {
  const axis = axisOf(color);
  return {
    scales: {
      // Of a server that does nothing as well.
      y: { range: (_, __, most) => [0, Math.max(1.1 * most, least)] },
    },
    axes: [
      {
        ...axis,
        size: 34,
        space: 70,
        values: (_, splits) =>
          splits.map((atS) =>
            new Date(1000 * atS).toLocaleTimeString([], { hour12: false }),
          ),
      },
      {
        ...axis,
        size: 64,
        values: (_, splits) => splits.map((value) => told(value)),
      },
    ],
    series: [
      {},
      ...lines.map((line) => ({
        label: line.label,
        stroke: color(line.color),
        width: 2,
        points: { show: false },
        spanGaps: false,
      })),
    ],
  };
}
