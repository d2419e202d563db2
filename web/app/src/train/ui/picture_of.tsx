import { useEffect, useRef } from "preact/hooks";
import type { Pixels } from "../images/pixels";
import { withAlpha } from "../images/pixels";

interface Props {
  readonly pixels: Pixels;
  /** What it shows, for who cannot see it; empty if words stand beside it. */
  readonly label: string;
  readonly class?: string;
}

/** Pixels, as large as the style says, without smoothing. */
export function PictureOf({ pixels, label, class: kind = "" }: Props) {
  const canvas = useRef<HTMLCanvasElement>(null);
  useEffect(() => {
    const context = canvas.current?.getContext("2d");
    const { width, height } = pixels;
    context?.putImageData(
      new ImageData(withAlpha(pixels), width, height),
      ...([0, 0] as const),
    );
  }, [pixels]);
  return (
    <canvas
      ref={canvas}
      class={`pixels ${kind}`}
      width={pixels.width}
      height={pixels.height}
      {...(label
        ? { role: "img", "aria-label": label }
        : { "aria-hidden": true })}
    />
  );
}
