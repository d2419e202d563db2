import { useMemo } from "preact/hooks";
import type uPlot from "uplot";
import { axisOf, type Color, type Drawing, useUPlot } from "../../use_uplot";
import { percent } from "../format";
import type { Point } from "../store";

/** Steps that a point of the line is the mean of, at both ends fewer. */
const WINDOW = 5;

/** Loss and accuracy of each step so far. */
export function Plot({ points }: { readonly points: readonly Point[] }) {
  const drawn = useMemo(() => data(points), [points]);
  const place = useUPlot({ data: drawn, height: 220, options });
  const last = points.at(-1);
  const label = last
    ? `Loss and accuracy of ${points.length} steps. Last: loss ` +
      `${last.loss.toFixed(3)}, accuracy ${percent(last.accuracy)}.`
    : "Loss and accuracy: no step yet.";
  return (
    <figure class="plot">
      <div ref={place} role="img" aria-label={label} />
      <figcaption>
        <span class="key loss">Loss (left)</span>
        <span class="key accuracy">Accuracy (right, dashed)</span>
      </figcaption>
    </figure>
  );
}

function options(color: Color): ReturnType<Drawing["options"]> {
  const axis = { ...axisOf(color), ticks: { show: false } };
  return {
    scales: {
      x: { time: false },
      loss: { range: (_, __, most) => [0, Math.max(most * 1.05, 0.1)] },
      accuracy: { range: [0, 1] },
    },
    axes: [
      {
        ...axis,
        label: "Step",
        labelFont: axis.font,
        labelSize: 16,
        size: 28,
        incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000],
      },
      { ...axis, scale: "loss", size: 44 },
      {
        ...axis,
        scale: "accuracy",
        side: 1,
        size: 48,
        grid: { show: false },
        splits: [0, 0.25, 0.5, 0.75, 1],
        values: (_, splits) => splits.map(percent),
      },
    ],
    series: [
      {},
      { scale: "loss", stroke: color("--loss"), width: 2, points: few() },
      {
        scale: "accuracy",
        stroke: color("--accuracy"),
        width: 2,
        dash: [6, 4],
        points: few(),
      },
    ],
  };
}

/** Dots only while there is hardly a line. */
function few(): uPlot.Series.Points {
  return { show: (self) => (self.data[0]?.length ?? 0) < 3 };
}

function data(points: readonly Point[]): uPlot.AlignedData {
  return [
    points.map((_, step) => step + 1),
    smooth(points.map((point) => point.loss)),
    smooth(points.map((point) => point.accuracy)),
  ];
}

/** Means of neighbours: a batch of a few photos jumps. */
export function smooth(values: readonly number[]): number[] {
  const reach = Math.floor(WINDOW / 2);
  return values.map((_, at) => {
    const near = values.slice(Math.max(0, at - reach), at + reach + 1);
    return near.reduce((sum, value) => sum + value, 0) / near.length;
  });
}
