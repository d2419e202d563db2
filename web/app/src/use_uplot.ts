import type { RefObject } from "preact";
import { useEffect, useRef } from "preact/hooks";
import UPlot from "uplot";
import "uplot/dist/uPlot.min.css";

/** Gives a colour of `style/page.css` by its name, such as `--line`. */
export type Color = (name: string) => string;

/** What is drawn, and how. */
export interface Drawing {
  /** Points of the x axis and of each line. */
  readonly data: UPlot.AlignedData;
  readonly height: number;
  /** All but the size; is asked again when light becomes dark. */
  options(color: Color): Omit<UPlot.Options, "width" | "height">;
}

/**
 * Draws a plot in an element: as wide as that is, in the colours of the time
 * of day, without what follows a mouse.
 *
 * @returns For the `ref` of the element.
 */
export function useUPlot(drawing: Drawing): RefObject<HTMLDivElement | null> {
  const place = useRef<HTMLDivElement>(null);
  const plot = useRef<UPlot | null>(null);
  const latest = useRef(drawing);
  latest.current = drawing;

  useEffect(() => {
    const box = place.current;
    if (!box) return;
    const size = () => ({
      width: box.clientWidth,
      height: latest.current.height,
    });
    const draw = () => {
      const style = getComputedStyle(box);
      const color = (name: string) => style.getPropertyValue(name).trim();
      plot.current?.destroy();
      plot.current = new UPlot(
        {
          legend: { show: false },
          cursor: { show: false },
          ...latest.current.options(color),
          ...size(),
        },
        latest.current.data,
        box,
      );
    };
    draw();
    const sized = new ResizeObserver(() => plot.current?.setSize(size()));
    sized.observe(box);
    const dark = matchMedia("(prefers-color-scheme: dark)");
    dark.addEventListener("change", draw);
    return () => {
      dark.removeEventListener("change", draw);
      sized.disconnect();
      plot.current?.destroy();
      plot.current = null;
    };
  }, []);
  useEffect(() => plot.current?.setData(drawing.data), [drawing.data]);
  return place;
}

/** What both axes of a plot look like. */
export function axisOf(color: Color) {
  return {
    stroke: color("--ink-2"),
    grid: { stroke: color("--line"), width: 1 },
    ticks: { stroke: color("--line"), width: 1 },
    font: "12px system-ui, sans-serif",
  } satisfies UPlot.Axis;
}
