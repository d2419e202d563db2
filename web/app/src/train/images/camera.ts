import { Problem } from "../problem";
import { pixelsOf } from "./files";
import type { InputShape } from "./model_input";
import type { Pixels } from "./pixels";
import { resize } from "./resize";

/** Which way a camera looks, as browsers name it. */
export type Facing = "environment" | "user";

/**
 * Opens a camera.
 *
 * @param facing The one that is wished for; another one will do.
 * @throws Problem If there is none, or nobody allows it.
 */
export async function openCamera(facing: Facing): Promise<MediaStream> {
  // Browsers hide cameras from pages over plain HTTP.
  if (!navigator.mediaDevices?.getUserMedia) {
    throw new Problem(
      "This browser gives no camera to a page that came over plain HTTP.",
      "Open the address that starts with https://, or choose files instead.",
    );
  }
  try {
    return await navigator.mediaDevices.getUserMedia({
      audio: false,
      video: {
        facingMode: { ideal: facing },
        width: { ideal: 640 },
        height: { ideal: 480 },
      },
    });
  } catch (cause) {
    throw refused(cause);
  }
}

/** Whether a camera looks at who holds it: then it is shown as a mirror. */
export function looksBack(stream: MediaStream): boolean {
  const facing = stream.getVideoTracks()[0]?.getSettings().facingMode;
  return facing === "user";
}

export function closeCamera(stream: MediaStream): void {
  for (const track of stream.getTracks()) track.stop();
}

/**
 * What the viewfinder shows, at the model's size.
 *
 * That is the largest part in the middle with the proportions of the model's
 * input; see `object-fit: cover` in the styles.
 *
 * @returns null while the camera has not shown anything yet.
 */
export function takePhoto(
  video: HTMLVideoElement,
  shape: InputShape,
): Pixels | null {
  const { videoWidth, videoHeight } = video;
  if (!videoWidth || !videoHeight) return null;
  const part = middle(videoWidth, videoHeight, shape.width / shape.height);
  return resize(pixelsOf(video, part), shape.height, shape.width);
}

/**
 * The largest part in the middle with some proportions.
 *
 * @param aspect Width divided by height.
 * @returns `[x, y, width, height]`, whole numbers.
 */
export function middle(
  width: number,
  height: number,
  aspect: number,
): [number, number, number, number] {
  const part =
    width > height * aspect
      ? [Math.round(height * aspect), height]
      : [width, Math.round(width / aspect)];
  const [inner = width, outer = height] = part;
  return [
    Math.floor((width - inner) / 2),
    Math.floor((height - outer) / 2),
    inner,
    outer,
  ];
}

function refused(cause: unknown): Problem {
  const name = cause instanceof Error ? cause.name : "";
  if (name === "NotAllowedError") {
    return new Problem(
      "This page may not use the camera.",
      "Allow it in the browser's settings for this page, or choose files.",
      { cause },
    );
  }
  if (name === "NotFoundError" || name === "OverconstrainedError") {
    return new Problem("There is no camera here.", "Choose files instead.", {
      cause,
    });
  }
  return new Problem(
    "The camera does not start; perhaps another app has it.",
    "Close the other app and try again, or choose files.",
    { cause },
  );
}
