/** The lossless packing of codes into bytes. */
import { DataError, ProtocolError, said } from "../errors.js";

/** Packs codes, and unpacks them. */
export interface Codec {
  /** As client.json names it. */
  readonly name: string;
  encode(codes: Uint8Array): Uint8Array;
  /**
   * @param nbytes How many bytes the codes must have.
   * @throws ProtocolError With reason `"codec"`, before it makes room for
   *   more than `nbytes`.
   */
  decode(packed: Uint8Array, nbytes: number): Uint8Array;
}

/** Codes as they are. */
export const raw: Codec = {
  name: "raw",
  encode: (codes) => codes,
  decode(packed, nbytes) {
    if (packed.length !== nbytes) throw wrong("raw", packed, nbytes, "as they");
    return packed;
  },
};

/**
 * The codec of a contract; that of zstd is loaded when it is asked for.
 *
 * @throws DataError If this package has none of that name.
 */
export async function codecOf(name: string): Promise<Codec> {
  if (name === "raw") return raw;
  if (name === "zstd") return await zstd();
  throw new DataError(
    `Expected a client.json with the codec raw or zstd. Received: ${name}. ` +
      "Give one of these two on both sides (--codec).",
  );
}

/**
 * Zstandard at level 1, as the Python client has it: there is little to
 * search for in codes.
 */
async function zstd(): Promise<Codec> {
  const { Zstd } = await import("@hpcc-js/wasm-zstd");
  const library = await Zstd.load();
  return {
    name: "zstd",
    encode: (codes) => library.compress(codes, 1),
    decode(packed, nbytes) {
      // A few bytes can unpack to gigabytes, so the frame must say first.
      const size = contentSize(packed);
      if (size !== nbytes) throw wrong("zstd", packed, nbytes, String(size));
      if (nbytes === 0) return new Uint8Array();
      let codes: Uint8Array;
      try {
        codes = library.decompress(packed);
      } catch (error) {
        throw wrong("zstd", packed, nbytes, said(error));
      }
      if (codes.length !== nbytes) {
        throw wrong("zstd", packed, nbytes, String(codes.length));
      }
      return codes;
    },
  };
}

/**
 * What a frame says that it holds (RFC 8878, section 3.1.1.1).
 *
 * @returns Bytes; undefined if it does not say, or is no frame.
 */
export function contentSize(frame: Uint8Array): number | undefined {
  const view = new DataView(frame.buffer, frame.byteOffset, frame.byteLength);
  if (frame.length < 6 || view.getUint32(0, true) !== 0xfd2fb528) return;
  const descriptor = view.getUint8(4);
  const single = (descriptor & 0x20) !== 0;
  const at = 5 + (single ? 0 : 1) + ([0, 1, 2, 4][descriptor & 3] ?? 0);
  const width = [single ? 1 : 0, 2, 4, 8][descriptor >> 6] ?? 0;
  if (width === 0 || frame.length < at + width) return;
  if (width === 1) return view.getUint8(at);
  if (width === 2) return view.getUint16(at, true) + 256;
  if (width === 4) return view.getUint32(at, true);
  return Number(view.getBigUint64(at, true));
}

function wrong(
  name: string,
  packed: Uint8Array,
  nbytes: number,
  came: string,
): ProtocolError {
  return new ProtocolError(
    `Expected codes of ${nbytes} bytes, packed by ${name}. Received: ` +
      `${packed.length} bytes that hold ${came}. Both sides must use the ` +
      "same codec; if they do, the data was damaged on its way.",
    "codec",
  );
}
