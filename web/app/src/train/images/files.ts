import { Problem } from "../problem";
import type { InputShape } from "./model_input";
import type { Pixels } from "./pixels";
import { withoutAlpha } from "./pixels";
import { resize } from "./resize";

/**
 * Longest side of a photo that is resized by hand.
 *
 * Larger ones are first made this size by the browser: iOS gives no canvas of
 * more than 16 million pixels.
 */
const LONGEST = 2048;

/**
 * Reads a photo from a file, the right way up, at the model's size.
 *
 * Proportions change to fit, as in `keras_split.datasets.load_folder`; what is
 * kept has whole values, as there.
 *
 * @throws Problem If the browser cannot read it.
 */
export async function readPhoto(
  file: Blob,
  name: string,
  shape: InputShape,
): Promise<Pixels> {
  let image: ImageBitmap;
  try {
    image = await createImageBitmap(file);
  } catch (cause) {
    throw new Problem(
      `${name} is no photo that this browser can read.`,
      "Save it as JPEG or PNG, then choose it again. The others were taken.",
      { cause },
    );
  }
  try {
    return resize(pixelsOf(image), shape.height, shape.width);
  } finally {
    image.close();
  }
}

/** All of an image; or the part of it, `[x, y, width, height]`. */
export function pixelsOf(
  image: ImageBitmap | HTMLVideoElement,
  part?: readonly [number, number, number, number],
): Pixels {
  const [x, y, width, height] = part ?? [0, 0, ...sizeOf(image)];
  const less = Math.min(1, LONGEST / Math.max(width, height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(width * less));
  canvas.height = Math.max(1, Math.round(height * less));
  const context = canvas.getContext("2d", { willReadFrequently: true });
  if (!context) {
    throw new Problem(
      "This browser has no room to look at a photo.",
      "Close other tabs, then try again.",
    );
  }
  context.imageSmoothingQuality = "high";
  context.drawImage(
    image,
    ...([x, y, width, height] as const),
    ...([0, 0, canvas.width, canvas.height] as const),
  );
  const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
  return withoutAlpha(data, canvas.height, canvas.width);
}

function sizeOf(image: ImageBitmap | HTMLVideoElement): [number, number] {
  return image instanceof HTMLVideoElement
    ? [image.videoWidth, image.videoHeight]
    : [image.width, image.height];
}
