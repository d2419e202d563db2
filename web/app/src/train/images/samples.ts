import { Problem } from "../problem";
import spriteUrl from "../samples/fashion_mnist.png";
import { pixelsOf } from "./files";
import type { Pixels } from "./pixels";
import { sample, TO_TRAIN, TO_TRY } from "./sprite";

let loading: Promise<Pixels> | null = null;

/** Samples of a kind to train on. */
export async function samplesToTrain(kind: number): Promise<Pixels[]> {
  const sprite = await load();
  return Array.from({ length: TO_TRAIN }, (_, index) =>
    sample(sprite, kind, index),
  );
}

/** One that is never trained on; the same again after `TO_TRY` of them. */
export async function sampleToTry(
  kind: number,
  index: number,
): Promise<Pixels> {
  return sample(await load(), kind, TO_TRAIN + (index % TO_TRY));
}

/** Once; tried anew if it failed. */
function load(): Promise<Pixels> {
  loading ??= fetchSprite().catch((error) => {
    loading = null;
    throw error;
  });
  return loading;
}

async function fetchSprite(): Promise<Pixels> {
  try {
    const reply = await fetch(spriteUrl);
    const image = await createImageBitmap(await reply.blob());
    const pixels = pixelsOf(image);
    image.close();
    return pixels;
  } catch (cause) {
    throw new Problem(
      "The sample images could not be loaded.",
      "Check the connection to the server, then try again.",
      { cause },
    );
  }
}
